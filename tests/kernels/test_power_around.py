"""Watts around a replica as the search has them, against those of a roll-up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba import njit

from roofline.kernels.reduce import around, at_work
from roofline.layout import POWER
from roofline.planning.objective import Objective
from roofline.rack.energy import Basis, Boundary, PowerFacts, joules_per_token
from roofline.testing.searches import powers
from tests.kernels.branches import PATIENT

Reach = Callable[[str], None]


@njit
def watts_around(power: Any, draw: float, group: int, replicas: int) -> float:
    watts: float = around(power[0], draw, group, replicas)
    return watts


@njit
def working(power: Any, draw: float, group: int) -> int:
    replicas: int = at_work(power[0], draw, group)
    return replicas


BASES: list[tuple[Boundary, Basis, str | None]] = [
    ("accelerator", "metered", None),
    ("rack", "metered", None),
    ("facility", "metered", None),
]
BASES += [("accelerator", "provisioned", None), ("rack", "provisioned", None), ("facility", "provisioned", None)]
BASES += [("facility", "provisioned", "a vintage")]


@pytest.mark.reaches(
    "several replicas", "several systems", "one replica is too much", "the rack is the limit", "all work"
)
@PATIENT
@given(
    powers(),
    st.one_of(st.integers(1, 4), st.integers(1, 200)),
    st.floats(1.0, 3000.0),
    st.floats(0.05, 1.0),
    st.floats(1e-3, 1e4),
)
def test_watts_around_a_replica_are_those_of_a_roll_up(
    reach: Reach, power: dict[str, Any], group: int, draw: float, duty: float, rate: float
) -> None:
    """At every boundary and basis, as an objective packs the facts of a system; and so the energy of a token."""
    points = power["psu_points"]
    facts = PowerFacts(
        power["accelerators"],
        1000.0,
        power["idle_w"],
        power["host_w"],
        power["reserved_system_w"],
        power["psu_rated_w"],
        tuple(power["psu_load"][:points]),
        tuple(power["psu_efficiency"][:points]),
        power["pue"],
        {"a vintage": 1500.0},
        min(0.07, power["pue"] - 1.0),
        473.6,
    )
    for boundary, basis, vintage in BASES:
        record = Objective("joules_per_token", boundary, basis, vintage)._power(facts)
        packed = np.array([record], dtype=POWER).view(np.recarray)
        replicas = working(packed, draw, group)
        placed = facts.placed(np.array([draw]), np.array([group]), boundary, basis, vintage)
        assert replicas == facts.at_work(np.array([draw]), np.array([group]))[0]
        if replicas == 0:
            assert np.isnan([placed.busy_w, placed.idle_w]).all()
            reach("one replica is too much")
            continue
        reach("the rack is the limit" if replicas < facts.placement(np.array([group]))[1][0] else "all work")
        busy_w, idle_w = (watts_around(packed, watts, group, replicas) for watts in (draw, power["idle_w"]))
        assert busy_w == pytest.approx((placed.busy_w / replicas)[0], rel=1e-12)
        assert idle_w == pytest.approx((placed.idle_w / replicas)[0], rel=1e-12)
        joules = (duty * busy_w + (1.0 - duty) * idle_w) / (duty * rate)
        assert joules == pytest.approx(joules_per_token(placed, np.array([rate / group]), duty)[0], rel=1e-12)
    reach("several systems" if group > power["accelerators"] else "several replicas")
