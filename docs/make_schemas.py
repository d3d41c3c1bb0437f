"""Write docs/schema/*.json, the published schemas of what `--json` prints, from the models that print it."""

from __future__ import annotations

import json
from pathlib import Path

from roofline.cli.published import PUBLISHED

FOLDER = Path(__file__).parent / "schema"


def text(name: str) -> str:
    """One schema as it is written to its file."""
    schema = PUBLISHED[name].model_json_schema()
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": f"{name}.json"}
    return json.dumps(head | schema, indent=2) + "\n"


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name in PUBLISHED:
        (FOLDER / f"{name}.json").write_text(text(name), encoding="utf-8")
