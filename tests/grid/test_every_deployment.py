"""Every way to lay a replica out: against an enumeration of all degrees, and what a kernel runs of them."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

import roofline as rl
from roofline.grid.deployments import MOST_GROUP, MOST_STAGES, every_deployment
from roofline.layout import CONFIG, Limit
from roofline.specs.pack import pack, pack_deployments

MODELS = ["llama-3.1-8b", "mixtral-8x7b", "deepseek-r1", "llama-4-maverick", "gpt-oss-120b", "nemotron-h-56b"]
SYSTEMS = ["dgx-h100", "gb200-nvl72", "rtx-pro-6000-8", "ironwood-rack", "groq3-lpx"]
POWERS = [1, 2, 4, 8, 16, 32, 64, 128]
ILLEGAL = {Limit.HEADS, Limit.KV_HEADS, Limit.EXPERTS, Limit.EXPERT_GROUP, Limit.LAYERS, Limit.ACCELERATORS}

Row = tuple[int, int, int, int, int]


def by_hand(model: rl.Model, system: rl.System, most: int | None) -> set[Row]:
    """All degrees by the rules, from the product of all powers of two."""
    reach = min(system.accelerators * system.max_systems, MOST_GROUP, most or MOST_GROUP)
    found: set[Row] = set()
    for tp, pp, dp, ep in product(POWERS, repeat=4):
        fits = tp * pp * dp <= reach and tp <= system.scale_up.domain and pp <= MOST_STAGES
        if not fits or (not model.is_moe and (dp, ep) != (1, 1)) or tp * dp % ep:
            continue
        found.add((tp, pp, dp, ep, tp * dp // ep))
    return found


def limits_of(model: rl.Model, system: rl.System, rows: list[Row]) -> np.ndarray:
    """Why each deployment does not decode one token, 0 where it does."""
    from roofline.kernels.sweep import decode_grid

    packed = pack([model], [system], [rl.Recipe.load("bf16")], "kernel")
    machines = packed.machines.copy()
    machines["memory_bytes"] = np.inf
    configs = np.zeros(len(rows), dtype=CONFIG)
    configs["deployment"], configs["kit"] = np.arange(len(rows)), packed.kit_index[0, 0, 0]
    records = packed.models, packed.layers, machines, packed.kits, pack_deployments(tuple(rows)), configs
    batch = np.array([[tp * pp * dp] for tp, pp, dp, *_ in rows])
    found: np.ndarray = decode_grid(*records, batch, np.array([64]), with_bound=False)["limit"][:, 0, 0]
    return found


@pytest.mark.parametrize("most", [None, 1, 3, 8, 72, 100])
@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("model", ["llama-3.1-8b", "mixtral-8x7b"])
def test_they_are_those_of_the_rules_and_no_others(model: str, system: str, most: int | None) -> None:
    sheets = rl.Model.load(model), rl.System.load(system)
    rows = every_deployment(*sheets, most).rows
    assert set(rows) == by_hand(*sheets, most)
    assert len(set(rows)) == len(rows)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("system", SYSTEMS)
def test_the_fewest_accelerators_come_first(model: str, system: str) -> None:
    found = every_deployment(rl.Model.load(model), rl.System.load(system))
    sizes = np.array(found.accelerators)
    assert (np.diff(sizes) >= 0).all()
    assert found.rows[0] == (1, 1, 1, 1, 1)
    assert len(set(found.labels)) == len(found.rows)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("system", ["dgx-h100", "gb200-nvl72"])
def test_all_powers_of_two_that_a_kernel_runs_are_among_them(model: str, system: str) -> None:
    """dp by powers of two too, of a model with experts; without them it is the same as more replicas."""
    shape, box = rl.Model.load(model), rl.System.load(system)
    most = 64
    rows = []
    for tp, pp, dp in product(POWERS, POWERS, POWERS):
        if tp * pp * dp > most or tp > box.scale_up.domain or pp > MOST_STAGES or (dp > 1 and not shape.is_moe):
            continue
        stage = tp * dp
        wild = [(ep, slices) for ep in POWERS for slices in POWERS] if shape.is_moe else [(1, tp)]
        rows += [(tp, pp, dp, ep, slices) for ep, slices in wild if ep <= stage and slices <= stage]
    legal = {row for row, limit in zip(rows, limits_of(shape, box, rows), strict=True) if limit == Limit.NONE}
    assert len(legal) > 10 or not shape.is_moe
    assert legal <= set(every_deployment(shape, box, most).rows)


@pytest.mark.parametrize("model", MODELS)
def test_what_a_kernel_refuses_is_not_legal(model: str) -> None:
    """Nothing among them takes more than the system joins, or does not fill its accelerators with experts."""
    shape, box = rl.Model.load(model), rl.System.load("gb200-nvl72")
    rows = list(every_deployment(shape, box).rows)
    limits = limits_of(shape, box, rows)
    assert set(limits.tolist()) <= {int(Limit.NONE), *(int(limit) for limit in ILLEGAL)}
    assert not (limits == Limit.ACCELERATORS).any()
    assert not (limits == Limit.EXPERT_GROUP).any()
    assert (limits == Limit.NONE).any()


def test_a_domain_that_is_no_power_of_two_is_filled_up_to_one() -> None:
    model, rack = rl.Model.load("deepseek-r1"), rl.System.load("gb200-nvl72")
    assert (1, 1, 64, 64, 1) in every_deployment(model, rack).rows
    assert max(every_deployment(model, rack).accelerators) == MOST_GROUP
    assert max(every_deployment(model, rack, 72).accelerators) == 64


def test_small_most_is_the_start_of_all() -> None:
    model, box = rl.Model.load("mixtral-8x7b"), rl.System.load("dgx-h100")
    every = every_deployment(model, box)
    few = every_deployment(model, box, 4)
    assert every.rows[: len(few.rows)] == few.rows
    assert max(few.accelerators) == 4


@pytest.mark.parametrize("most", [0, -1, 2.5, float("nan"), "8", True])
def test_no_whole_number_of_accelerators_is_refused(most: object) -> None:
    model, box = rl.Model.load("mixtral-8x7b"), rl.System.load("dgx-h100")
    with pytest.raises(rl.InputError, match="most_accelerators"):
        every_deployment(model, box, most)  # type: ignore[arg-type]
