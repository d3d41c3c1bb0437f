"""Loads of a day: 24 shares however they are given, and refused where they are none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import roofline as rl
from roofline.rack.day import SHAPES, SOURCE, hours_of


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_shapes_are_days_that_reach_all_a_site_can_serve(name: str) -> None:
    hours = hours_of(name)
    assert len(hours) == 24
    assert max(hours) == 1.0
    assert min(hours) >= 0.1 or name == "flat"
    assert rl.Workload.of("1k/1k", load=hours).hours == hours
    assert SOURCE.grade == "estimated"


def test_peaks_come_when_their_names_say() -> None:
    day, evening, office, night = (hours_of(name) for name in ("day", "evening", "office", "night"))
    assert day[14] == day[15] == 1.0
    assert min(day) == pytest.approx(day[2])
    assert evening[19] == evening[20] == 1.0
    assert office[12] == 1.0 > office[3]
    assert night[3] == 1.0 > night[12]


@given(st.lists(st.floats(0.0, 1.0), min_size=24, max_size=24).filter(any))
def test_shares_come_back_as_given(shares: list[float]) -> None:
    assert hours_of(shares) == tuple(shares)


def test_one_share_and_files(tmp_path: Path) -> None:
    assert hours_of(0.4) == (0.4,) * 24
    path = tmp_path / "day.csv"
    path.write_text("hour,load\n" + "".join(f"{hour},{hour / 23}\n" for hour in range(24)))
    assert hours_of(path) == hours_of(str(path)) == tuple(hour / 23 for hour in range(24))


@pytest.mark.parametrize(
    ("load", "said"),
    [
        ([1.0] * 23, "has 23 shares; give 24"),
        ([0.5] * 23 + [1.5], r"load\[23\] = 1.5: give a share from 0 to 1"),
        ([0.5] * 23 + [-0.5], r"load\[23\] = -0.5"),
        (["a"] * 24, r"load\[0\] = 'a'"),
        ([0.0] * 24, "is 0 in every hour"),
        (0.0, "is 0 in every hour"),
        (2.0, "give a share from 0 to 1"),
        ("dai", "no shape named 'dai'; did you mean day"),
        ("no/such.csv", "no such file"),
    ],
)
def test_what_is_no_load_is_refused(load: Any, said: str) -> None:
    with pytest.raises(rl.InputError, match=said):
        hours_of(load)


def test_a_file_is_refused_by_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "day.csv"
    path.write_text("hour,load\n" + "".join(f"{hour},{2.0 if hour == 5 else 0.5}\n" for hour in range(24)))
    with pytest.raises(rl.InputError, match=r"day\.csv:7: load = 2\.0: give a share from 0 to 1"):
        hours_of(path)
    path.write_text("hour,share\n1,1\n")
    with pytest.raises(rl.InputError, match=r"day\.csv:1: no column load"):
        hours_of(path)
    path.write_text("load\n1\n")
    with pytest.raises(rl.InputError, match="has 1 shares; give 24"):
        hours_of(path)
