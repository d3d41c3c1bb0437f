"""Continuous batching counted in steps: what a request waits for and decodes beside, before steps have times.

Equations (6) and (21)-(25) of docs/queueing.md. The sequences of one attention rank go round between its prompt server
and decoding; how many steps each part takes does not depend on what a step costs, so that one table serves all
hardware. Times come in where a waited step is multiplied by decode_s and a waited chunk by what a full chunk adds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache
from statistics import NormalDist
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from roofline.errors import InputError
from roofline.kernels import population
from roofline.serving.lengths import Pairs
from roofline.serving.service import Lognormal, Requests, number, whole

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    from roofline.serving.lengths import Marginal
    from roofline.serving.workload import Workload

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

LEAST_STEPS = 1e-9
"""Stands for no decode steps (every OSL is 1), so that the batch is 0 and not 0/0."""

LEVELS = np.array([0, 0.01, 0.04, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.96, 0.99, 1])
"""Shares between which a few requests stand for all: fine where percentiles are asked."""

CELLS, CELLS_A_MEAN = 128, 16
"""Grid of the renewals of one client: up to 8 mean times, in sixteenths."""

MOST_SEQUENCES = 4
"""Sequences that are looked at, over the decoding ones that are asked for."""

NODES = 10
"""Batches at which percentiles are computed: so many evenly, twice as many close to 1, and as many to the largest."""

TABLED, EXACT = 2e-3, 1e-10
"""Relative errors of percentiles, in a table and of a single one."""

LARGEST = 1e9
"""Requests of a batch whose longest is asked for."""


def shares(percentiles: Sequence[float]) -> Floats:
    """Percentiles as shares of 1, float64[p]. Raises InputError for one that is not above 0 and below 100."""
    found = np.array([number("percent", percent, above=0.0) for percent in percentiles]) / 100.0
    if (found >= 1.0).any():
        raise InputError(f"percent = {100.0 * found.max():g}: give less than 100")
    return found


class Few(NamedTuple):
    """A few values that stand for equally likely ones, and their weights. float64[m] each."""

    values: Floats
    weights: Floats

    @classmethod
    def of(cls, ordered: Floats) -> Few:
        """The middle of each interval of `LEVELS` of values in ascending order; equal ones are one."""
        middle = ordered[((LEVELS[1:] + LEVELS[:-1]) / 2.0 * ordered.size).astype(np.int64)]
        values, first = np.unique(middle, return_index=True)
        return cls(values, np.diff(LEVELS[np.append(first, LEVELS.size - 1)]))


class Round(NamedTuple):
    """Sequences that go round, by their number. float64[most+1] each, from none on: equation (6)."""

    sojourn: Floats  # steps from arrival to the end of the own prompt, R
    share: Floats  # of steps with a chunk, r
    response: Floats  # how much of what varies in the arrivals shows in that share, psi of (24)
    batch: Floats  # decoding, n - Q


@dataclass(frozen=True, eq=False)
class Steps:
    """Requests counted in steps.

    fills : float64[a]   prompt tokens to compute over tokens of a chunk, equally likely, ascending.
    osl : float64[b]   output tokens, equally likely, ascending.   tokens_per_step : tau.
    """

    fills: Floats
    osl: Floats
    tokens_per_step: float = 1.0

    @cached_property
    def chunks(self) -> Floats:
        """Steps of a prompt, ceil(w). float64[a]."""
        return np.asarray(np.ceil(self.fills), dtype=np.float64)

    @cached_property
    def steps(self) -> Floats:
        """Decode steps of a request, ceil((OSL - 1)/tau). float64[b]."""
        return decode_steps(self.osl, self.tokens_per_step)

    @cached_property
    def mean_fill(self) -> float:
        """Mean of w."""
        return float(self.fills.mean())

    @cached_property
    def mean_chunks(self) -> float:
        """Mean number of steps of a prompt."""
        return float(self.chunks.mean())

    @cached_property
    def mean_steps(self) -> float:
        """Mean number of decode steps."""
        return max(float(self.steps.mean()), LEAST_STEPS)

    @cached_property
    def fill(self) -> float:
        """How full a chunk is on the mean, phi = w'/k'."""
        return self.mean_fill / self.mean_chunks

    @cached_property
    def fill_cv2(self) -> float:
        """Squared coefficient of variation of the prompt tokens to compute."""
        return float(self.fills.var()) / self.mean_fill**2

    @cached_property
    def chunks_cv2(self) -> float:
        """Squared coefficient of variation of the steps of a prompt."""
        return float(self.chunks.var()) / self.mean_chunks**2

    @cached_property
    def steps_cv2(self) -> float:
        """Squared coefficient of variation of the decode steps."""
        return float(self.steps.var()) / self.mean_steps**2

    @cached_property
    def steps_per_token(self) -> float:
        """Mean of s/(OSL - 1) over the requests of more than one token, 0 where there are none."""
        more = self.osl > 1.0
        return float((self.steps[more] / (self.osl[more] - 1.0)).mean()) if more.any() else 0.0

    @cached_property
    def memory(self) -> float:
        """m of (10): share of the variance of arrivals that the number in decoding keeps."""
        above = 1.0 - np.arange(self.steps.size) / self.steps.size
        return float((np.diff(self.steps, prepend=0.0) * above**2).sum() / self.mean_steps)

    @cached_property
    def spread(self) -> float:
        """z of (21): variance over mean of the number in decoding when prompts never pause."""
        return min(1.0 + (self.chunks_cv2 - 1.0) * self.memory, (1.0 + self.chunks_cv2) / 2.0)

    @cached_property
    def _renewals(self) -> Floats:
        found = np.empty(CELLS)
        population.dispersion(self.steps, self.mean_steps / CELLS_A_MEAN, found)
        return found

    def round(self, most: int, until: float = math.inf, outside: float = 0.0) -> Round:
        """0 to `most` sequences, or up to the first number of which `until` decode; `outside`: further steps away."""
        found = np.empty((3, most + 1))
        away, residual = self.mean_steps + outside, self.mean_chunks * (1.0 + self.chunks_cv2) / 2.0
        last = population.rounds(away, self.mean_chunks, residual, self.spread, until, found)
        sojourn, share, response = found[:, : last + 1]
        return Round(sojourn, share, response, np.arange(last + 1.0) * away / (away + sojourn))

    def waits_at(
        self, round: Round, sequences: Ints, at: Floats, slot: float = 0.0, outside: float = 0.0, within: float = EXACT
    ) -> tuple[Floats, Floats]:
        """Quantiles of the steps to the first token, and of the full chunks in them: equations (22) and (23).

        sequences : int64[j]   numbers n >= 1.   at : float64[p]   shares below 1.   slot : mean steps that an arrival
        waits before it is one of them.   Two float64[p, j]; steps are whole once `whole_steps` has rounded them.
        """
        waits = self._waits(round, sequences, slot, outside)
        fills = waits * np.array([[1.0], [self.fill], [self.fill**2], [0.0], [0.0]])
        fills[3] = slot * self.fill * round.share[sequences]
        fills[4] = fills[3] * (self.mean_fill * self.fill_cv2)  # one prompt for each that leaves a slot
        found = []
        for own, law in ((self.chunks, waits), (self.fills, fills)):
            quantiles = np.empty((at.size, sequences.size))
            population.wait_quantiles(own, *Few.of(own), law, at, within, quantiles)
            found.append(quantiles)
        return found[0], found[1]

    def _waits(self, round: Round, sequences: Ints, slot: float, outside: float) -> Floats:
        """P(wait > 0), its mean and variance where it is not 0, mean and variance of the wait for a slot: (22)."""
        chunks, cv2 = self.mean_chunks, self.chunks_cv2
        second, third = chunks**2 * (1.0 + cv2), float((self.chunks**3).mean())
        residual = second / (2.0 * chunks)
        residual_variance = third / (3.0 * chunks) - residual**2
        busy = round.share[sequences - 1]
        alone = busy <= 0.0
        wait = np.where(alone, residual, (round.sojourn[sequences] - chunks) / np.where(alone, 1.0, busy))
        wait = np.maximum(wait, residual / 2.0)
        many = np.maximum(wait**2 + wait * (residual_variance / residual - residual), 1e-3 * wait**2)
        room = (self.mean_steps + outside) / chunks
        few = chunks**2 * (room * self.spread + np.maximum(sequences - 1.0 - room, 0.0) * cv2) + residual_variance
        found = np.zeros((5, sequences.size))
        found[:3] = busy, wait, many * few / (many + few)
        if slot > 0.0:
            each = (self.mean_steps + outside + round.sojourn[sequences]) / sequences  # steps between departures
            free = round.response[sequences - 1]
            scatter = (1.0 - free) * cv2 + free * self._scatter(np.array([slot]))
            found[3], found[4] = slot, slot * each * np.maximum(scatter, 1e-3)
        return found

    def _scatter(self, steps: Floats) -> Floats:
        """Variance over mean of the arrivals that one client makes in windows of `steps`: I of (24)."""
        cells = np.arange(CELLS) * (self.mean_steps / CELLS_A_MEAN)
        return np.asarray(np.interp(steps, cells, self._renewals), dtype=np.float64)

    def fills_at(self, round: Round, sequences: Ints, at: Floats, within: float = EXACT) -> Floats:
        """Quantiles over the requests of the full chunks a decode step that each sees: equations (24), (25).

        sequences : int64[j]   numbers n >= 1.   at : float64[p]   shares below 1.   float64[p, j].
        """
        few = Few.of(self.steps[self.steps > 0.0])
        unlike = float((self.fills - self.fill * self.chunks).var())
        own = float(self.fills.var())
        share, free = round.share[sequences - 1], round.response[sequences - 1]
        arrivals = own - unlike + self.mean_fill**2 * self._scatter(few.values)
        each = unlike + free[:, None] * np.maximum(arrivals, 0.0)
        mean = share * self.fill
        variances = (share / self.mean_chunks)[:, None] * each / few.values
        found = np.empty((at.size, sequences.size))
        most = mean * (1.0 - mean)  # of what lies between 0 and 1
        population.fill_quantiles(mean, np.minimum(variances, most[:, None]), few.weights, at, within, found)
        return found


def decode_steps(osl: Floats, tokens_per_step: float) -> Floats:
    """Decode steps of requests of so many output tokens, ceil((OSL - 1)/tau). float64[n]."""
    return np.asarray(np.ceil((osl - 1.0) / tokens_per_step - 1e-9), dtype=np.float64)


def whole_steps(steps: Floats) -> Floats:
    """Steps of (23) as they are counted: what arrives within a step is seen at its end, so that a wait is rounded."""
    return np.asarray(np.ceil(steps - 0.5), dtype=np.float64)


@dataclass(frozen=True, eq=False)
class StepTable:
    """What a closed loop does in steps, over the whole number b of decoding sequences of one attention rank.

    Arrays over b are float64[most+1]; index 0 and every b that no number of sequences keeps decoding are NaN. Names in
    `_at` are mappings from each percentile that was asked for to such an array (`osl_at`: to a number).

    n : least sequences of which b decode on the mean.   share_seen : of the steps that a decoding sequence sees, those
    with a chunk.   wait_steps : steps of a request from arrival to first token.   wait_steps_at : the same at a
    percentile, whole.   wait_fills_at : full chunks computed in them.   share_seen_at : share_seen at a percentile of
    the requests, in chunks as full as the mean one (so that it may exceed 1).
    steps : mean decode steps s'.   chunks : mean steps of a prompt k'.   fill : w' = mean prompt tokens over chunk.
    fill_cv2 : squared cv of the prompt tokens to compute.   kappa : mean of s/(OSL - 1), 0 where every OSL is 1.
    osl : mean.   lengths_vary : False where no request differs from another in steps.
    """

    n: Floats
    share_seen: Floats
    wait_steps: Floats
    wait_steps_at: Mapping[float, Floats]
    wait_fills_at: Mapping[float, Floats]
    share_seen_at: Mapping[float, Floats]
    steps: float
    chunks: float
    fill: float
    fill_cv2: float
    kappa: float
    osl: float
    osl_at: Mapping[float, float]
    lengths_vary: bool
    tokens_per_step: float
    _osl: Lognormal | Floats

    def longest_steps(self, batch: ArrayLike) -> Floats:
        """Decode steps of the longest of B requests: of the quantile B/(B + 1) of OSL. Shape of `batch`, >= 1."""
        many = np.clip(np.asarray(batch, dtype=np.float64), 1.0, LARGEST)
        if isinstance(self._osl, Lognormal):
            found = self._osl.of_normal(np.interp(np.log(many), *_longest_deviates()))
        else:
            found = np.quantile(self._osl, many / (many + 1.0))
        return decode_steps(found, self.tokens_per_step)


@lru_cache(maxsize=1)
def _longest_deviates() -> tuple[Floats, Floats]:
    """log B and the standard normal deviate of B/(B + 1)."""
    logs = np.linspace(0.0, math.log(LARGEST), 256)
    return logs, np.array([-NormalDist().inv_cdf(1.0 / (math.exp(x) + 1.0)) for x in logs])


@lru_cache(maxsize=16)
def _points(isl: Pairs | Marginal, osl: Marginal | None) -> tuple[Floats, Floats]:
    found = Requests(isl.isl, isl.osl) if isinstance(isl, Pairs) else Requests(isl, osl)  # type: ignore[arg-type]
    return tuple(np.sort(points) for points in found.points())  # type: ignore[return-value]


def step_table(
    workload: Workload, chunk: int, tokens_per_step: float, most: int, percentiles: Sequence[float]
) -> StepTable:
    """Tables over 0..`most` decoding sequences of one attention rank, by continuous batching in chunks of `chunk`.

    tokens_per_step : tau >= 1.   percentiles : above 0 and below 100 [%].
    At most `MOST_SEQUENCES`*most sequences are looked at. Raises InputError naming field and value.
    """
    most, chunk = whole("most", most), whole("chunk", chunk)
    asked = sorted({float(percent) for percent in percentiles})
    at = shares(asked)
    isl, osl = _points(workload.isl, workload.osl)  # type: ignore[arg-type]
    tau = number("tokens_per_step", tokens_per_step, least=1.0)
    found = Steps(np.sort(workload.computed(isl)) / chunk, osl, tau)
    b = np.arange(most + 1.0)
    means, quantiles = np.full((3, most + 1), np.nan), np.full((3, at.size, most + 1), np.nan)
    reach = found.mean_steps / found.mean_chunks
    round = found.round(MOST_SEQUENCES * most, until=float(most))
    n = np.searchsorted(np.maximum.accumulate(round.batch), b * (1.0 - 1e-9))
    last = int(np.searchsorted(n, round.batch.size)) - 1  # the most that decode
    if last > 0:
        n = n[: last + 1]
        means[:, 1 : last + 1] = n[1:], round.share[n[1:] - 1], round.sojourn[n[1:]]
        nodes = _nodes(last, reach)
        waits = found.waits_at(round, n[nodes], at, within=TABLED)
        seen = found.fills_at(round, n[nodes], at, TABLED) / found.fill
        for row, value in enumerate((*waits, seen)):
            for i in range(at.size):
                quantiles[row, i, 1 : last + 1] = np.interp(b[1 : last + 1], nodes, value[i])
        quantiles[0] = whole_steps(quantiles[0])
        held = quantiles[:, :, 1 : last + 1]
        held[:2] = np.maximum.accumulate(held[:2], axis=2)
        held[:] = np.maximum.accumulate(held, axis=1)  # errors of `TABLED` may cross
    return StepTable(
        n=means[0],
        share_seen=means[1],
        wait_steps=means[2],
        wait_steps_at=dict(zip(asked, quantiles[0], strict=True)),
        wait_fills_at=dict(zip(asked, quantiles[1], strict=True)),
        share_seen_at=dict(zip(asked, quantiles[2], strict=True)),
        steps=found.mean_steps if found.steps.any() else 0.0,
        chunks=found.mean_chunks,
        fill=found.mean_fill,
        fill_cv2=found.fill_cv2,
        kappa=found.steps_per_token,
        osl=float(osl.mean()),
        osl_at=dict(zip(asked, np.quantile(osl, at).tolist(), strict=True)),
        lengths_vary=found.steps_cv2 > 0.0 or found.chunks_cv2 > 0.0,
        tokens_per_step=tau,
        _osl=workload.osl if isinstance(workload.osl, Lognormal) else osl,
    )


def _nodes(last: int, reach: float) -> Ints:
    """Batches from 1 to `last` at which percentiles are computed; evenly, closer to 1, and closer towards `reach`."""
    even = np.linspace(1.0, last, NODES)
    low = np.geomspace(1.0, last, 2 * NODES)
    room = reach - last + 1.0
    high = last + room - np.geomspace(room, room + last - 1.0, 2 * NODES)
    found: Ints = np.unique(np.clip(np.rint(np.concatenate([even, low, high])), 1, last).astype(np.int64))
    return found
