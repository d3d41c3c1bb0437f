"""Model -> the text of its sheet, in the style of `model_specs/`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from textwrap import wrap
from typing import Any

from roofline.specs.model import Model

_PLAIN = re.compile(r"[A-Za-z][\w.+-]*(?: [\w.+()-]+)*")
_WORDS_OF_YAML = {"true", "false", "null", "yes", "no", "on", "off", "none", "y", "n"}
_ORDER = (
    "name",
    "family",
    "aliases",
    "hidden",
    "vocab",
    "tied_embeddings",
    "max_context",
    "position_rows",
    "route_groups",
    "recipes",
    "layers",
    "mtp",
    "parameters",
    "notes",
    "sources",
)


def sheet_text(model: Model) -> str:
    """YAML that loads as the same model, but for its id, which is the stem of the file it is written to."""
    data = model.model_dump(mode="json", exclude_defaults=True)
    lines: list[str] = []
    for name in _ORDER:
        value = data.get(name)
        if value is None:
            continue
        if name == "layers":
            lines += ["layers:", *_rows(value, "  ")]
        elif name == "mtp":
            lines += ["mtp:", f"  modules: {value['modules']}", "  layers:", *_rows(value["layers"], "    ")]
        elif name == "notes":
            lines += ["notes: >-", *(f"  {line}" for line in wrap(value, 116, break_long_words=False))]
        elif name == "sources":
            lines += ["sources:"]
            for field, source in value.items():
                more = f", note: {_quoted(source['note'])}" if source.get("note") else ""
                lines.append(f"  {field}: {{ref: {_quoted(source['ref'])}, grade: {source['grade']}{more}}}")
        else:
            lines.append(f"{name}: {_flow(value)}")
    return "\n".join(lines) + "\n"


def _rows(rows: list[dict[str, Any]], indent: str) -> list[str]:
    """One row of layers: its fields on lines of their own."""
    lines = []
    for row in rows:
        marks = [f"{indent}- ", *[f"{indent}  "] * (len(row) - 1)]
        lines += [f"{mark}{name}: {_flow(value)}" for mark, (name, value) in zip(marks, row.items(), strict=True)]
    return lines


def _flow(value: Any) -> str:
    if isinstance(value, Mapping):
        value = {name: value[name] for name in sorted(value, key=lambda name: name != "kind")}
        return "{" + ", ".join(f"{name}: {_flow(inner)}" for name, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_flow(inner) for inner in value) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        plain = _PLAIN.fullmatch(value) and value.lower() not in _WORDS_OF_YAML
        return value if plain else _quoted(value)
    return str(value)


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
