"""Laws of factors where the game is a real search: turned round, levers that nothing feels, levers that do the same."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import roofline as rl
from roofline.errors import InputError
from roofline.insight.attribution import attribute
from roofline.insight.compare import compare
from roofline.insight.mixtures import BY_NAME, Side, differing, mixed_system, mixture, players
from roofline.specs import System
from roofline.specs.load import list_specs

Plain = dict[str, Any]
Reach = Callable[[str], None]

KNOWN = [name for name in list_specs("system") if not System.load(name).power_unknown]
PAIRS = st.tuples(st.sampled_from(KNOWN), st.sampled_from(KNOWN))
GROUPS = ("silicon", "interconnect", "facility")
ASKED: Plain = {
    "model": "llama-3.1-8b", "isl": 512, "osl": 128, "interactivity": (60,), "at": 60, "most_accelerators": 2,
    "recipes": "fp8",
}  # fmt: skip
DEGREES = [{"tp": 1}, {"tp": 2}, {"pp": 2}]


def cells(system: System) -> xr.Dataset:
    """A step in a few deployments: a real evaluation of a real system."""
    return rl.decode("llama-3.1-8b", system, "bf16", deployments=DEGREES, batch=32, context=2048)


def numbers(node: Any) -> list[float]:
    """All numbers of a dumped sheet in their order."""
    if isinstance(node, dict):
        return [x for name in sorted(node) for x in numbers(node[name])]
    if isinstance(node, list | tuple):
        return [x for one in node for x in numbers(one)]
    return [float(node)] if isinstance(node, int | float) and not isinstance(node, bool) else []


def unlike(system: System) -> System:
    """The system with other values of what is the same on all shipped sheets, so that a mix-up shows."""
    changes: Plain = {"scale_up__hop_s": 3e-7, "facility__pue": 1.17, "name": "unlike"}
    if system.scale_out is not None:
        changes["scale_out__hop_s"] = 1e-6
    return system.replace(**changes)


@pytest.mark.reaches("is a system")
@given(PAIRS, st.frozensets(st.sampled_from(sorted(BY_NAME))))
def test_a_mixture_is_the_same_from_either_end(reach: Reach, pair: tuple[str, str], moved: frozenset[str]) -> None:
    """What levers take from the new side is what the others leave of it: v'(S) = v(all but S)."""
    old, new = System.load(pair[0]), unlike(System.load(pair[1]))
    try:
        one = mixed_system(old, new, moved)
    except InputError:
        with pytest.raises(InputError):
            mixed_system(new, old, frozenset(BY_NAME) - moved)
        return
    other = mixed_system(new, old, frozenset(BY_NAME) - moved)
    reach("is a system")
    first, second = (box.model_dump(exclude={"id", "name", "sources", "accelerator", "kind"}) for box in (one, other))
    np.testing.assert_allclose(numbers(first), numbers(second), rtol=1e-12)
    mine, theirs = (
        box.accelerator.model_dump(exclude={"id", "name", "sources", "year", "cache_bytes"}) for box in (one, other)
    )
    for part in (mine, theirs):  # what no kernel reads stays with the sheet that is changed
        for name in [key for key in part if key.startswith("scale_") and key != "scale_up_bytes_per_s"]:
            part.pop(name)
        part["efficiency"] = {key: part["efficiency"][key] for key in ("operations", "collectives", "runtime")}
    np.testing.assert_allclose(numbers(mine), numbers(theirs), rtol=1e-12)


