"""Requests that arrive at one replica by themselves: TTFT, TPOT and goodput in closed form.

Equations (9)-(20) of docs/queueing.md, with what they are grounded in and their errors against the simulator.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from roofline.errors import InputError
from roofline.serving.replica import NAN, SLOTS, Figure, Replica, capacity
from roofline.serving.service import Open, Requests, Service, number
from roofline.serving.steps import LEAST_STEPS, shares
from roofline.serving.tails import StepTimes, Tail, with_slots
from roofline.serving.waiting import Wait

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from roofline.serving.replica import Capacity
    from roofline.serving.slo import SLO

    Floats = NDArray[np.float64]
    Complexes = NDArray[np.complex128]

LOADS = (0.1, 0.85)
CVS = (0.5, 2.0)
SPREAD_LOAD = 0.7
"""Above it, where prefill is the bound, TPOT lies between steps with and without a chunk and is not lognormal."""

ZONE = (0.4, 6.0)
"""A percentile is in doubt where P(slot wait) is between ZONE[0] (1 - p) and ZONE[1] (1 - p): its wait is just setting
in there, and a small error of its probability is a large one of its length."""

LEAST_SPREAD = 0.05
"""Least variability: clocked arrivals of equal requests still find a replica in different states."""

COARSE, FINE = 512, 2048
NODES = ((-math.sqrt(3.0), 1 / 6), (0.0, 2 / 3), (math.sqrt(3.0), 1 / 6))
"""Three-point Gauss-Hermite rule: (standard deviations, weight)."""


@dataclass(frozen=True, eq=False)
class OpenLoop:
    """Requests at a rate, in closed form. All NaN where the load is 1 or more; `reason` says so.

    load : rate over the largest rate (5).   batch : mean decoding sequences.   prefill_utilisation : share of time with
    a prompt in work.   slot_wait_probability : that an arrival finds all slots taken.   ttft_s, tpot_s : means [s].
    reason : why the figures are outside what was compared with the simulator; empty where they are not.
    """

    load: float
    rate: float
    batch: float
    prefill_utilisation: float
    slot_wait_probability: float
    ttft_s: float
    tpot_s: float
    output_tokens_per_s: float
    reason: str
    tpot_reason: str  # the same of the spread of TPOT alone
    constant_s: float
    _ttft: Tail | None
    _tpot: StepTimes | None

    @property
    def validated(self) -> bool:
        """Whether a comparison with the simulator covers the means."""
        return not self.reason

    def ttft_percentile(self, percent: float) -> Figure:
        """TTFT that `percent` of the requests stay below [s]."""
        share = float(shares([percent])[0])
        if self._ttft is None:
            return Figure(NAN, self.reason)
        return Figure(self.constant_s + self._ttft.quantile(share), self.reason or self._doubt(share))

    def tpot_percentile(self, percent: float) -> Figure:
        """TPOT that `percent` of the requests stay below [s]."""
        share = float(shares([percent])[0])
        if self._tpot is None:
            return Figure(NAN, self.reason if self._ttft is None else "no request has a second token")
        return Figure(self._tpot.quantile(share), self.reason or self.tpot_reason)

    def goodput(self, slo: SLO) -> Figure:
        """Output tokens a second of requests that meet both limits, equation (19): TTFT and TPOT independent.

        Raises InputError for a limit on latency, which has no closed form.
        """
        _no_latency(slo)
        if self._ttft is None:
            return Figure(NAN, self.reason)
        in_time = 1.0 if slo.ttft_s == np.inf else self._ttft.below(slo.ttft_s - self.constant_s)
        doubt = "" if in_time >= 1.0 else self._doubt(in_time)
        tokens = 1.0
        if self._tpot is not None:
            tokens = self._tpot.tokens_below(slo.tpot_s)
            if tokens < 1.0 and not doubt:
                doubt = self.tpot_reason
            if self.slot_wait_probability > 0.0 and self._tpot.near_most(slo.tpot_s) and not doubt:
                doubt = f"tpot_s = {slo.tpot_s:.3g} is about the TPOT of a full replica, where many requests are"
        return Figure(self.output_tokens_per_s * in_time * tokens, self.reason or doubt)

    def _doubt(self, share: float) -> str:
        left = 1.0 - share
        if ZONE[0] * left < self.slot_wait_probability < ZONE[1] * left:
            return f"{self.slot_wait_probability:.2g} of requests wait for a slot, {left:.2g} are asked about"
        return ""


def _no_latency(slo: SLO) -> None:
    if slo.latency_s < np.inf:
        raise InputError(f"latency_s = {slo.latency_s:g}: has no closed form; limit ttft_s and tpot_s, or simulate")


class _Running(NamedTuple):
    """The fixed point of the running batch."""

    batch: float
    seen: float  # sequences that a decoding one finds, itself included
    wait: Wait
    prompt_s: float
    utilisation: float
    step_s: Floats  # mean step that requests of each number of steps meet


def _reach(prompt_s: Floats, rate: float, cv: float) -> float:
    """Beyond this time the wait for the prompt server is negligible [s]: twelve heavy-traffic means (Kingman)."""
    mean = float(prompt_s.mean())
    cv2 = float(prompt_s.var()) / mean**2
    return max(12.0 * mean * ((cv * cv + cv2) / 2.0 / (1.0 - rate * mean) + 0.3), 2.5 * float(prompt_s.max()))


def _stable(prompt_s: Floats, rate: float, most: float = 0.98) -> Floats:
    """Prompt times, shrunk where they would fill the server: the batch cannot stay where that is so."""
    return prompt_s * min(1.0, most / (rate * float(prompt_s.mean())))


def _numbers(replica: Replica, rate: float, variability: float) -> tuple[Floats, Floats]:
    """Numbers of sequences in decoding or behind it, and their probabilities: equation (9)."""
    n = np.arange(0.0, 6.0 * replica.service.slots + 1.0)
    running = np.minimum(n, replica.service.slots)[1:]
    steps = replica.mean_steps
    inflow = np.minimum(rate * steps * replica.mean_step_s(running, rate), steps / replica.mean_chunks)
    logs = np.concatenate([[0.0], np.cumsum(np.log(inflow / running) / variability)])
    weights = np.exp(logs - logs.max())
    return n, weights / weights.sum()


def _running(replica: Replica, rate: float, cv: float, peakedness: float, most: float) -> _Running:
    """Mean batch and step times: equations (10)-(13)."""
    n, p = _numbers(replica, rate, peakedness)
    slots, chunks, fill = replica.service.slots, replica.mean_chunks, replica.mean_fill
    batch = min(float(p @ np.minimum(n, slots)), most)
    steps = np.maximum(replica.steps, LEAST_STEPS)
    for _ in range(8):
        prompts = _stable(replica.prompt_s(batch), rate, 0.97)
        wait = Wait(prompts, rate, cv, _reach(prompts, rate, cv), COARSE)
        start, after = batch, wait.after()
        for _ in range(100):
            seen = min(batch + peakedness, float(slots))
            decode_s, chunk_s = float(replica.decode_s(seen)), float(replica.chunk_s(seen))
            share = min(1.0, rate * chunks * float(replica.mean_step_s(seen, rate)))
            behind = (1.0 - share) * chunks * (after - share * (after + (1.0 + replica.chunks_cv2) / 2.0))
            memory = chunks * (1.0 + after)
            shares = np.clip(share + behind / steps * -np.expm1(-steps / memory), 0.0, 1.0)
            step_s = decode_s + fill / chunks * chunk_s * shares
            new = min(rate * float((replica.steps * step_s).mean()), most)
            moved, batch = abs(new - batch), (new + batch) / 2.0
            if moved < 1e-9 * (batch + 1.0):
                break
        if abs(batch - start) < 1e-4 * batch:
            break
    mean = float(prompts.mean())
    return _Running(batch, seen, wait, mean, rate * mean, step_s)


def _ttft_above(
    replica: Replica, rate: float, cv: float, now: _Running, spread: float, most: float
) -> tuple[float, Floats]:
    """Lattice step and P(TTFT > i steps), without constant and slots: equations (14)-(16)."""

    def above(batch: float, reach_s: float) -> tuple[float, Floats]:
        wait = Wait(_stable(replica.prompt_s(batch), rate), rate, cv, reach_s, FINE)
        parts = np.arange(0.5, 16.0) / 16.0 * float(replica.decode_s(batch))
        empty = math.exp(-now.batch)  # nothing decodes: a step starts at once
        between_steps = np.fft.rfft(wait.spread(parts)) * (1.0 - empty) + empty
        return wait.step_s, wait.above(between_steps)

    full = max(most, now.batch)
    reach_s = _reach(_stable(replica.prompt_s(now.batch), rate, 0.97), rate, cv)
    patience_s = (1.0 - now.utilisation) * replica.mean_steps * float(replica.decode_s(full) + replica.chunk_s(full))
    filled = _filled(reach_s / patience_s)
    if filled > 0.02:
        reach_s = max(reach_s, _reach(_stable(replica.prompt_s(full), rate), rate, cv))
    result: Floats = np.zeros(FINE)
    for deviations, weight in NODES:
        batch = min(max(now.batch + deviations * spread, 0.0), full)
        step_s, found = above(batch, reach_s)
        result = result + weight * found
    if filled > 0.02:
        later = _filled(np.arange(1.0, FINE + 1.0) * step_s / patience_s)
        result = result ** (1.0 - later) * above(full, reach_s)[1] ** later
    return step_s, np.minimum.accumulate(result)


def _filled(age: Floats | float) -> Floats:
    """Mean over a build-up of how far the batch has come to its largest, 1 - (1 - e^-y)/y."""
    y = np.maximum(np.asarray(age, dtype=np.float64), 1e-9)
    return np.asarray(1.0 + np.expm1(-y) / y, dtype=np.float64)


def _step_times(replica: Replica, rate: float, cv: float, now: _Running, variance: float, most: float) -> StepTimes:
    """TPOT of each request: equation (13) for its mean, (20) for its spread."""
    more = replica.steps > 0.0
    steps, osl = replica.steps[more], replica.osl[more]
    mean = now.step_s[more]
    width = 1e-3 * max(now.batch, 1.0)
    slope = float(replica.mean_step_s(now.seen + width, rate) - replica.mean_step_s(now.seen - width, rate))
    slope /= 2.0 * width
    age = 2.0 * steps / replica.mean_steps
    kept = 2.0 * (age + np.expm1(-age)) / age**2
    added = replica.mean_fill * float(replica.chunk_s(now.batch))
    louder = 1.0 / max(1.0 - rate * added, 0.05)
    prompts_cv2 = float(replica.fills.var()) / replica.mean_fill**2
    spread = slope**2 * variance * kept + rate * mean / steps * (added * louder) ** 2 * (cv * cv + prompts_cv2)
    log_sd = np.maximum(np.sqrt(np.log1p(spread / mean**2)), 1e-6)
    ratio = steps / (osl - 1.0)
    full = float(replica.mean_step_s(most, replica.rate_at(most)))
    return StepTimes(np.log(mean * ratio) - log_sd**2 / 2.0, log_sd, osl, np.maximum(full, mean) * ratio)


def _slot_wait(replica: Replica, rate: float, cv: float, now: _Running, n: Floats, p: Floats) -> tuple[float, float]:
    """Probability of a wait for a slot, and the mean of those waits [s]: equation (17)."""
    slots, cv2 = replica.service.slots, cv * cv
    in_prompt = rate * (now.prompt_s + now.wait.mean())
    taken = slots - in_prompt - (cv2 - 1.0) / 2.0
    probability = min(max(1.0 - float(np.interp(taken - 1.0, n, np.cumsum(p))), 0.0), 1.0)
    most = replica.rate_at(slots)
    decay = -math.expm1(math.log(min(rate / most, 0.9999)) / max((cv2 + replica.steps_cv2) / 2.0, LEAST_SPREAD))
    return probability, 1.0 / (decay * most)


def open_loop(service: Service, requests: Requests, arrivals: Open) -> OpenLoop:
    """TTFT, TPOT and goodput of requests that arrive as `arrivals`, in closed form: equations (9)-(20).

    Figures outside loads of 0.1-0.85, arrival cv of 0.5-2, 32 slots or more and 10 decode steps a prompt chunk carry a
    reason. A load of 1 or more has no steady state: NaN, with the reason.
    """
    replica, rate, cv = Replica(service, requests), arrivals.rate, arrivals.cv
    limit = capacity(service, requests)
    load = rate / limit.rate
    constant = service.ttft_constant_s
    if load >= 1.0:
        reason = f"unstable: {rate:g} requests/s at {limit.rate:g} at most (bound: {limit.bound})"
        return OpenLoop(load, rate, NAN, NAN, NAN, NAN, NAN, NAN, reason, "", constant, None, None)
    memory, cv2 = replica.counted.memory, cv * cv
    peakedness = max(1.0 + (cv2 - 1.0) * memory, LEAST_SPREAD)
    now = _running(replica, rate, cv, peakedness, limit.batch)
    mixing = 1.0 - float(replica.decode_s(now.batch)) / float(now.step_s.mean())
    variability = max(1.0 - memory + memory * cv2 * (1.0 + mixing) ** 2, LEAST_SPREAD)
    n, p = _numbers(replica, rate, variability)
    running = np.minimum(n, service.slots)
    variance = float(p @ running**2 - (p @ running) ** 2)
    step_s, above = _ttft_above(replica, rate, cv, now, math.sqrt(variance), limit.batch)

    waits, slot_s = _slot_wait(replica, rate, cv, now, n, p)
    if waits > 1e-6:
        above_all = with_slots(step_s, above, waits, slot_s)
    else:
        waits, above_all = 0.0, above
    more = replica.osl > 1.0
    ratio = replica.steps[more] / (replica.osl[more] - 1.0)
    return OpenLoop(
        load=load,
        rate=rate,
        batch=now.batch,
        prefill_utilisation=now.utilisation,
        slot_wait_probability=waits,
        ttft_s=constant + float(above.sum()) * step_s + waits * slot_s,
        tpot_s=float((ratio * now.step_s[more]).mean()) if more.any() else NAN,
        output_tokens_per_s=rate * float(replica.osl.mean()),
        reason=_outside(replica, load, cv),
        tpot_reason=_spread(limit, load),
        constant_s=constant,
        _ttft=Tail(step_s, above_all, max(slot_s if waits > 0.0 else 0.0, step_s)),
        _tpot=_step_times(replica, rate, cv, now, variance, limit.batch) if more.any() else None,
    )


def _outside(replica: Replica, load: float, cv: float) -> str:
    """What of the case lies outside what the tables of docs/queueing.md cover, or nothing."""
    reasons = []
    if not LOADS[0] <= round(load, 9) <= LOADS[1]:
        reasons.append(f"load {load:.3g} outside {LOADS[0]:g} to {LOADS[1]:g}")
    if not CVS[0] <= cv <= CVS[1]:
        reasons.append(f"arrival cv {cv:.3g} outside {CVS[0]:g} to {CVS[1]:g}")
    if replica.service.slots < SLOTS:
        reasons.append(f"{replica.service.slots} slots, fewer than {SLOTS}")
    if replica.few_steps:
        reasons.append(replica.few_steps)
    return "; ".join(reasons)


def _spread(limit: Capacity, load: float) -> str:
    if limit.bound == "prefill" and load > SPREAD_LOAD:
        return f"load {load:.3g} above {SPREAD_LOAD:g} and bound by prefill: TPOT is not lognormal"
    return ""


class Breaking(NamedTuple):
    """Where an SLO breaks. NaN where it holds at no load; `reason` as in `OpenLoop`, of the figure that binds."""

    rate: float
    load: float
    binds: str  # ttft, tpot, or capacity where it never breaks
    reason: str = ""


def breaking_rate(service: Service, requests: Requests, slo: SLO, *, cv: float = 1.0, least: float = 1e-3) -> Breaking:
    """Largest rate at which TTFT and TPOT, each at its percentile of the SLO, keep their limits; to 1e-4 of the load.

    cv : of the arrivals.   least : load below which no answer is looked for.
    Raises InputError naming field and value.
    """
    limit: Capacity = capacity(service, requests)
    number("least", least, above=0.0)
    _no_latency(slo)

    def broken(load: float) -> tuple[str, str]:
        found = open_loop(service, requests, Open(load * limit.rate, cv))
        asked = {"ttft": (found.ttft_percentile, slo.ttft_s), "tpot": (found.tpot_percentile, slo.tpot_s)}
        for name, (percentile, most) in asked.items():
            figure = percentile(slo.percentile_of(name))
            if figure.value > most:
                return name, figure.reason
        return "", found.reason

    low, high = least, 0.999
    binds, reason = broken(low)
    if binds:
        return Breaking(NAN, NAN, binds, f"the {binds} limit is broken at load {least:g} already")
    binds, reason = broken(high)
    if not binds:
        return Breaking(limit.rate, 1.0, "capacity", reason)
    while high - low > 1e-4:
        middle = (low + high) / 2.0
        name, why = broken(middle)
        if name:
            high, binds, reason = middle, name, why
        else:
            low = middle
    return Breaking(low * limit.rate, low, binds, reason)
