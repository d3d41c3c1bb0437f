"""The picture of a result is found by what it holds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import xarray as xr

import roofline as rl
from roofline.errors import InputError
from roofline.report.pictures import KINDS, kind_of

BOTH = ("llama-3.1-8b", "dgx-h100")
RESULTS: dict[str, Callable[[], xr.Dataset]] = {
    "compare": lambda: rl.compare(
        "dgx-h100", "dgx-b200", model=BOTH[0], isl=1024, osl=256, interactivity=(20, 60), at=20, most_accelerators=1,
        attribution=False,
    ),
    "site": lambda: rl.site(*BOTH, power="1MW", workload="1k/1k"),
    "power_cap": lambda: rl.power_cap(*BOTH, workload="1k/1k"),
    "sensitivity": lambda: rl.sensitivity(*BOTH, workload="1k/1k"),
    "uncertainty": lambda: rl.uncertainty(*BOTH, workload="1k/1k", draws=200),
    "pareto": lambda: rl.pareto(*BOTH, workload="1k/1k"),
    "feasibility": lambda: rl.feasibility(*BOTH),
    "prefill": lambda: rl.prefill(*BOTH, "fp8", tp=1, isl=[1024, 4096]),
    "decode": lambda: rl.decode(*BOTH, "fp8", tp=1, batch=[1, 2], context=1024),
}  # fmt: skip


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_result_is_written_as_its_picture(kind: str, tmp_path: Path) -> None:
    ds = RESULTS[kind]()
    assert kind_of(ds) == kind
    assert ds.roofline.save(tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")
    if kind == "site":
        assert kind_of(ds.isel(system=[0])) == kind


def test_it_is_drawn_and_written(tmp_path: Path) -> None:
    ds = RESULTS["decode"]()
    drawn = ds.roofline.picture(tmp_path / "x.svg")
    assert drawn.axes
    assert (tmp_path / "x.svg").read_text(encoding="utf-8").lstrip().startswith("<?xml")


def test_another_has_none() -> None:
    found = rl.serve(*BOTH, "fp8", tp=1, workload="1k/1k", concurrency=[1, 8])
    with pytest.raises(InputError, match=r"this is none of them\. ds\.roofline\.heatmap"):
        found.roofline.picture()
