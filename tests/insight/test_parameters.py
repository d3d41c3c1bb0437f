"""Every number of the sheets goes where packing would put it, and only there."""

from __future__ import annotations

import numpy as np
import pytest

from roofline.insight.parameters import EXCESS, HOST, LOSS, RATE, SHARE, TIME, WATTS, Numbers, Side, short_name
from roofline.insight.research import changed
from roofline.specs import Model, Recipe, System
from roofline.specs.stack import Stack

CASES = [
    ("llama-3.1-70b", "dgx-h100", "fp8", "kernel"),
    ("deepseek-r1", "gb300-nvl72", "nvfp4-experts", "kernel"),
    ("qwen3-next-80b", "mi355x-8", "fp8-block", "kernel"),
    ("llama-3.1-70b", "ironwood-rack", "fp8", "ideal"),
]


def numbers_of(model: str, system: System, recipe: str, fidelity: str, prefix: str = "") -> Numbers:
    side = Side.of(Model.load(model), system, Recipe.load(recipe), fidelity, prefix)  # type: ignore[arg-type]
    return Numbers([side], Stack.load("default"), fidelity)  # type: ignore[arg-type]


@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(case))
def test_varied_records_are_those_of_the_changed_sheet(case: tuple[str, str, str, str]) -> None:
    """The oracle is the sheet itself, changed, validated and packed again."""
    model, name, recipe, fidelity = case
    system, factor = System.load(name), 1.0 / 1.01
    numbers = numbers_of(model, system, recipe, fidelity)
    compared = 0
    for p, parameter in enumerate(numbers.parameters):
        if parameter.path.startswith("stack.") or parameter.value * factor < parameter.least:
            continue
        factors = np.ones((1, len(numbers.parameters)))
        factors[0, p] = factor
        mine = numbers.vary(factors)
        theirs = numbers_of(model, changed(system, parameter.path, factor), recipe, fidelity).base()
        for got, expected in ((mine.machines[0], theirs.machines[0]), (mine.kits[0], theirs.kits[0])):
            _same(got, expected, parameter.path)
        around, other = mine.around[0], theirs.around[0]
        for field in around.dtype.names or ():
            if parameter.path == "system.power.psu.efficiency" and field == "psu_gain":
                assert around[field][0] == pytest.approx(factor, rel=1e-13)  # there the curve itself is changed
            else:
                np.testing.assert_allclose(around[field], other[field], rtol=1e-12, err_msg=parameter.path)
        compared += 1
    assert compared > 60


def _same(got: np.ndarray, expected: np.ndarray, path: str) -> None:
    for field in got.dtype.names or ():
        if got[field].dtype.names:
            _same(got[field], expected[field], f"{path} {field}")
        else:
            np.testing.assert_allclose(got[field], expected[field], rtol=1e-12, err_msg=f"{path} {field}")


def test_factors_of_one_leave_every_bit() -> None:
    numbers = numbers_of("llama-3.1-70b", System.load("dgx-h100"), "fp8", "kernel")
    varied, base = numbers.vary(np.ones((3, len(numbers.parameters)))), numbers.base(3)
    assert all((a == b).all() for a, b in zip(varied.machines + varied.kits, base.machines + base.kits, strict=True))
    assert (varied.stack == base.stack).all()


def test_all_kinds_of_numbers_are_there_with_sources_and_grades() -> None:
    numbers = numbers_of("llama-3.1-70b", System.load("dgx-h100"), "fp8", "kernel")
    found = {one.path: one for one in numbers.parameters}
    assert len(found) == len(numbers.parameters)
    for path, kind, unit in (
        ("accelerator.dense_flop_per_s.fp8", RATE, "FLOP/s"),
        ("accelerator.memory.bytes_per_s", RATE, "B/s"),
        ("accelerator.power.tdp_w", WATTS, "W"),
        ("system.scale_up.hop_s", TIME, "s"),
        ("system.scale_out.bytes_per_s", RATE, "B/s"),
        ("system.power.host_dc_w.host", WATTS, "W"),
        ("system.power.psu.rated_w", WATTS, "W"),
        ("system.power.psu.efficiency", LOSS, "1"),
        ("facility.pue", EXCESS, "1"),
        ("efficiency.operations.gemm.fp8.eta_memory", SHARE, "1"),
        ("efficiency.operations.gemm.fp8.fixed_s", TIME, "s"),
        ("efficiency.collectives.eta_out", SHARE, "1"),
        ("stack.step_s", HOST, "s"),
    ):
        assert (found[path].kind, found[path].unit) == (kind, unit), path
        assert found[path].source
        assert found[path].effects
    assert found["accelerator.memory.bytes_per_s"].grade == "published"
    assert found["efficiency.operations.gemm.fp8.eta_memory"].grade == "measured"
    assert found["efficiency.operations.elementwise.fixed_s"].grade == "estimated"
    assert not found["accelerator.dense_flop_per_s.int8"].effects  # no part of this recipe runs in it


def test_a_side_with_a_prefix_has_numbers_of_its_own() -> None:
    model, recipe = Model.load("llama-3.1-70b"), Recipe.load("fp8")
    sides = [
        Side.of(model, System.load("dgx-h100"), recipe, "kernel"),
        Side.of(model, System.load("dgx-b200"), recipe, "kernel", "prefill."),
    ]
    numbers = Numbers(sides, None, "kernel")
    factors = np.ones((1, len(numbers.parameters)))
    paths = [one.path for one in numbers.parameters]
    factors[0, paths.index("prefill.accelerator.memory.bytes_per_s")] = 2.0
    varied, base = numbers.vary(factors), numbers.base()
    assert varied.machines[0] == base.machines[0]
    assert varied.machines[1]["bytes_per_s"] == 2.0 * base.machines[1]["bytes_per_s"]
    shared = Numbers([sides[0], sides[0]], None, "kernel")
    assert len({effect.side for effect in shared["accelerator.memory.bytes_per_s"].effects}) == 2


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("accelerator.memory.bytes_per_s", "memory bandwidth"),
        ("accelerator.dense_flop_per_s.fp8", "fp8 peak"),
        ("efficiency.operations.gemm.fp8.eta_memory", "gemm fp8 eta_memory"),
        ("prefill.accelerator.power.tdp_w", "prefill TDP"),
        ("system.power.host_dc_w.fans", "host watts (fans)"),
        ("stack.step_s", "stack step_s"),
    ],
)
def test_short_names(path: str, said: str) -> None:
    assert short_name(path) == said
