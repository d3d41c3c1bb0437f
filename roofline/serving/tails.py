"""Distributions of TTFT and TPOT: their percentiles and what stays below a limit. Equations (18)-(20)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_ERF = np.vectorize(math.erf, otypes=[np.float64])


class Tail(NamedTuple):
    """P(TTFT less its constant > i step_s) for i < points, and an exponential beyond."""

    step_s: float
    above: Floats
    beyond_s: float

    def quantile(self, share: float) -> float:
        """TTFT less its constant that this share of the requests stays below [s]."""
        left = 1.0 - share
        if self.above[-1] >= left:
            return self.step_s * self.above.size + self.beyond_s * math.log(self.above[-1] / left)
        i = int(np.argmax(self.above < left))
        before = self.above[i - 1] if i else 1.0
        return float(self.step_s * (i - 0.5 + (before - left) / (before - self.above[i])))

    def below(self, time_s: float) -> float:
        """Share of the requests below `time_s`."""
        if time_s <= 0.0:
            return 0.0
        place = time_s / self.step_s + 0.5
        if place < self.above.size:
            return 1.0 - float(np.interp(place, np.arange(self.above.size + 1), [1.0, *self.above]))
        return 1.0 - float(self.above[-1]) * math.exp(-(place - self.above.size) * self.step_s / self.beyond_s)


class StepTimes(NamedTuple):
    """TPOT of equally likely requests: lognormal each, none above its `most_s`. Arrays float64[points]."""

    log_mean: Floats
    log_sd: Floats
    osl: Floats
    most_s: Floats

    def below(self, time_s: float) -> Floats:
        """Probability that each request is below `time_s`, float64[points]."""
        z = (math.log(max(time_s, 1e-300)) - self.log_mean) / self.log_sd
        return np.where(time_s >= self.most_s, 1.0, 0.5 * (1.0 + _ERF(z / math.sqrt(2.0))))

    def quantile(self, share: float) -> float:
        """TPOT that this share of the requests stays below [s]."""
        low, high = float(np.exp(self.log_mean - 8.0 * self.log_sd).min()), float(self.most_s.max())
        for _ in range(60):
            middle = math.sqrt(low * high)
            if float(self.below(middle).mean()) < share:
                low = middle
            else:
                high = middle
        return high

    def near_most(self, time_s: float) -> bool:
        """Whether `time_s` is near the slowest TPOT, where many requests are when the replica is full."""
        return bool(abs(time_s / float(self.most_s.max()) - 1.0) < 0.05)

    def tokens_below(self, time_s: float) -> float:
        """Share of the output tokens that belong to requests below `time_s`."""
        return float((self.osl * self.below(time_s)).sum() / self.osl.sum())


def with_slots(step_s: float, above: Floats, probability: float, wait_s: float) -> Floats:
    """P(TTFT > i steps) where a share of the requests waits an exponential time first: equation (18)."""
    density = -np.diff(above, prepend=1.0)
    size = 2 * above.size
    decay = np.exp(-np.arange(above.size) * step_s / wait_s)
    later = np.fft.irfft(np.fft.rfft(density, size) * np.fft.rfft(decay, size), size)[: above.size]
    mixed = (1.0 - probability) * above + probability * np.minimum(above + later, 1.0)
    return np.asarray(np.minimum.accumulate(np.maximum(mixed, 1e-12)), dtype=np.float64)
