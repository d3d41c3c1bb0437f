"""The GI/G/1 queue on a lattice against textbook results and against Lindley's recursion."""

from __future__ import annotations

import math

import numpy as np
import pytest

from roofline.serving.waiting import PADDING, Wait, arrival_weights

POINTS = 4096
QUANTILES = (np.arange(4000) + 0.5) / 4000
EXPONENTIAL = -np.log1p(-QUANTILES)
EXPONENTIAL /= EXPONENTIAL.mean()
EXACT = {"exponential": (EXPONENTIAL, 1.0), "fixed": (np.ones(1), 0.0), "two": (np.array([0.2, 1.8]), 0.64)}


def test_gaps_have_their_mean_and_spread() -> None:
    k = np.arange(POINTS * PADDING)
    for mean, cv in ((40.0, 0.5), (200.0, 1.0), (100.0, 2.0), (40.3, 0.0)):
        weights = arrival_weights(mean, cv, POINTS, POINTS * PADDING)
        assert weights.sum() == pytest.approx(1.0)
        assert weights @ k == pytest.approx(mean, rel=1e-3)
        variance = weights @ (k - mean) ** 2
        assert math.sqrt(variance) / mean == pytest.approx(cv, rel=1e-2, abs=0.02)
    long = arrival_weights(1e6, 1.0, POINTS, POINTS * PADDING)  # beyond the lattice: still a gap longer than its reach
    assert long.sum() == pytest.approx(1.0)
    assert long[:POINTS].sum() == pytest.approx(1.0 - math.exp(-POINTS / 1e6), rel=1e-2)


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("load", [0.05, 0.3, 0.7, 0.9])
def test_poisson_arrivals_are_pollaczek_khinchine(name: str, load: float) -> None:
    service, cv2 = EXACT[name]
    wait = Wait(service, load, 1.0, max(15 * (1 + cv2) / (1 - load), 12.0), POINTS)
    mean = load / (1 - load) * (1 + float(service.var())) / 2
    assert wait.mean() == pytest.approx(mean, rel=0.01)
    behind = (load + load**2 * (1 + float(service.var())) / (2 * (1 - load))) / (1 - load)
    assert wait.after() == pytest.approx(behind, rel=0.02)


def test_mm1_waits_are_exponential() -> None:
    wait = Wait(EXPONENTIAL, 0.8, 1.0, 80.0, POINTS)
    above = wait.above(np.ones(wait.wait.size))
    t = np.arange(POINTS) * wait.step_s
    inside = (t > 0.5) & (t < 25)  # time in the system of M/M/1
    np.testing.assert_allclose(above[inside], np.exp(-0.2 * t[inside]), rtol=0.02)


@pytest.mark.parametrize("cv", [0.5, 2.0])
def test_gamma_arrivals_and_exponential_service(cv: float) -> None:
    """GI/M/1: W exceeds t with probability sigma*exp(-(1 - sigma) t), sigma the root of the transform of the gaps."""
    load, shape, sigma = 0.7, 1 / cv**2, 0.5
    for _ in range(500):
        sigma = (1 + (1 - sigma) / (load * shape)) ** -shape
    wait = Wait(EXPONENTIAL, load, cv, 20.0 / (1 - sigma), POINTS)
    assert wait.mean() == pytest.approx(sigma / (1 - sigma), rel=0.01)


def test_lindleys_recursion() -> None:
    generator = np.random.default_rng(0)
    service = np.exp(0.8 * generator.standard_normal(2000) - 0.32)
    n, load, cv = 400_000, 0.6, 1.5
    drawn = generator.choice(service, n)
    gaps = generator.gamma(1 / cv**2, cv**2 * service.mean() / load, n)
    walk = np.concatenate([[0.0], np.cumsum(drawn - gaps)])
    waits = walk - np.minimum.accumulate(walk)
    wait = Wait(service, load / float(service.mean()), cv, 80.0, POINTS)
    assert wait.mean() == pytest.approx(waits.mean(), rel=0.04)
    above = wait.above(np.ones(wait.wait.size))
    total = waits[:-1] + drawn
    for share in (0.5, 0.1, 0.01):
        t = float(np.quantile(total, 1 - share))
        assert above[int(t / wait.step_s)] == pytest.approx(share, rel=0.08)
