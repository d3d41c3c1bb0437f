"""What-ifs: changed fields are validated again, traced, and leave the original alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from roofline.errors import InputError
from roofline.specs import Accelerator, Model, System


@pytest.fixture
def box(folder: Path, monkeypatch: pytest.MonkeyPatch) -> System:
    monkeypatch.setenv("ROOFLINE_SPECS", str(folder))
    return System.load("box")


def test_a_path_descends_into_records_mappings_lists_and_sheets(box: System) -> None:
    changed = box.replace(
        scale_up__domain=4,
        power__host_dc_w__cpu=900,
        power__psu__efficiency__1=0.97,
        accelerator__memory__bytes=96e9,
        accelerator__efficiency__operations__gemm__bf16__eta_compute=0.8,
    )
    assert changed.scale_up.domain == 4
    assert changed.power.host_dc_w == {"cpu": 900.0, "fans": 600.0}
    assert changed.power.psu.efficiency == (0.92, 0.97, 0.95)
    assert changed.accelerator.memory.bytes == 96e9
    assert changed.accelerator.memory.bytes_per_s == box.accelerator.memory.bytes_per_s
    assert changed.accelerator.efficiency.operations.gemm["bf16"].eta_compute == 0.8
    assert changed.accelerator.efficiency.operations.gemm["fp8"] == box.accelerator.efficiency.operations.gemm["fp8"]
    assert box.scale_up.domain == 8
    assert box.power.host_dc_w["cpu"] == 700.0
    assert changed.id == box.id
    assert {name for name in box.digests if box.digests[name] != changed.digests[name]} == {
        "system/box",
        "accelerator/one",
        "efficiency/acme",
    }


def test_a_sheet_is_replaced_by_name_or_object(box: System) -> None:
    assert box.replace(accelerator="h100-sxm").accelerator == Accelerator.load("h100-sxm")
    assert box.replace(accelerator=Accelerator.load("h100-sxm")).accelerator.id == "h100-sxm"
    with pytest.raises(InputError, match="no accelerator named 'h101'"):
        box.replace(accelerator="h101")


def test_changed_fields_become_what_ifs(box: System) -> None:
    changed = box.replace(accelerator__memory__bytes_per_s=4e12, scale_up__hop_s=1e-6)
    assert changed.accelerator.source_of("memory.bytes_per_s").grade == "estimated"  # type: ignore[union-attr]
    assert changed.accelerator.source_of("memory.bytes").grade == "measured"  # type: ignore[union-attr]
    assert changed.source_of("scale_up.hop_s").grade == "estimated"  # type: ignore[union-attr]
    assert changed.source_of("scale_up.domain").grade == "published"  # type: ignore[union-attr]
    assert "accelerator" not in changed.sources


def test_a_default_follows_what_it_derives_from(box: System) -> None:
    changed = box.accelerator.replace(power__tdp_w=1000)
    assert changed.power.idle_w == pytest.approx(107.0)
    assert changed.replace(power__idle_w=80).replace(power__tdp_w=900).power.idle_w == 80


def test_an_absent_part_can_be_added_and_a_part_taken_away(box: System) -> None:
    bare = box.replace(scale_out=None)
    assert bare.scale_out is None
    again = bare.replace(scale_out__bytes_per_s=2.5e10, scale_out__hop_s=3e-6)
    assert again.scale_out is not None
    assert again.scale_out.bytes_per_s == 2.5e10


def test_numpy_scalars_are_numbers(box: System) -> None:
    changed = box.replace(scale_up__domain=np.int64(4), accelerator__power__tdp_w=np.float32(600))
    assert type(changed.scale_up.domain) is int
    assert type(changed.accelerator.power.tdp_w) is float


def test_layers_are_reached_by_index() -> None:
    model = Model.load("deepseek-v3")
    changed = model.replace(layers__1__experts__top_k=4)
    assert changed.layers[1].experts is not None
    assert changed.layers[1].experts.top_k == 4
    assert changed.total_params == model.total_params
    assert changed.active_params < model.active_params


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"scale_up__domian": 8}, "did you mean domain"),
        ({"acelerators": 8}, "did you mean accelerators"),
        ({"scale_up__domain": -1}, "domain = -1: out of range"),
        ({"scale_up__domain": 72}, "more than accelerators"),
        ({"scale_up__domain": True}, "not a number"),
        ({"power__max_w": float("nan")}, "max_w = nan: not finite"),
        ({"power__psu__load__7": 0.5}, "expected an index below 3"),
        ({"name__first": "x"}, "has no fields"),
        ({"power": 5}, "expected fields"),
        ({"power__psu": None, "power__psu__rated_w": 5e3}, "also changed as a whole"),
        ({"accelerator__power__tdp_w": 0.7}, "did you write kW"),
    ],
)
def test_bad_change(box: System, change: dict[str, object], what: str) -> None:
    with pytest.raises(InputError, match=what) as caught:
        box.replace(**change)
    assert "replace" in str(caught.value)


def test_a_new_name_is_another_sheet(box: System) -> None:
    wide = box.replace(name="H200 wide", accelerator__memory__bytes_per_s=6e12)
    assert (wide.name, wide.id) == ("H200 wide", "h200-wide")
    assert box.replace(name="Anything", id="mine").id == "mine"
    assert box.replace(kind="rack").id == box.id
