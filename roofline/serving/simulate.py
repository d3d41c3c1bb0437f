"""Requests through one replica, simulated token by token: what the closed forms are checked against."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from roofline.errors import InputError
from roofline.kernels.simulate import replay
from roofline.serving.service import Closed, Open, Requests, Service, Trace, number, whole

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from roofline.serving.slo import SLO

    Floats = NDArray[np.float64]

BATCHES = 20
STUDENT_95 = 2.093
"""97.5 % point of Student's t with BATCHES - 1 degrees of freedom."""


@dataclass(frozen=True, eq=False)
class SimulationResult:
    """What happened to each request and to the replica. Arrays are in order of arrival, of all requests.

    arrival_s, admitted_s, first_token_s, end_s : float64[n]   times [s]; closed loop: arrival when it is sent.
    isl, osl : float64[n]   tokens.   measured : the slice of requests left by warm-up and cool-down.
    busy_share : of the time in steps.   mixed_share : of the time in steps with a prompt chunk.
    prefill_share : share r of the steps that hold a prompt chunk.   steps : in the measured window.
    """

    arrival_s: Floats
    admitted_s: Floats
    first_token_s: Floats
    end_s: Floats
    isl: Floats
    osl: Floats
    measured: slice
    busy_share: float
    mixed_share: float
    prefill_share: float
    steps: int

    @property
    def ttft_s(self) -> Floats:
        """Arrival to first token [s], float64[n]."""
        return np.asarray(self.first_token_s - self.arrival_s, dtype=np.float64)

    @property
    def latency_s(self) -> Floats:
        """Arrival to last token [s], float64[n]."""
        return np.asarray(self.end_s - self.arrival_s, dtype=np.float64)

    @property
    def tpot_s(self) -> Floats:
        """(end - first token)/(OSL - 1) [s], float64[n]; NaN where OSL is 1."""
        more = self.osl - 1.0
        tokens = np.where(more > 0.0, more, np.nan)
        return np.asarray((self.end_s - self.first_token_s) / tokens, dtype=np.float64)

    @property
    def window_s(self) -> float:
        """Time from the arrival of the first measured request to that of the first one after the measured [s]."""
        last = min(self.measured.stop, self.arrival_s.size - 1)
        return float(self.arrival_s[last] - self.arrival_s[self.measured.start])

    @property
    def request_rate(self) -> float:
        """Measured requests a second."""
        return self._per_second(np.ones(self.osl.size))

    @property
    def output_tokens_per_s(self) -> float:
        """Output tokens of measured requests a second."""
        return self._per_second(self.osl)

    @property
    def batch(self) -> float:
        """Mean number of decoding sequences, by Little's law over the measured requests."""
        return self._per_second(self.end_s - self.first_token_s)

    @property
    def in_system(self) -> float:
        """Mean number of requests between arrival and last token."""
        return self._per_second(self.latency_s)

    def goodput(self, slo: SLO) -> float:
        """Output tokens a second of the measured requests that meet all limits; OSL 1 has no TPOT to miss."""
        return self._per_second(np.where(self.meets(slo), self.osl, 0.0))

    def meets(self, slo: SLO) -> NDArray[np.bool_]:
        """Which requests meet all limits, bool[n]; the percentile of the SLO is of no account."""
        in_time = (self.ttft_s <= slo.ttft_s) & (self.latency_s <= slo.latency_s)
        return np.asarray(in_time & ~(self.tpot_s > slo.tpot_s), dtype=np.bool_)

    def percentile(self, field: str, percent: float) -> float:
        """A percentile of ttft_s, tpot_s or latency_s of the measured requests [s]."""
        return float(np.nanpercentile(self._field(field), number("percent", percent, least=0.0)))

    def mean(self, field: str) -> float:
        """Mean of ttft_s, tpot_s or latency_s of the measured requests [s]."""
        return float(np.nanmean(self._field(field)))

    def half_width(self, field: str, statistic: Callable[[Floats], float] = np.nanmean) -> float:
        """Half of the 95 % confidence interval of a statistic, by means of 20 batches in order of arrival."""
        parts = np.array_split(self._field(field), BATCHES)
        if parts[-1].size == 0:
            raise InputError(f"count: {self.osl.size} requests are too few for {BATCHES} batches; simulate more")
        values = np.array([statistic(part) for part in parts])
        return float(STUDENT_95 * values.std(ddof=1) / np.sqrt(BATCHES))

    def _field(self, field: str) -> Floats:
        if field not in ("ttft_s", "tpot_s", "latency_s"):
            raise InputError(f"field {field!r}: one of ttft_s, tpot_s, latency_s")
        values: Floats = getattr(self, field)[self.measured]
        return values

    def _per_second(self, amounts: Floats) -> float:
        window = self.window_s
        return float(amounts[self.measured].sum() / window) if window > 0.0 else float("nan")


