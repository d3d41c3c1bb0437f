"""The table of bands that ships, and what a prediction rests on."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise, product
from pathlib import Path

import pytest

import roofline as rl
from roofline.serving import bands

BANDS = list(bands.table().values())


def stack(name: str) -> rl.Stack:
    return rl.Stack.load(name)


def part(name: str) -> rl.Accelerator:
    return rl.Accelerator.load(name)


def test_every_cell_has_a_band_but_those_that_are_given() -> None:
    wanted = {cell for cell in product(bands.QUANTITIES, bands.KINDS, bands.TIERS) if cell[:2] not in bands.GIVEN}
    assert set(bands.table()) == wanted
    assert len(BANDS) == len(wanted)


@pytest.mark.parametrize("band", BANDS, ids=lambda b: f"{b.quantity}-{b.kind}-{b.tier}")
def test_a_band_holds_its_prediction_and_has_a_grade(band: bands.Band) -> None:
    assert 0.0 < band.low <= 1.0 <= band.high < 100.0
    assert band.grade in ("measured", "estimated")
    assert band.groups <= band.rows
    if band.grade == "measured":
        assert band.groups >= 1


def test_a_lower_tier_is_no_narrower() -> None:
    for quantity, kind in {(band.quantity, band.kind) for band in BANDS}:
        for better, worse in pairwise(bands.TIERS):
            above, below = bands.table()[quantity, kind, better], bands.table()[quantity, kind, worse]
            assert below.low <= above.low
            assert below.high >= above.high


def test_what_is_measured_most_has_bands_of_its_own() -> None:
    """Closed loops of the calibrated tier: what stacks are fitted to."""
    for quantity in ("tpot", "ttft"):
        band = bands.table()[quantity, "closed", "calibrated"]
        assert band.grade == "measured"
        assert band.groups >= 5
    assert Counter(band.grade for band in BANDS)["measured"] >= 5


def test_a_table_reads_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "bands.csv"
    bands.write(BANDS, path)
    assert bands.table(path) == bands.table()
    assert path.read_text() == bands.TABLE.read_text()


def test_factors_are_none_where_nothing_is_claimed() -> None:
    band = bands.table()["tpot", "closed", "kernels"]
    assert bands.factors("tpot", "closed", "kernels") == (band.low, band.high)
    assert bands.factors("throughput", "open", "calibrated") is None
    assert bands.factors("tpot", "attention_ffn", "calibrated") is None
    assert bands.factors("tpot", "closed", "") is None


@pytest.mark.parametrize(
    ("accelerator", "served", "tier"),
    [
        ("h100-sxm", "trtllm-hopper", "calibrated"),
        ("h100-sxm", "trtllm", "calibrated"),
        ("h200-sxm", "vllm", "calibrated"),
        ("gb300", "sglang-blackwell", "calibrated"),
        ("h100-sxm", "trtllm-blackwell", "kernels"),
        ("b200-hgx", "trtllm-hopper", "kernels"),
        ("h100-sxm", "default", "kernels"),
        ("a100-80-sxm", "trtllm-hopper", "kernels"),
        ("h100-nvl", "trtllm-hopper", "sheet"),  # a fitted stack, kernels estimated
        ("mi355x", "sglang-hopper", "sheet"),
        ("rubin-vr200", "trtllm-blackwell", "sheet"),
    ],
)
def test_tiers_of_times(accelerator: str, served: str, tier: str) -> None:
    assert bands.tiers(part(accelerator), stack(served))[0] == tier


def test_energy_rests_on_the_draw_too() -> None:
    """Measured on the H100; a part that a rule gives its draw is as good as its sheet."""
    assert bands.tiers(part("h100-sxm"), stack("vllm"))[1] == "calibrated"
    by_rule = [name for name in ("b300-hgx", "mi355x", "rubin-vr200") if "draw_a" not in _given(name)]
    assert by_rule
    for name in by_rule:
        assert bands.tiers(part(name), stack("vllm"))[1] == "sheet"


def _given(name: str) -> set[str]:
    return set(part(name).power.model_fields_set)


@pytest.mark.parametrize(
    "change",
    [{"memory__bytes_per_s": 6e12}, {"efficiency__operations__gemm__fp8__eta_memory": 0.95}, {"power__tdp_w": 500}],
)
def test_a_what_if_is_no_better_than_its_sheet(change: dict[str, float]) -> None:
    changed = part("h200-sxm").replace(**change)
    assert changed.id == "h200-sxm"
    assert bands.tiers(changed, stack("vllm"))[0] == "sheet"


def test_a_changed_stack_is_fitted_to_nothing() -> None:
    assert bands.tiers(part("h100-sxm"), stack("vllm").replace(step_s=1e-3))[0] == "kernels"


def test_systems_that_serve_together_are_of_the_lowest_tier() -> None:
    systems = [rl.System.load(name) for name in ("dgx-h100", "mi355x-8")]
    assert bands.tiers_of(systems[:1], stack("vllm")) == ("calibrated", "calibrated")
    assert bands.tiers_of(systems, stack("vllm"))[0] == "sheet"
    assert bands.lowest(["kernels", "calibrated"]) == "kernels"
