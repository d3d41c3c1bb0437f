"""A user's rate that is twice a shipped one is said to be doubtful, by the checker and on loading."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from roofline.specs import Accelerator, System, list_specs
from roofline.specs.check import check
from roofline.specs.findings import DoubtfulSheet
from roofline.specs.shipped import doubled, shipped_rates

Edit = Callable[..., Path]
RATES = "dense_flop_per_s: {bf16: 4.0e14, fp16: 4.0e14, fp8: 8.0e14}"


@pytest.mark.parametrize("name", list_specs("accelerator", folders=[]))
def test_rates_are_those_of_the_sheets_and_none_is_doubtful(name: str) -> None:
    sheet = Accelerator.load(name, folders=[])
    part = shipped_rates()[name]
    assert part["dense_flop_per_s"] == sheet.dense_flop_per_s
    assert part.get("scale_up_bytes_per_s") == sheet.scale_up_bytes_per_s
    assert list(doubled(sheet)) == []


def test_sparse_rates_of_a_shipped_part_are_doubtful(folder: Path, edit: Edit) -> None:
    path = edit("accelerators/one", RATES, "dense_flop_per_s: {bf16: 1979e12, fp8: 3958e12}")
    found = check(folder)
    assert [(item.field, item.value, item.line, item.severity) for item in found] == [
        ("dense_flop_per_s.bf16", "1.979e+15", 5, "warning"),
        ("dense_flop_per_s.fp8", "3.958e+15", 5, "warning"),
    ]
    assert found[0].problem == "twice the dense bf16 of h100-sxm: the figure with sparsity?"
    assert found[0].hint == "write the dense one, 9.894e+14"
    assert {Path(item.file).name for item in found} == {path.name}
    assert [item.field for item in check(path)] == [item.field for item in found]


def test_loading_them_warns_with_file_line_field_and_value(folder: Path, edit: Edit) -> None:
    path = edit("accelerators/one", RATES, "dense_flop_per_s: {bf16: 1979e12, fp8: 3958e12}")
    with pytest.warns(DoubtfulSheet, match=r"dense_flop_per_s\.(bf16 = 1\.979|fp8 = 3\.958)e\+15: ") as caught:
        system = System.load("one", folders=[folder])
    assert system.accelerator.dense_flop_per_s["bf16"] == 1979e12
    assert len(caught) == 2
    assert {(warning.filename, warning.lineno) for warning in caught} == {(str(path), 5)}


def test_twice_a_shipped_link_is_doubtful(folder: Path, edit: Edit) -> None:
    edit("accelerators/one", "scale_up_bytes_per_s: 4.0e11", "scale_up_bytes_per_s: 896e9")
    (found,) = check(folder)
    assert (found.field, found.line, found.severity) == ("scale_up_bytes_per_s", 7, "warning")
    assert "twice the scale-up rate of mi300x" in found.problem


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (RATES, "dense_flop_per_s: {fp32: 134e12, bf16: 4.0e14}"),  # no sparse fp32 exists
        (RATES, "dense_flop_per_s: {fp8: 5.0e15}"),  # near twice one part's, but another's own
        ("scale_up_bytes_per_s: 4.0e11", "scale_up_bytes_per_s: 9.0e11"),
    ],
)
def test_what_is_a_shipped_rate_or_never_sparse_is_not(edit: Edit, old: str, new: str) -> None:
    assert list(doubled(Accelerator.load(edit("accelerators/one", old, new)))) == []
