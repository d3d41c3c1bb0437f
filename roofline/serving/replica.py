"""A replica and its requests as the closed forms see them: moments, step times, the largest rate, a closed loop.

Equations (2)-(8) of docs/queueing.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from roofline.serving.service import Requests, Service, whole

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

LEAST_STEPS = 1e-9
"""Stands for no decode steps (every OSL is 1), so that the batch is 0 and not 0/0."""


class Population(NamedTuple):
    """n sequences that go round between the prompt queue and decoding; counted in steps, equation (6)."""

    in_prompt: float  # mean number waiting for or in their prompt
    share: float  # of steps with a chunk
    seen_in_prompt: float  # what a sequence finds when it arrives somewhere: the same of n - 1 sequences
    seen_share: float


@dataclass(frozen=True, eq=False)
class Replica:
    """Step times and moments of the requests of one replica: what all closed forms start from."""

    service: Service
    requests: Requests

    @cached_property
    def fills(self) -> Floats:
        """Prompt tokens over chunk, w, of equally likely prompts. float64[points]."""
        return self.requests.to_compute(self.requests.points()[0]) / self.service.chunk

    @cached_property
    def chunks(self) -> Floats:
        """Steps of a prompt, ceil(w). float64[points]."""
        return np.asarray(np.ceil(self.fills), dtype=np.float64)

    @cached_property
    def osl(self) -> Floats:
        """Output tokens of equally likely requests. float64[points]."""
        return self.requests.points()[1]

    @cached_property
    def steps(self) -> Floats:
        """Decode steps of a request, ceil((OSL - 1)/tau). float64[points]."""
        return np.asarray(np.ceil((self.osl - 1.0) / self.service.tokens_per_step - 1e-9), dtype=np.float64)

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
    def chunks_cv2(self) -> float:
        """Squared coefficient of variation of the steps of a prompt."""
        return float(self.chunks.var()) / self.mean_chunks**2

    @cached_property
    def steps_cv2(self) -> float:
        """Squared coefficient of variation of the decode steps."""
        return float(self.steps.var()) / self.mean_steps**2

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
        slots = self.service.slots
        return min(slots - self.population(slots).in_prompt, self.mean_steps / self.mean_chunks)

    def population(self, sequences: int, outside: float = 0.0) -> Population:
        """Mean-value analysis of `sequences` between one prompt queue and decoding, in steps: equation (6).

        outside : further steps that a sequence spends elsewhere.
        The prompt server has the residual-service correction for its variability (Reiser, IEEE Trans. Commun. 27,
        1979); decoding is a delay.
        """
        chunks, residual = self.mean_chunks, self.mean_chunks * (1.0 + self.chunks_cv2) / 2.0
        queue, share = 0.0, 0.0
        seen = (0.0, 0.0)
        for n in range(1, sequences + 1):
            seen = (queue, share)
            time = chunks * (1.0 + queue - share) + share * residual
            rate = n / (self.mean_steps + outside + time)
            queue, share = rate * time, min(1.0, rate * chunks)
        return Population(queue, share, *seen)


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

    @property
    def validated(self) -> bool:
        """Whether a comparison with the simulator covers this case."""
        return not self.reason


def closed_loop(service: Service, requests: Requests, clients: int) -> ClosedLoop:
    """Mean TTFT, TPOT and throughput of `clients` that send when their last request ends: equations (6)-(8)."""
    clients = whole("clients", clients)
    replica = Replica(service, requests)
    constant, slots = service.ttft_constant_s, service.slots
    full = capacity(service, requests)
    if clients >= slots + full.rate * constant:
        inside, outside = slots, 0.0
        found = replica.population(slots)
        batch = full.batch
    else:
        inside, step = clients, float(replica.decode_s(min(clients, slots)))
        for _ in range(50):
            outside = constant / step
            found = replica.population(inside, outside)
            batch = (inside - found.in_prompt) * replica.mean_steps / (replica.mean_steps + outside)
            batch = min(batch, replica.mean_steps / replica.mean_chunks)
            step = float(replica.mean_step_s(batch, replica.rate_at(batch)))
    rate = replica.rate_at(batch)
    partial = replica.mean_fill / replica.mean_chunks
    others = (inside - 1 - found.seen_in_prompt) / (1.0 + outside / replica.mean_steps)  # that decode, seen by one
    beside_prompt = min(others, batch)
    chunk_step_s = float(replica.decode_s(beside_prompt) + partial * replica.chunk_s(beside_prompt))
    in_prompt = inside - batch * (1.0 + outside / replica.mean_steps)
    queue_s = in_prompt * replica.mean_steps / batch * chunk_step_s
    share = batch * replica.mean_chunks / replica.mean_steps
    between_steps_s = (1.0 - share) * float(replica.decode_s(batch)) / 2.0 if constant > 0.0 else 0.0
    slot_s = (clients - inside - rate * constant) / rate if inside == slots and clients > inside else 0.0
    step_s = float(replica.decode_s(others + 1.0) + found.seen_share * partial * replica.chunk_s(others + 1.0))
    more = replica.osl > 1.0
    per_token = replica.steps[more] / (replica.osl[more] - 1.0)
    lengths_vary = replica.steps_cv2 > 0.0 or replica.chunks_cv2 > 0.0
    return ClosedLoop(
        ttft_s=constant + slot_s + between_steps_s + queue_s,
        tpot_s=float((per_token * step_s).mean()) if more.any() else float("nan"),
        request_rate=rate,
        output_tokens_per_s=rate * float(replica.osl.mean()),
        batch=rate * replica.mean_steps * step_s,
        prefill_share=share,
        reason="" if lengths_vary else "fixed lengths: clients keep apart and wait less than these means say",
    )
