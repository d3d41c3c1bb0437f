"""Sobol indices against what elasticities and spreads say of them where spreads are small."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import roofline as rl
from roofline.insight.sensitivity import sensitivity
from roofline.insight.sobol import sobol
from roofline.insight.spreads import spread_of
from roofline.insight.subjects import subject

WHERE = ("llama-3.1-70b", "dgx-h100", "fp8")
PASS: dict[str, Any] = {"of": "decode", "tp": 8, "batch": 64, "context": 4096}


def test_indices_are_shares_of_the_variance() -> None:
    ds = sobol(*WHERE, **PASS, figure="tpot", samples=512, spread=0.1)
    held = subject("decode", *WHERE, {key: value for key, value in PASS.items() if key != "of"})
    slopes = sensitivity(*WHERE, **PASS)["elasticity"].sel(figure="tpot")
    parts = {
        one.path: (float(slopes.sel(parameter=one.path)) * spread_of(one, 0.1)) ** 2 for one in held.numbers.parameters
    }
    whole = sum(parts.values())
    for path in ds["parameter"].values:
        one = ds.sel(parameter=path)
        for index in ("total", "first_order"):  # within three standard errors, as it says of itself, and a hundredth
            error = 3.0 * float(one[f"{index}_error"]) / 1.96 + 0.01
            assert float(one[index]) == pytest.approx(parts[path] / whole, abs=error), (path, index)
            assert error < 0.25
    assert (np.diff(ds["total"]) <= 0.0).all()
    assert float(ds["total"].sum()) == pytest.approx(1.0, abs=0.1)
    assert "facility.pue" not in ds["parameter"].values  # it may be off, and moves no time
    assert 5 < ds.sizes["parameter"] < 40


def test_the_same_seed_gives_the_same_indices() -> None:
    first, again, other = (sobol(*WHERE, **PASS, samples=8, seed=seed) for seed in (3, 3, 4))
    assert first.identical(again)
    assert not first["total"].equals(other["total"])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"samples": 100}, "samples = 100: give a power of two"),
        ({"samples": "8"}, "samples = '8'"),
        ({"samples": 8.5}, "samples = 8.5"),
        ({"seed": -1}, "seed: -1"),
        ({"figure": "tpott"}, "tpott"),
        ({"spread": 0}, "nothing may be off"),
        ({"spread": {"published": 0.0, "measured": 0.0}, "figure": "tpot", "fidelity": "ideal"}, "does not depend"),
    ],
)
def test_bad_input(options: dict[str, Any], said: str) -> None:
    with pytest.raises(rl.InputError, match=said):
        sobol(*WHERE, **(PASS | options))


def test_without_the_library_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    for name in ("SALib.analyze", "SALib.sample"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(rl.InputError, match=r"roofline\[sensitivity\]"):
        sobol(*WHERE, **PASS)
