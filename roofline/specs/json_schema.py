"""JSON Schemas of the sheets, for editors: written from the models, never by hand."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from roofline.specs.folders import KINDS, Kind, built_in_root
from roofline.specs.load import CLASSES


def file_name(kind: Kind) -> str:
    """Name of the schema file of a kind."""
    return f"{kind}.schema.json"


def schema(kind: Kind) -> dict[str, Any]:
    """JSON Schema (2020-12) of a kind of sheet as it is written in YAML."""
    body = CLASSES[kind].model_json_schema(mode="validation")
    _simplify(body)
    body["properties"].pop("id")
    if kind == "recipe":
        _allow_bare_formats(body)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **body, "title": f"{kind} sheet"}


def _simplify(node: Any) -> None:
    """Drop titles that repeat the field's name, and defaults that only say `absent`."""
    if isinstance(node, dict):
        if isinstance(node.get("title"), str):
            node.pop("title")
        if "default" in node and node["default"] in (None, {}, [], ""):
            node.pop("default")
        for value in node.values():
            _simplify(value)
    elif isinstance(node, list):
        for value in node:
            _simplify(value)


def _allow_bare_formats(body: dict[str, Any]) -> None:
    """A part may be one format's name; loading expands it."""
    definitions = body["$defs"]
    bare = definitions["PartFormats"]["properties"]["weights"]
    definitions["PartFormats"] = {"anyOf": [bare, definitions["PartFormats"]]}


def text(kind: Kind) -> str:
    """The schema file's content."""
    return json.dumps(schema(kind), indent=2, ensure_ascii=False) + "\n"


def write(folder: Path | None = None) -> list[Path]:
    """Write every schema into a folder, by default the built-in one, and return the files."""
    folder = folder or built_in_root() / "hardware_specs" / "schema"
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for kind in KINDS:
        path = folder / file_name(kind)
        path.write_text(text(kind), encoding="utf-8")
        written.append(path)
    return written


if __name__ == "__main__":
    sys.stdout.writelines(f"{path}\n" for path in write())
