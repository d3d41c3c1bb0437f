"""The objective of least USD per million tokens: what a search finds with it is the bill, and nothing beats it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import roofline as rl
from roofline.planning.choose import Choice, Chooser
from roofline.planning.money import UsdPerMtok, objective_of
from roofline.planning.objective import Objective
from roofline.planning.question import question
from roofline.planning.space import Space
from roofline.rack.cost import Bill, token_cost

DUTY = 0.6
OWN = Bill(usd_per_accelerator_hour=1.5, usd_per_kwh=0.3)


def chosen(
    aim: Objective, system: str = "dgx-h100", slo: Any = None, modes: tuple[str, ...] = ("aggregated",)
) -> Choice:
    space = Space.of(rl.Model.load("llama-3.1-8b"), [rl.System.load(system)], [rl.Recipe.load("fp8")])
    asked = question(rl.Workload(isl=1024, osl=256, load=DUTY), slo)
    return Chooser(space, asked, aim, modes).choose(0, 0, 0)


def usd(choice: Choice, bill: Bill, kind: str = "h100-sxm") -> float:
    """What a million output tokens of a choice cost, by the bill."""
    rate, joules = (
        np.array([choice.figures[name]]) for name in ("tokens_per_s_per_gpu", "joules_per_token_at_boundary")
    )
    hardware, energy = token_cost(bill, kind, rate, joules, duty=DUTY)
    return float((hardware + energy)[0])


@pytest.mark.parametrize("slo", [None, rl.SLO(tpot_s=0.01), rl.SLO(ttft_s=0.3, tpot_s=0.008)])
@pytest.mark.parametrize("modes", [("aggregated",), ("static",), ("disaggregated",), ("aggregated", "disaggregated")])
def test_the_cost_of_the_choice_is_the_bill_and_no_other_objective_is_cheaper(slo: Any, modes: tuple[str, ...]) -> None:
    best = chosen(UsdPerMtok(bill=OWN, duty=DUTY), slo=slo, modes=modes)
    if not math.isfinite(best.cost):
        assert best.missed
        return
    assert best.cost == pytest.approx(usd(best, OWN), rel=1e-9)
    for name in ("tokens_per_mwh", "tokens_per_s_per_gpu"):
        other = chosen(Objective(name), slo=slo, modes=modes)
        assert usd(other, OWN) >= best.cost * (1 - 1e-9)


def test_prices_move_the_choice_between_watts_and_accelerators() -> None:
    """Energy alone: tokens/MWh. Hardware alone, or hours that hold their energy: tokens/s per accelerator."""
    limits = rl.SLO(tpot_s=0.01)
    dear = chosen(UsdPerMtok(bill=Bill(usd_per_accelerator_hour=1e-9, usd_per_kwh=1.0), duty=DUTY), slo=limits)
    frugal = chosen(Objective("tokens_per_mwh"), slo=limits)
    assert dear.figures["tokens_per_mwh"] == pytest.approx(frugal.figures["tokens_per_mwh"], rel=1e-6)
    fast = chosen(Objective("tokens_per_s_per_gpu"), slo=limits)
    for bill in (Bill(usd_per_accelerator_hour=2.0, usd_per_kwh=0.0), Bill()):
        found = chosen(UsdPerMtok(bill=bill, duty=DUTY), slo=limits)
        assert not UsdPerMtok(bill=bill).by_energy
        assert found.figures["tokens_per_s_per_gpu"] == fast.figures["tokens_per_s_per_gpu"]
        assert found.cost == pytest.approx(usd(found, bill), rel=1e-9)


def test_prices_are_of_each_system() -> None:
    systems = [rl.System.load(name) for name in ("dgx-h100", "gb300-nvl72")]
    prices = UsdPerMtok(bill=Bill(), duty=0.5).prices(systems)
    assert prices[:, 0] == pytest.approx([1.30e6 / 3600 / 0.5, 2.652e6 / 3600 / 0.5])
    assert prices[:, 1].tolist() == [0.0, 0.0]
    own = UsdPerMtok(bill=OWN).prices(systems)
    assert own[:, 1] == pytest.approx([0.3 / 3.6, 0.3 / 3.6])  # a MJ is 1/3.6 kWh
    said = UsdPerMtok(bill=OWN).attributes
    assert (said["objective"], said["usd_per_kwh"], said["boundary"]) == ("usd_per_mtok", "0.3", "facility")


def test_what_is_refused() -> None:
    with pytest.raises(rl.InputError, match="rubin-vr200: no price in prices semianalysis-v1; give usd_per_acc"):
        UsdPerMtok().prices([rl.System.load("vr-nvl72")])
    with pytest.raises(rl.InputError, match="objective 'tokens_per_mwh': this one is usd_per_mtok"):
        UsdPerMtok("tokens_per_mwh")
    for duty in (0.0, -1.0, 1.5, math.nan):
        with pytest.raises(rl.InputError, match="duty"):
            UsdPerMtok(duty=duty)
    with pytest.raises(rl.InputError, match="boundary 'wall'"):
        UsdPerMtok(boundary="wall")  # type: ignore[arg-type]


def test_objectives_by_name() -> None:
    assert objective_of("usd_per_mtok", bill=OWN, duties=[DUTY, DUTY]) == UsdPerMtok(bill=OWN, duty=DUTY)
    assert objective_of("usd_per_mtok") == UsdPerMtok()
    assert objective_of("joules_per_token", "rack") == Objective("joules_per_token", "rack")
    with pytest.raises(rl.InputError, match="did you mean usd_per_mtok"):
        objective_of("usd_per_mtokens")
    with pytest.raises(rl.InputError, match=r"workloads of duties 0\.5, 1; plan for one duty at a time"):
        objective_of("usd_per_mtok", duties=[0.5, 1.0])
    with pytest.raises(rl.InputError, match="objective min_gpus reads none"):
        objective_of("min_gpus", bill=OWN)


def test_a_bill_is_given_by_its_fields_too() -> None:
    fields = {"usd_per_accelerator_hour": 0.5, "usd_per_kwh": 0.3}
    assert objective_of("usd_per_mtok", bill=fields) == UsdPerMtok(bill=Bill(**fields))
    with pytest.raises(rl.InputError, match=r"bill = 5: give a Bill, or its fields by name"):
        objective_of("usd_per_mtok", bill=5)  # type: ignore[arg-type]
    with pytest.raises(rl.InputError, match="bill: 'watts' is none of its fields"):
        objective_of("usd_per_mtok", bill={"watts": 1.0})
