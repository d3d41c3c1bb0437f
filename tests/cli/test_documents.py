"""The published schemas are those of the models that `--json` prints."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import roofline
from docs.make_schemas import FOLDER, text
from roofline.cli.published import PUBLISHED


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_the_published_schema_is_current(name: str) -> None:
    assert (FOLDER / f"{name}.json").read_text(encoding="utf-8") == text(name), "run python docs/make_schemas.py"


def test_every_published_schema_has_a_model_and_closed_objects() -> None:
    assert {path.stem for path in FOLDER.glob("*.json")} == set(PUBLISHED)
    for name in PUBLISHED:
        schema = json.loads(text(name))
        assert schema["additionalProperties"] is False
        assert schema["properties"]["kind"]
    assert Path(roofline.__file__).parent.parent / "docs" / "schema" == FOLDER