def simulate(
    service: Service,
    requests: Requests | Trace,
    arrivals: Open | Closed | None = None,
    *,
    count: int = 100_000,
    seed: int = 0,
    warm_up: float = 0.1,
    cool_down: float = 0.05,
) -> SimulationResult:
    """Continuous batching with chunked prefill, first come first served, step by step.

    service : one replica.   requests : lengths to draw from, with `arrivals` Open or Closed; or a Trace by itself.
    count : requests to draw.   seed : the same seed gives the same result, bit for bit.
    warm_up, cool_down : shares of the requests, at the start and at the end, that are simulated and not measured.

    A request takes a slot when one is free; its prompt is computed chunk by chunk, one chunk a step, beside all
    decoding sequences; the last chunk gives its first token, and every further step gives `tokens_per_step`.
    Raises InputError naming field and value.
    """
    if isinstance(requests, Trace):
        if arrivals is not None:
            raise InputError("arrivals: a trace has its own; leave it out")
        isl, osl, count = requests.isl, requests.osl, requests.isl.size
    elif arrivals is None:
        raise InputError("arrivals: give Open(rate, cv) or Closed(clients)")
    else:
        count = whole("count", count)
    for field, share in (("warm_up", warm_up), ("cool_down", cool_down)):
        number(field, share, least=0.0)
    if warm_up + cool_down >= 1.0:
        raise InputError(f"warm_up + cool_down = {warm_up + cool_down:g}: nothing is left to measure; give less than 1")
    generator = np.random.default_rng(whole("seed", seed, least=0))
    times, clients = np.zeros((4, count)), 0
    if isinstance(requests, Trace):
        times[0] = requests.arrival_s
        cached = requests.cached
    else:
        isl, osl = requests.draw(count, generator)
        cached = requests.cached
        if isinstance(arrivals, Open):
            times[0] = arrivals.draw(count, generator)
        elif isinstance(arrivals, Closed):
            clients = arrivals.clients
    start = min(int(warm_up * count), count - 1)
    stop = max(start + 1, count - int(cool_down * count))
    totals = np.zeros(6)
    replay(
        service.decode_s,
        service.mixed_s,
        float(service.chunk),
        service.ttft_constant_s,
        service.tokens_per_step,
        clients,
        np.array([start, min(stop, count - 1)]),
        np.maximum(isl - cached, 1.0),
        osl,
        times,
        np.zeros((2, service.slots), dtype=np.int64),
        totals,
    )
    window_s, busy_s, mixed_s, steps, mixed = totals[1] - totals[0], *totals[2:]
    return SimulationResult(
        arrival_s=times[0],
        admitted_s=times[1],
        first_token_s=times[2],
        end_s=times[3],
        isl=isl,
        osl=osl,
        measured=slice(start, stop),
        busy_share=busy_s / window_s if window_s > 0.0 else np.nan,
        mixed_share=mixed_s / window_s if window_s > 0.0 else np.nan,
        prefill_share=mixed / steps if steps > 0.0 else np.nan,
        steps=int(steps),
    )
