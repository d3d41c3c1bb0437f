"""PUE by load: linear between points, held at the ends, and refused where it is none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import roofline as rl
from roofline.rack.hall import Pue


def test_linear_between_points_and_held_at_the_ends() -> None:
    pue = Pue.of({1.0: 1.2, 0.2: 2.0, 0.6: 1.4})
    assert [pue.at(share) for share in (0.0, 0.2, 0.6, 1.0)] == [2.0, 2.0, 1.4, 1.2]
    assert pue.at(0.4) == pytest.approx(1.7)
    assert pue == Pue.of([(0.2, 2.0), (0.6, 1.4), (1.0, 1.2)])
    assert str(pue) == "0.2:2,0.6:1.4,1:1.2"
    assert Pue.of([point.split(":") for point in str(pue).split(",")]) == pue


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "give a number, or points of load and PUE"),
        ([1.3, 1.2], "give a number, or points of load and PUE"),
        ({0.5: 0.9}, r"pue\[0\.5\] = 0\.9: PUE is total over IT power, from 1 to 10"),
        ({0.5: 11}, "from 1 to 10"),
        ({1.5: 1.2}, r"load 1\.5: give each share of the load once, from 0 to 1"),
        ([(0.5, 1.2), (0.5, 1.3)], "once, from 0 to 1"),
        ({-0.1: 1.2}, r"load of pue = -0\.1"),
        ({0.5: np.nan}, r"pue\[0\.5\] = nan: give a finite number"),
        ({"half": 1.2}, "load of pue = 'half'"),
    ],
)
def test_what_is_no_pue_is_refused(given: Any, said: str) -> None:
    with pytest.raises(rl.InputError, match=said):
        Pue.of(given)
