"""The checker: sources, cross-checks, everything at once, exit codes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from roofline.errors import InputError
from roofline.specs.check import check, main
from roofline.specs.findings import Finding
from roofline.specs.folders import built_in_root

Edit = Callable[..., Path]


def only(found: list[Finding], *, severity: str = "error") -> Finding:
    assert [item.severity for item in found] == [severity], "\n".join(map(str, found))
    return found[0]


def test_built_in_sheets_have_no_mistakes() -> None:
    errors = [str(item) for item in check() if item.severity == "error"]
    assert errors == []


def test_valid_user_sheets_have_neither_mistakes_nor_doubts(folder: Path) -> None:
    assert [str(item) for item in check(folder)] == []


def test_number_without_source(folder: Path, edit: Edit) -> None:
    edit("accelerators/one", '  year: {ref: "Acme data sheet", grade: published}\n', "")
    found = only(check(folder))
    assert (found.field, found.value, found.line) == ("year", "2024", 4)
    assert "without a source" in found.problem
    assert "year: {ref" in found.hint


def test_numbers_of_one_list_are_one_finding(folder: Path, edit: Edit) -> None:
    source = '  power: {ref: "Acme data sheet", grade: published}\n'
    edit(
        "systems/box", source, source.replace("power", "power.host_dc_w") + source.replace("power", "power.psu.rated_w")
    )
    fields = [item.field for item in check(folder)]
    assert fields == [
        "power.psu.load",
        "power.psu.efficiency",
        "power.max_w",
        "power.provisioned_w_per_accelerator",
    ]


def test_source_of_a_field_that_does_not_exist(folder: Path, edit: Edit) -> None:
    edit("accelerators/one", "  memory.bytes:", "  memory.bites:")
    found = only(check(folder))
    assert found.field == "sources.memory.bites"
    assert found.line == 14
    assert "did you mean memory.bytes" in found.hint


def test_entry_with_a_source_of_its_own_needs_no_other(folder: Path, edit: Edit) -> None:
    edit("efficiency/acme", '  operations: {ref: "our bench", grade: measured}\n', "")
    fields = {item.field for item in check(folder)}
    assert "operations.gemm.bf16.eta_compute" in fields
    assert not any(field.startswith("operations.gemm.fp8") for field in fields)


def test_mistakes_and_missing_sources_are_told_together(folder: Path, edit: Edit) -> None:
    edit("accelerators/one", '  year: {ref: "Acme data sheet", grade: published}\n', "")
    edit("accelerators/one", "bytes_per_s: 3.0e12", "bytes_per_s: 3350")
    path = edit("accelerators/one", "kind: HBM3", "kidn: HBM3")
    found = check(path)
    assert [(item.line, item.field) for item in found] == [
        (4, "year"),
        (6, "memory.bytes_per_s"),
        (6, "memory.kind"),
        (6, "memory.kidn"),
    ]
    assert all(item.file.endswith("one.yaml") for item in found)


def test_a_broken_sheet_does_not_hide_the_others(folder: Path, edit: Edit) -> None:
    edit("accelerators/one", "power: {tdp_w: 500}", "power: {tdp_w: 500")
    edit("models/tiny", "hidden: 1024", "hidden: -1024")
    found = check(folder)
    assert {Path(item.file).name for item in found} == {"one.yaml", "tiny.yaml", "box.yaml"}
    refering = next(item for item in found if Path(item.file).name == "box.yaml")
    assert refering.field == "accelerator"
    assert "that sheet is not valid" in refering.problem


# sheet, passage, replacement, field, what the doubt says
# fmt: off
DOUBTS = {
    "fp8 as sparse": ("accelerators/one", "fp8: 8.0e14", "fp8: 16.0e14", "dense_flop_per_s.fp8", "sparse figure"),
    "fp16 as sparse": ("accelerators/one", "fp16: 4.0e14", "fp16: 8.0e14", "dense_flop_per_s.fp16", "sparse figure"),
    "fp8 slower": ("accelerators/one", "fp8: 8.0e14", "fp8: 3.0e14", "dense_flop_per_s.fp8", "slower than the wider"),
    "GB for GiB": ("accelerators/one", "Acme One 80GB", "Acme One 80GiB", "memory.bytes", "the name says 80GiB"),
    "another size": ("accelerators/one", "Acme One 80GB", "Acme One 96GB", "memory.bytes", "far from the 96GB"),
    "supplies too small": ("systems/box", "rated_w: 12000", "rated_w: 3300", "power.psu.rated_w", "host_dc_w"),
    "provisioned below TDP": (
        "systems/box", "{2026: 1100}", "{2026: 300}", "power.provisioned_w_per_accelerator.2026",
        "below the accelerator's TDP",
    ),
    "cooling": ("systems/box", "cooling: air", "cooling: liquid", "cooling", "for air cooling"),
    "Gbit/s": (
        "systems/box", "{bytes_per_s: 5e10", "{bytes_per_s: 4e11", "scale_out.bytes_per_s",
        "more than any network card",
    ),
    "bidirectional": (
        "systems/box", "in_switch_reduction: true", "in_switch_reduction: true, bytes_per_s: 8e11",
        "scale_up.bytes_per_s", "bidirectional figure",
    ),
    "twice the bandwidth": (
        "accelerators/one", "bytes_per_s: 3.0e12", "bytes_per_s: 6.0e12", "memory.bytes_per_s",
        "reads all of memory 75 times a second, where HBM3 does 20 to 52",
    ),
    "a third of the bandwidth": (
        "accelerators/one", "bytes_per_s: 3.0e12", "bytes_per_s: 1.0e12", "memory.bytes_per_s", "reads all of memory",
    ),
    "SRAM as HBM": ("accelerators/one", "kind: HBM3", "kind: SRAM", "memory.bytes_per_s", "where SRAM does 10000"),
    "rating below the hosts too": (
        "systems/box", "max_w: 6500", "max_w: 5000", "power.max_w", "of accelerators at TDP and host_dc_w",
    ),
    "watts of the whole system": (
        "systems/box", "{2026: 1100}", "{2026: 8800}", "power.provisioned_w_per_accelerator.2026",
        "more than three times max_w / accelerators = 812.5 W",
    ),
    "ragged domain": ("systems/box", "{domain: 8", "{domain: 3", "scale_up.domain", "does not divide 8"),
}
# fmt: on


@pytest.mark.parametrize("doubt", DOUBTS)
def test_doubt(doubt: str, folder: Path, edit: Edit) -> None:
    name, old, new, field, what = DOUBTS[doubt]
    edit(name, old, new)
    found = only(check(folder), severity="warning")
    assert found.field == field
    assert what in found.problem
    assert found.line > 0
    assert "[doubtful]" in str(found)


def test_bidirectional_scale_up_of_a_switched_part(folder: Path, edit: Edit) -> None:
    edit("accelerators/one", "vendor: Acme", "vendor: NVIDIA")
    edit("accelerators/one", "scale_up_bytes_per_s: 4.0e11", "scale_up_bytes_per_s: 9.0e11")
    found = only(check(folder), severity="warning")
    assert found.field == "scale_up_bytes_per_s"
    assert "bidirectional" in found.problem
    assert "4.5e+11" in found.hint


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        (
            "bf16: 4.0e14, fp16: 4.0e14, fp8: 8.0e14",
            "bf16: 8.0e14, fp16: 8.0e14, fp8: 16.0e14",
            "dense_flop_per_s.bf16",
        ),
        ("scale_up_bytes_per_s: 4.0e11", "scale_up_bytes_per_s: 8.0e11", "scale_up_bytes_per_s"),
        ("bytes: 80.0e9", "bytes: 85899345920", "memory.bytes"),
    ],
)
def test_a_part_that_is_a_known_one_but_for_a_usual_slip(folder: Path, old: str, new: str, field: str) -> None:
    text = (folder / "accelerators" / "one.yaml").read_text().replace('aliases: [acme-1, "Acme First"]\n', "")
    assert old in text
    path = folder / "accelerators" / "two.yaml"
    path.write_text(text.replace(old, new))
    found = {item.field: item for item in check(path)}
    assert field in found
    assert "looks like one" in found[field].problem
    assert all(item.severity == "warning" for item in found.values())


# sheet, passage, replacement, field, what the finding says
# fmt: off
CONTRADICTIONS = {
    "rack below its accelerators": (
        "systems/box", "max_w: 6500", "max_w: 3900", "power.max_w", "less than its accelerators alone draw",
    ),
    "efficiency of an unknown part": (
        "efficiency/acme", "accelerators: [one]", "accelerators: [won]", "accelerators.0",
        "no accelerator of this id",
    ),
    "unknown recipe": ("models/tiny", "recipes: [bf16]", "recipes: [bf17]", "recipes.0", "no recipe of this id"),
    "operands that do not meet": (
        "recipes/half", "dense_ffn: fp8", "dense_ffn: {weights: int8, activations: fp8}", "parts.dense_ffn",
        "no arithmetic takes",
    ),
}
# fmt: on


@pytest.mark.parametrize("contradiction", CONTRADICTIONS)
def test_contradiction(contradiction: str, folder: Path, edit: Edit) -> None:
    name, old, new, field, what = CONTRADICTIONS[contradiction]
    edit(name, old, new)
    found = only(check(folder))
    assert found.field == field
    assert what in found.problem


@pytest.mark.parametrize(
    ("published", "field"),
    [("{total: 70e9}", "parameters.total"), ("{total: 443e6, active: 200e6}", "parameters.active")],
)
def test_published_parameters_that_the_layers_do_not_make(folder: Path, edit: Edit, published: str, field: str) -> None:
    edit(
        "models/tiny",
        "sources:\n",
        f"parameters: {published}\nsources:\n  parameters: {{ref: card, grade: published}}\n",
    )
    assert field in [item.field for item in check(folder)]


def test_two_sheets_of_one_name(folder: Path) -> None:
    text = (folder / "models" / "tiny.yaml").read_text()
    (folder / "models" / "small.yaml").write_text(f"aliases: [TINY]\n{text}")
    found = only(check(folder))
    assert (found.field, found.value) == ("aliases", "tiny")
    assert "small.yaml" in str(found)
    assert "tiny.yaml" in str(found)


def test_a_sheet_outside_the_usual_folders_is_known_by_its_fields(folder: Path, tmp_path: Path) -> None:
    for name in ("models/tiny", "recipes/half", "efficiency/acme"):
        path = tmp_path / f"loose-{Path(name).name}.yaml"
        path.write_text((folder / f"{name}.yaml").read_text())
        found = only(check(path, folders=[folder]))
        kind = Path(name).parent
        assert f"found by name only in a folder {kind}/" in found.problem
        assert found.hint.endswith(f"{kind}/{path.name}")
        assert found.line == 1
        assert only(check(folder)) == found
        path.unlink()
    path.write_text("colour: blue\n")
    assert "cannot tell what kind of sheet" in only(check(path)).problem


def test_a_single_sheet_outside_any_folder_of_sheets_is_found_by_its_path(folder: Path) -> None:
    path = folder / "loose.yaml"
    path.write_text((folder / "recipes" / "half.yaml").read_text())
    found = only(check(path), severity="warning")
    assert "this one by its path only" in found.problem
    assert found.hint.endswith("recipes/loose.yaml")


@pytest.mark.parametrize(("file", "mend"), [("Half Way.yml", "half-way.yml"), ("HALF.yaml", "half.yaml")])
def test_a_file_name_that_is_no_name(folder: Path, file: str, mend: str) -> None:
    path = (folder / "recipes" / "half.yaml").rename(folder / "recipes" / file)
    found = only(check(folder))
    assert (found.field, found.value) == ("id", path.stem)
    assert found.hint == f"rename the file to {mend}"


def test_an_unreadable_folder_is_said_to_be_unreadable(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def deny(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    with monkeypatch.context() as patch, pytest.raises(InputError, match="unreadable: permission denied"):
        patch.setattr(os, "scandir", deny)  # permissions do not bind every user that runs tests
        check(folder)
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(InputError, match=r"folders: .* is unreadable"):
        check(folder / "recipes" / "half.yaml", folders=[folder])


def test_built_in_sheets_are_checked_by_name_and_by_folder() -> None:
    assert [item for item in check("llama-3.1-70b") if item.severity == "error"] == []
    assert [item for item in check(built_in_root() / "model_specs") if item.severity == "error"] == []


def test_target_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file, folder or sheet"):
        check(tmp_path / "nothing.yaml")
    with pytest.raises(InputError, match="no sheet"):
        check(tmp_path)


def test_exit_codes(folder: Path, edit: Edit, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(folder)]) == 0
    edit("systems/box", "cooling: air", "cooling: liquid")
    assert main([str(folder)]) == 0
    assert "[doubtful]" in capsys.readouterr().out
    edit("systems/box", "max_w: 6500", "max_w: 6.5")
    assert main([str(folder)]) == 2
    assert "box.yaml:10: power.max_w = 6.5" in capsys.readouterr().out
    assert main([str(folder / "none")]) == 2
    assert "no such" in capsys.readouterr().err


def test_finding_as_a_mapping(folder: Path, edit: Edit) -> None:
    edit("systems/box", "max_w: 6500", "max_w: 3900")
    found = only(check(folder)).as_dict()
    assert found["field"] == "power.max_w"
    assert found["line"] == 10
    assert found["severity"] == "error"
