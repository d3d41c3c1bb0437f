"""docs/zoo.md is what its script makes of the sheets today."""

from __future__ import annotations

import runpy

from tests.docs.pages import DOCS


def test_the_page_is_up_to_date() -> None:
    made = runpy.run_path(str(DOCS / "make_zoo.py"))
    assert (DOCS / "zoo.md").read_text(encoding="utf-8") == made["page"](), "run: python docs/make_zoo.py"
