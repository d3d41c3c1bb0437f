"""A replica and its requests as the closed forms see them: moments, step times, the largest rate, a closed loop.

Equations (2)-(8) of docs/queueing.md, with the percentiles (21)-(25) that steps.py counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from roofline.serving.service import Requests, Service, whole
from roofline.serving.steps import Steps, shares, whole_steps

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from roofline.serving.steps import Round

    Floats = NDArray[np.float64]

NAN = float("nan")
STEPS_PER_CHUNK = 10.0
SLOTS = 32
NEAR, JUMP = 1.1, 1.25
"""A percentile is in doubt where others of `NEAR` times as many, or as few, requests are `JUMP` times apart."""

BY_TIME = 0.1
"""Share of the time in steps with a chunk, less their share of the steps, above which the constant is in doubt."""

NO_SPREAD = "between two numbers of clients: has means alone"


class Figure(NamedTuple):
    """A value and, where no comparison with the simulator covers it, why not."""

    value: float
    reason: str = ""

    @property
    def validated(self) -> bool:
        """Whether the tables of docs/queueing.md cover this value."""
        return not self.reason


@dataclass(frozen=True, eq=False)
class Replica:
    """Step times and moments of the requests of one replica: what all closed forms start from."""

    service: Service
    requests: Requests

    @cached_property
    def counted(self) -> Steps:
        """The requests counted in steps, without times."""
        isl, osl = self.requests.points()
        fills = np.sort(self.requests.to_compute(isl)) / self.service.chunk
        return Steps(fills, np.sort(osl), self.service.tokens_per_step)

    @property
    def fills(self) -> Floats:
        """Prompt tokens over chunk, w, of equally likely prompts, ascending. float64[points]."""
        return self.counted.fills

    @property
    def chunks(self) -> Floats:
        """Steps of a prompt, ceil(w). float64[points]."""
        return self.counted.chunks

    @property
    def osl(self) -> Floats:
        """Output tokens of equally likely requests, ascending. float64[points]."""
        return self.counted.osl

    @property
    def steps(self) -> Floats:
        """Decode steps of a request, ceil((OSL - 1)/tau). float64[points]."""
        return self.counted.steps

    @property
    def mean_fill(self) -> float:
        """Mean of w."""
        return self.counted.mean_fill

    @property
    def mean_chunks(self) -> float:
        """Mean number of steps of a prompt."""
        return self.counted.mean_chunks

    @property
    def mean_steps(self) -> float:
        """Mean number of decode steps."""
        return self.counted.mean_steps

    @property
    def chunks_cv2(self) -> float:
        """Squared coefficient of variation of the steps of a prompt."""
        return self.counted.chunks_cv2

    @property
    def steps_cv2(self) -> float:
        """Squared coefficient of variation of the decode steps."""
        return self.counted.steps_cv2

    @property
    def few_steps(self) -> str:
        """Why percentiles of so few decode steps a prompt chunk were not compared with the simulator, or nothing."""
        per_chunk = float(self.steps.mean()) / self.mean_chunks
        if per_chunk >= STEPS_PER_CHUNK:
            return ""
        return f"{per_chunk:.3g} decode steps a prompt chunk, fewer than {STEPS_PER_CHUNK:g}"

    @cached_property
    def _batches(self) -> Floats:
        return np.arange(self.service.slots + 1.0)

    @cached_property
    def _added_s(self) -> Floats:
        return self.service.mixed_s - self.service.decode_s

    def decode_s(self, batch: float | Floats) -> Floats:
        """Step without a chunk [s], linear between whole batches."""
        return np.asarray(np.interp(batch, self._batches, self.service.decode_s), dtype=np.float64)

    def chunk_s(self, batch: float | Floats) -> Floats:
        """What a full chunk adds to a step [s]."""
        return np.asarray(np.interp(batch, self._batches, self._added_s), dtype=np.float64)

    def prompt_s(self, batch: float) -> Floats:
        """Time to compute each prompt beside `batch` decoding sequences [s], float64[points]: equation (2)."""
        return self.chunks * self.decode_s(batch) + self.fills * self.chunk_s(batch)

    def mean_step_s(self, batch: float | Floats, rate: float) -> Floats:
        """Mean step with `rate` prompts a second beside `batch` sequences [s]: equation (3)."""
        idle = 1.0 - rate * self.mean_fill * self.chunk_s(batch)
        return np.asarray(self.decode_s(batch) / np.maximum(idle, 1e-3), dtype=np.float64)

    def rate_at(self, batch: float) -> float:
        """Requests a second that keep `batch` sequences decoding: equation (4)."""
        steps, fill = self.mean_steps, self.mean_fill
        return float(batch / (steps * self.decode_s(batch) + batch * fill * self.chunk_s(batch)))

    def most_decoding(self) -> float:
        """Mean number of decoding sequences when requests always wait for a slot: equation (5)."""
        return float(self.counted.round(self.service.slots).batch[-1])


class Capacity(NamedTuple):
    """The largest rate a replica sustains."""

    rate: float  # requests/s
    batch: float  # sequences decoding at that rate
    prefill_share: float  # share r of steps that hold a prompt chunk
    bound: str  # prefill (r = 1) or slots


def capacity(service: Service, requests: Requests) -> Capacity:
    """Largest rate of requests that one replica sustains, equation (5): the load is 1 there."""
    replica = Replica(service, requests)
    batch = replica.most_decoding()
    share = batch * replica.mean_chunks / replica.mean_steps
    return Capacity(replica.rate_at(batch), batch, share, "prefill" if share > 0.99 else "slots")


class _Spread(NamedTuple):
    """What the percentiles of a closed loop need beside its means."""

    counted: Steps
    round: Round
    sequences: int  # in the replica or away for the constant
    outside: float  # steps of the constant
    slot: float  # steps of the wait for a slot
    constant_s: float  # with the rest of the step that runs at an arrival
    waiting_s: tuple[float, float]  # a step, and what a full chunk adds, while a request waits
    decoding_s: tuple[float, float]  # the same while it decodes
    doubt: str
    ttft_doubt: str

    def ttft_s(self, at: Floats) -> list[float]:
        """TTFT that shares `at` of the requests stay below [s]; the constant makes them come within steps."""
        n = np.array([self.sequences])
        steps, fills = self.counted.waits_at(self.round, n, np.clip(at, 1e-6, None), self.slot, self.outside)
        counted = steps if self.outside > 0.0 else whole_steps(steps)
        found: list[float] = (counted * self.waiting_s[0] + fills * self.waiting_s[1])[:, 0].tolist()
        return [self.constant_s + value for value in found]


@dataclass(frozen=True)
class ClosedLoop:
    """Means of a closed loop; `reason` says why they are outside what was checked, empty where they are not."""

    ttft_s: float
    tpot_s: float  # mean over requests; NaN where every OSL is 1
    request_rate: float
    output_tokens_per_s: float
    batch: float  # decoding sequences
    prefill_share: float
    reason: str = ""
    _spread: _Spread | None = None  # None where the means lie between those of two loops

    @property
    def validated(self) -> bool:
        """Whether a comparison with the simulator covers this case."""
        return not self.reason

    def ttft_percentile(self, percent: float) -> Figure:
        """TTFT that `percent` of the requests stay below [s]: equations (22), (23)."""
        left, spread = 1.0 - float(shares([percent])[0]), self._spread
        if spread is None:
            return Figure(NAN, self.reason or NO_SPREAD)
        low, value, high = spread.ttft_s(1.0 - np.array([NEAR * left, left, left / NEAR]))
        doubt = self.reason or spread.doubt or spread.ttft_doubt
        if not doubt and high > JUMP * low:
            doubt = f"TTFT jumps there, from {low:.3g} to {high:.3g} s"
        return Figure(value, doubt)

    def tpot_percentile(self, percent: float) -> Figure:
        """TPOT that `percent` of the requests stay below [s]: equations (24), (25)."""
        at, spread = shares([percent]), self._spread
        if spread is None or not spread.counted.steps_per_token:
            return Figure(NAN, self.reason or (NO_SPREAD if spread is None else "no request has a second token"))
        fills = float(spread.counted.fills_at(spread.round, np.array([spread.sequences]), at)[0, 0])
        step_s, chunk_s = spread.decoding_s
        return Figure(spread.counted.steps_per_token * (step_s + fills * chunk_s), self.reason or spread.doubt)


def closed_loop(service: Service, requests: Requests, clients: int) -> ClosedLoop:
    """TTFT, TPOT and throughput of `clients` that send when their last request ends: equations (6)-(8), (21)-(25)."""
    clients = whole("clients", clients)
    replica = Replica(service, requests)
    counted, constant, slots = replica.counted, service.ttft_constant_s, service.slots
    full = capacity(service, requests)
    if clients >= slots + full.rate * constant:
        inside, outside = slots, 0.0
        found = counted.round(slots)
        batch = full.batch
    else:
        inside, step = clients, float(replica.decode_s(min(clients, slots)))
        for _ in range(50):
            outside = constant / step
            found = counted.round(inside, outside=outside)
            batch = float(found.batch[-1]) * replica.mean_steps / (replica.mean_steps + outside)
            step = float(replica.mean_step_s(batch, replica.rate_at(batch)))
    rate = replica.rate_at(batch)
    decoding = 1.0 + outside / replica.mean_steps  # with those away, over those that decode
    others = float(found.batch[-2]) / decoding  # that decode, seen by one
    beside_prompt = min(others, batch)
    waiting_s = float(replica.decode_s(beside_prompt)), float(replica.chunk_s(beside_prompt))
    decoding_s = float(replica.decode_s(others + 1.0)), float(replica.chunk_s(others + 1.0))
    share, seen = float(found.share[-1]), float(found.share[-2])
    mixed_s = waiting_s[0] + counted.fill * waiting_s[1]
    busy = share * mixed_s / (share * mixed_s + (1.0 - share) * waiting_s[0])  # of the time
    between_steps_s = ((1.0 - busy) * waiting_s[0] + (busy - share) * mixed_s) / 2.0 if constant > 0.0 else 0.0
    slot_s = (clients - inside - rate * constant) / rate if inside == slots and clients > inside else 0.0
    step_s = decoding_s[0] + seen * counted.fill * decoding_s[1]
    lengths_vary = replica.steps_cv2 > 0.0 or replica.chunks_cv2 > 0.0
    return ClosedLoop(
        ttft_s=constant + slot_s + between_steps_s + float(found.sojourn[-1]) * mixed_s,
        tpot_s=counted.steps_per_token * step_s if counted.steps_per_token else NAN,
        request_rate=rate,
        output_tokens_per_s=rate * float(replica.osl.mean()),
        batch=rate * replica.mean_steps * step_s,
        prefill_share=share,
        reason="" if lengths_vary else "fixed lengths: clients keep apart and wait less than these means say",
        _spread=_Spread(
            counted,
            found,
            inside,
            outside,
            slot_s / (waiting_s[0] + share * counted.fill * waiting_s[1]),
            constant + between_steps_s,
            waiting_s,
            decoding_s,
            replica.few_steps,
            _ttft_doubt(counted, slots, clients, busy - share if constant > 0.0 else 0.0),
        ),
    )


def _ttft_doubt(counted: Steps, slots: int, clients: int, by_time: float) -> str:
    """Why percentiles of TTFT are not stood by, or nothing."""
    if counted.steps_cv2 == 0.0:
        return "outputs of one length: clients that start together stay together"
    if clients > slots and slots < SLOTS:
        return f"waits for one of {slots} slots, fewer than {SLOTS}"
    if by_time > BY_TIME:
        return "requests come by time, so more often into the long steps with a chunk than these counts say"
    return ""
