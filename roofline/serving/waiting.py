"""Waiting time of a single-server queue with general arrivals and services (GI/G/1), on a lattice of times.

With W the wait, S the service and A the time to the next arrival, W is the maximum of the random walk with steps
X = S - A. Its transform follows from the Wiener-Hopf factors of 1 - E[z^X], which the logarithm separates: the
coefficients of log(1 - E[z^X]) with positive index belong to W (Spitzer's identity; by FFT as in Ackroyd, "Computing
the waiting time distribution for the G/G/1 queue by signal processing methods", IEEE Trans. Commun. 28, 1980).
Equations (11)-(12) of docs/queueing.md.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Complexes = NDArray[np.complex128]

PADDING = 16
"""Length of the lattice over the reach of the waits: what is longer folds back onto it."""

TAIL = 0.5
"""Mean length of gaps beyond the reach, in units of the reach. Any gap that long empties the queue."""


def _log(z: Complexes) -> Complexes:
    """Principal logarithm; ten times faster than the complex one of numpy."""
    return np.asarray(0.5 * np.log(z.real**2 + z.imag**2) + 1j * np.arctan2(z.imag, z.real), dtype=np.complex128)


@lru_cache(maxsize=4)
def _backwards(size: int) -> tuple[Complexes, Complexes]:
    """1 - 1/z on the upper half of the unit circle, and its logarithm; 1 and 0 in place of its zero."""
    found = 1.0 - np.exp(2j * np.pi * np.arange(size // 2 + 1) / size)
    found[0] = 1.0
    return found, _log(found)


def arrival_weights(mean: float, cv: float, reach: int, size: int) -> Floats:
    """Probabilities of a gap of 0, 1, ... lattice steps: a negative binomial, the lattice's gamma. float64[size].

    mean : steps.   cv : coefficient of variation.   reach : gaps beyond it are only known to be longer.
    """
    weights = np.zeros(size)
    if cv * cv * mean <= 1.0001:  # no spread that the lattice could show
        whole = math.floor(mean)
        if whole + 1 < reach:
            weights[whole], weights[whole + 1] = 1.0 - (mean - whole), mean - whole
    else:
        shape = mean / (cv * cv * mean - 1.0)
        again = mean / (mean + shape)
        k = np.arange(reach - 1)
        logs = np.cumsum(np.log(again * (k + shape) / (k + 1.0)))
        weights[:reach] = np.exp(np.concatenate([[0.0], logs]) + shape * math.log1p(-again))
    beyond = max(0.0, 1.0 - float(weights.sum()))
    tail = np.exp(-np.arange(size - 5 * reach) / (TAIL * reach))
    weights[reach : reach + tail.size] = beyond * tail / tail.sum()
    return weights


class Wait:
    """Wait of a GI/G/1 queue with services `service_s` (equally likely) and gamma gaps of mean 1/rate.

    reach_s : longest time that matters [s]; waits longer than it must be negligible.   points : lattice steps to it.

    wait, service : transforms of W and S on the lattice.
    """

    def __init__(self, service_s: Floats, rate: float, cv: float, reach_s: float, points: int) -> None:
        self.points, self.size = points, points * PADDING
        self.step_s = reach_s / points
        k = np.arange(self.size, dtype=np.float64)
        service = self.spread(service_s)
        gap = arrival_weights(1.0 / rate / self.step_s, cv, points, self.size)
        mean_gap, mean_service = float(gap @ k), float(service @ k)
        self._drift = mean_gap - mean_service
        self._variance = float(gap @ (k * k)) - mean_gap**2 + float(service @ (k * k)) - mean_service**2
        self.service: Complexes = np.fft.rfft(service)
        self._stay: Complexes = 1.0 - self.service * np.conj(np.fft.rfft(gap))
        # Divide the zero at z = 1 out of 1 - E[z^X]; both logarithms keep to the right half-plane.
        self._stay[0] = self._drift
        logs = _log(self._stay) - _backwards(self.size)[1]
        positive = np.fft.irfft(logs, self.size)
        positive[0] = 0.0
        positive[self.size // 2 :] = 0.0
        exponent = np.fft.rfft(positive)
        self.wait: Complexes = np.exp(exponent[0] - exponent)

    def after(self) -> float:
        """Customers served behind a random one in its busy period, on the mean: sum over n of P(S_n > 0).

        That is the mass above 0 of the renewal measure of the walk, less its pole.
        """
        renewals = 1.0 / self._stay - 1.0 / (self._drift * _backwards(self.size)[0])
        renewals[0] = (self._variance + self._drift**2 - self._drift) / (2.0 * self._drift**2)
        return float(np.fft.irfft(renewals, self.size)[1 : self.size // 2].sum())

    def spread(self, times_s: Floats) -> Floats:
        """Equally likely times on the lattice, each between its two neighbours. float64[size]."""
        place = np.minimum(times_s / self.step_s, self.points - 2.0)
        low = place.astype(np.int64)
        share = (place - low) / times_s.size
        below = np.bincount(low, 1.0 / times_s.size - share, self.size)
        return np.asarray(below + np.bincount(low + 1, share, self.size), dtype=np.float64)

    def mean(self) -> float:
        """Mean wait [s]."""
        density = np.fft.irfft(self.wait, self.size)[: self.size // 2]
        return float(density @ np.arange(density.size)) * self.step_s

    def above(self, other: Complexes) -> Floats:
        """P(W + S + other > i steps) for i < points, `other` independent and given by its transform."""
        density = np.fft.irfft(self.wait * self.service * other, self.size)
        return np.maximum(1.0 - np.cumsum(density)[: self.points], 1e-12)
