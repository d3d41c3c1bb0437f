"""Objectives: which limit is missed by most, at which percentile, and what is refused."""

from __future__ import annotations

import math
from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import roofline
from roofline.errors import InputError
from roofline.serving import SLO, Violation

LIMIT = st.none() | st.floats(1e-6, 1e4)
SECONDS = st.floats(0.0, 1e5)
PERCENT = st.floats(0.1, 99.9)
SLOS = st.builds(
    SLO,
    LIMIT,
    LIMIT,
    LIMIT,
    PERCENT | st.tuples(PERCENT, PERCENT, PERCENT) | st.fixed_dictionaries({}, optional={"ttft": PERCENT}),
)


@given(SLOS, SECONDS, SECONDS, SECONDS)
def test_the_worst_violation_is_the_largest_factor(slo: SLO, ttft: float, tpot: float, latency: float) -> None:
    values = {"ttft": ttft, "tpot": tpot, "latency": latency}
    factors = {name: values[name] / limit for name, limit in slo.limits.items()}
    missed = {name: factor for name, factor in factors.items() if factor > 1.0}
    found = slo.violations(ttft, tpot, latency)
    if not missed:
        assert found is None
    else:
        assert found is not None
        assert found.factor == max(missed.values()) == missed[found.limit]


@given(SLOS, SECONDS, SECONDS, SECONDS, st.floats(1.0, 100.0))
def test_a_looser_objective_is_never_missed_by_more(
    slo: SLO, ttft: float, tpot: float, latency: float, looser: float
) -> None:
    wide = replace(slo, **{f"{name}_s": limit * looser for name, limit in slo.limits.items()})
    assert (wide.factors(ttft, tpot, latency) <= slo.factors(ttft, tpot, latency)).all()


@given(SLOS)
def test_objectives_survive_a_round_trip(slo: SLO) -> None:
    assert SLO(**asdict(slo)) == slo
    assert hash(SLO(**asdict(slo))) == hash(slo)


def test_no_limit_is_never_missed() -> None:
    assert SLO().limits == {}
    assert SLO(None, None, None) == SLO()
    assert SLO().violations(1e9, math.nan, 1e9) is None


def test_what_never_comes_meets_no_limit() -> None:
    assert SLO(tpot_s=0.1).violations(math.nan, math.nan, 1.0) == Violation("tpot", math.inf)
    assert SLO(ttft_s=1.0).violations(1.0, math.nan, math.nan) is None


def test_factors_are_of_whole_arrays() -> None:
    found = SLO(ttft_s=2.0, latency_s=10.0).factors(np.array([1.0, 4.0]), 0.1, np.array([[5.0], [np.nan]]))
    assert found.shape == (3, 2, 2)
    assert found[0].tolist() == [[0.5, 2.0], [0.5, 2.0]]
    assert not found[1].any()
    assert found[2].tolist() == [[0.5, 0.5], [math.inf, math.inf]]


def test_the_percentile_is_the_median_unless_said() -> None:
    assert [SLO(1.0).percentile_of(name) for name in ("ttft", "tpot", "latency")] == [50.0] * 3
    mixed = SLO(1.0, 0.1, percentile={"ttft": 99})
    assert [mixed.percentile_of(name) for name in ("ttft", "tpot", "latency")] == [99.0, 50.0, 50.0]
    assert SLO(1.0, percentile={"tpot": 50.0}).percentile == 50.0
    assert SLO(1.0, percentile=95).percentile_of("latency") == 95.0
    with pytest.raises(InputError, match="did you mean ttft"):
        mixed.percentile_of("tftt")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"ttft_s": 0.0}, r"ttft_s = 0\.0: give a number above 0"),
        ({"tpot_s": -1}, "tpot_s = -1"),
        ({"latency_s": math.nan}, "latency_s = nan"),
        ({"ttft_s": True}, "ttft_s = True"),
        ({"ttft_s": "fast"}, "ttft_s = 'fast'"),
        ({"percentile": 0}, "percentile = 0"),
        ({"percentile": 100}, "percentile = 100: .* below 100"),
        ({"percentile": math.nan}, "percentile = nan"),
        ({"percentile": (50, 99)}, "one number, or one each for ttft, tpot, latency"),
        ({"percentile": {"tpt": 99}}, "did you mean tpot"),
    ],
)
def test_what_is_no_objective_is_refused(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        SLO(**wrong)  # type: ignore[arg-type]


def test_times_are_never_negative() -> None:
    with pytest.raises(InputError, match="tpot = -1"):
        SLO(1.0).violations(1.0, -1.0, 1.0)


def test_the_public_name_is_this_one() -> None:
    assert roofline.SLO is SLO
