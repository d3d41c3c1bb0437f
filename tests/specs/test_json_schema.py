"""The schema files that editors use are those the models make."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from roofline.specs import json_schema
from roofline.specs.folders import KINDS, Kind, built_in_root


@pytest.mark.parametrize("kind", KINDS)
def test_schema_files_have_not_drifted(kind: Kind) -> None:
    path = built_in_root() / "hardware_specs" / "schema" / json_schema.file_name(kind)
    assert json.loads(path.read_text(encoding="utf-8")) == json_schema.schema(kind), (
        "write them anew: python -m roofline.specs.json_schema"
    )


def test_write_makes_one_file_a_kind(tmp_path: Path) -> None:
    written = json_schema.write(tmp_path / "new")
    assert sorted(path.name for path in written) == sorted(f"{kind}.schema.json" for kind in KINDS)


def test_schema_says_what_a_sheet_must_have() -> None:
    accelerator, system, recipe = (json_schema.schema(kind) for kind in ("accelerator", "system", "recipe"))
    assert "id" not in accelerator["properties"]
    assert {"name", "memory", "power", "efficiency"} <= set(accelerator["required"])
    assert accelerator["additionalProperties"] is False
    assert accelerator["$defs"]["Memory"]["properties"]["bytes_per_s"]["minimum"] == 1e8
    assert system["properties"]["accelerator"]["type"] == "string"
    assert "Memory" not in system["$defs"]
    bare, full = recipe["$defs"]["PartFormats"]["anyOf"]
    assert "nvfp4" in bare["enum"]
    assert full["required"] == ["weights", "activations"]
