"""A building whose PUE falls with load, through all that counts energy at its meter."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import roofline as rl
from roofline.errors import InputError
from roofline.insight.ideal_bound import ideal_bound
from roofline.insight.sensitivity import sensitivity
from roofline.serving.workload import Workload
from roofline.specs import Model, Recipe, System
from tests.insight.test_sensitivity import changed

MODEL, RECIPE = "llama-3.1-70b", "fp8"


@pytest.fixture(scope="module")
def box() -> System:
    """A shipped box in a hall that takes a tenth of its rated power whatever it draws."""
    return System.load("dgx-h100").replace(facility__fixed_overhead=0.1)


def test_elasticities_are_differences_of_the_public_functions(box: System) -> None:
    options: dict[str, Any] = {"tp": 8, "batch": 64, "context": 4096}
    ds = sensitivity(MODEL, box, RECIPE, of="decode", **options)
    for path in ("facility.pue", "facility.fixed_overhead", "system.power.max_w", "system.power.psu.efficiency"):
        more, less = (
            rl.rollup(rl.decode(MODEL, changed(box, path, np.exp(sign * 1e-3)), RECIPE, **options)).squeeze()
            for sign in (1.0, -1.0)
        )
        expected = (np.log(float(more["tokens_per_mwh"])) - np.log(float(less["tokens_per_mwh"]))) / 2e-3
        got = float(ds["elasticity"].sel(parameter=path, figure="tokens_per_mwh"))
        assert got == pytest.approx(expected, rel=1e-4, abs=1e-6), path
        assert got != 0.0


def test_a_search_counts_it_as_a_roll_up_does(box: System) -> None:
    """At the load of the chosen cell, of the rating; and the bound stays below."""
    of_box = rl.plan(MODEL, box, RECIPE, workload="1k/1k", modes="aggregated").squeeze()
    plain = rl.plan(MODEL, "dgx-h100", RECIPE, workload="1k/1k", modes="aggregated", boundary="rack").squeeze()
    rack_w = float(plain["power_at_boundary"]) * 8
    fixed_w = 0.1 * box.power.max_w + (box.facility.pue - 0.1) * 473.6
    assert of_box["deployment"] == plain["deployment"]
    assert float(of_box["power_at_boundary"]) * 8 == pytest.approx(
        (box.facility.pue - 0.1) * rack_w + fixed_w, rel=1e-9
    )
    bound = ideal_bound(Model.load(MODEL), box, [Recipe.load(RECIPE)], Workload.of("1k/1k"))
    assert bound.joules_per_token < float(of_box["joules_per_token_at_boundary"])


def test_a_site_pays_for_it_at_night(box: System) -> None:
    """Between load and idle the building takes the same, so that all of the difference is the racks'."""
    day = (0.2,) * 12 + (1.0,) * 12
    asked: dict[str, Any] = {
        "models": "llama-3.1-8b",
        "recipes": "fp8",
        "power": "1MW",
        "workload": "1k/128",
        "load": day,
    }
    halls = [rl.site(systems=one, **asked).squeeze() for one in (box, box.replace(facility__fixed_overhead=0.0))]
    for ds in halls:
        systems = float(ds["systems"])
        swing = float(ds["power_running"] - ds["power_idle"]) / systems
        fixed = 0.1 if ds is halls[0] else 0.0
        assert swing == pytest.approx(
            float(halls[1]["power_running"] - halls[1]["power_idle"])
            / float(halls[1]["systems"])
            * (box.facility.pue - fixed)
            / box.facility.pue,
            rel=1e-9,
        )
    assert float(halls[0]["tokens_per_mwh"]) < float(halls[1]["tokens_per_mwh"])


def test_more_than_the_pue_has_is_refused() -> None:
    with pytest.raises(InputError, match=r"fixed_overhead = 0.4: at most pue - 1 = 0.3"):
        System.load("dgx-h100").replace(facility__fixed_overhead=0.4)