@pytest.mark.reaches("taken apart")
@settings(max_examples=8)
@given(PAIRS, st.sampled_from(["metered", "provisioned"]), st.lists(st.floats(0.1, 0.9), max_size=2))
def test_factors_turned_round_are_their_inverses(
    reach: Reach, pair: tuple[str, str], basis: str, acceptance: list[float]
) -> None:
    """The Shapley value of a game and of its dual are the same: from new to old every factor is one over itself."""
    old = Side(System.load(pair[0]), load=0.7)
    new = Side(System.load(pair[1]), acceptance=tuple(acceptance))
    assume(pair[0] != pair[1])

    def game(first: Side, second: Side) -> Plain:
        moved = players(differing(first, second), [*GROUPS, "drafts", "duty"])
        known: dict[frozenset[str], xr.Dataset] = {}  # what runs on a system does not change its step

        def value(names: frozenset[str]) -> float:
            side = mixture(first, second, frozenset(lever for name in names for lever in moved[name]))
            hardware = names & frozenset(GROUPS)
            if hardware not in known:
                known[hardware] = cells(side.system)
            best = rl.rollup(known[hardware], basis=basis, duty=side.load)["tokens_per_mwh"].max()  # type: ignore[arg-type]
            return float(best) * (1.0 + sum(side.acceptance or ()))

        def values(sets: Any) -> np.ndarray:
            return np.array([value(one) for one in sets])

        found = attribute(values, list(moved))
        assert math.isclose(math.prod(found.factors), found.ratio, rel_tol=1e-9) or math.isnan(found.ratio)
        return dict(zip(moved, found.factors, strict=True))

    there, back = game(old, new), game(new, old)
    assert there.keys() == back.keys()
    if any(map(math.isnan, there.values())):
        return
    reach("taken apart")
    for name, factor in there.items():
        assert factor == pytest.approx(1.0 / back[name], rel=1e-9), name
    if "duty" in there and basis == "provisioned":  # what is set aside is paid all day
        assert there["duty"] == pytest.approx(1.0 / 0.7, rel=1e-9)
    if "drafts" in there:  # here nothing else changes what they keep
        assert there["drafts"] == pytest.approx(1.0 + sum(acceptance), rel=1e-9)


def factors(ds: xr.Dataset) -> dict[str, float]:
    return dict(zip(ds["lever"].values.tolist(), ds["factor"].values.tolist(), strict=True))


@pytest.mark.parametrize("basis", ["metered", "provisioned"])
def test_a_comparison_turned_round_has_inverse_factors(basis: str) -> None:
    """The same with every mixture searched: modes, deployments and batches chosen again."""
    sides = ({"system": "dgx-h100", "load": 0.6}, {"system": "gb300-nvl72", "load": 0.9})
    levers = ["silicon", "interconnect", "duty", "facility"]
    there, back = (compare(*pair, levers=levers, basis=basis, **ASKED) for pair in (sides, sides[::-1]))  # type: ignore[arg-type]
    assert float(there.attrs["ratio"]) == pytest.approx(1.0 / float(back.attrs["ratio"]), rel=1e-9)
    first, second = factors(there), factors(back)
    assert set(first) == set(second)
    assert len(first) == 4
    for name, factor in first.items():
        assert factor == pytest.approx(1.0 / second[name], rel=1e-9), name
    np.testing.assert_allclose(there["alone"], 1.0 / back["last"], rtol=1e-9)
    ratio = there["ratio_tokens_per_mwh"] * back["ratio_tokens_per_mwh"]
    np.testing.assert_allclose(ratio, 1.0, rtol=1e-12)


def test_a_lever_that_nothing_feels_has_a_factor_of_one() -> None:
    """Replicas of one accelerator talk to nobody: no network is in their price; the others' factors do not move."""
    old = System.load("dgx-h100")
    changes: Plain = {"accelerator__memory__bytes_per_s": 4.8e12, "facility__pue": 1.15}
    new = old.replace(name="faster memory", **changes)
    wired = old.replace(
        name="and faster links",
        scale_up__bytes_per_s=9e11,
        scale_up__hop_s=2e-7,
        scale_out__bytes_per_s=1e11,
        **changes,
    )
    asked = ASKED | {"most_accelerators": 1, "modes": ("aggregated",), "levers": "all"}
    plain, linked = compare(old, new, **asked), compare(old, wired, **asked)
    without, found = factors(plain), factors(linked)
    assert set(found) - set(without) == {"scale_up", "scale_out"}
    assert set(without) == {"bandwidth", "pue"}
    for name in ("scale_up", "scale_out"):
        assert found[name] == 1.0, name
    for name, factor in without.items():
        assert found[name] == pytest.approx(factor, rel=1e-12), name
    assert found["bandwidth"] > 1.05
    assert found["pue"] == pytest.approx(1.3 / 1.15, rel=1e-9)


def test_levers_that_do_the_same_have_the_same_factor() -> None:
    """What is set aside is the rating and the network times PUE: a fifth more of either costs alike, always."""
    old = System.load("dgx-h100")
    new = old.replace(
        name="larger", power__max_w=1.2 * 10_200.0, power__network_w=1.2 * 473.6, facility__pue=1.2 * 1.3,
        accelerator__memory__bytes_per_s=4e12,
    )  # fmt: skip
    found = factors(compare(old, new, levers="all", basis="provisioned", **ASKED))
    assert set(found) == {"bandwidth", "hosts", "pue"}
    assert found["hosts"] == pytest.approx(found["pue"], rel=1e-12)
    assert found["pue"] == pytest.approx(1.0 / 1.2, rel=1e-9)
    assert found["bandwidth"] > 1.0
