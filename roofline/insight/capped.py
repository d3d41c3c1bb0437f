"""A held deployment whose accelerators run under a cap of watts, each phase at the fastest clock that meets it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from roofline.insight.clock import Clock, Phase, Work, fastest
from roofline.insight.held import Held, Pool
from roofline.insight.replica import Replica, draw_w
from roofline.layout import KIT, PART

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from roofline.insight.parameters import Varied

    Floats = NDArray[np.float64]

DECODE, PROMPT = "decode", "prompt"
PHASES = {
    DECODE: "a step that only decodes",
    PROMPT: "a step with a chunk of a prompt beside it, or a batch of prompts",
}
"""What runs at a clock of its own."""

_PARTS = tuple(name for name in KIT.names or () if KIT[name] == PART)


def clocked(varied: Varied, side: int, clock: Floats) -> Varied:
    """The records with the peaks of arithmetic of one side times a clock, float64[n]; memory and links stay."""
    kits = list(varied.kits)
    kits[side] = kits[side].copy()
    for name in _PARTS:
        kits[side][name]["flop_per_s"] *= clock
    return replace(varied, kits=tuple(kits))


@dataclass(frozen=True)
class Capped(Held):
    """A held deployment under caps: `figures` of as many variants as there are caps.

    caps_w : of every accelerator, of both pools alike [W], float64[n].   phases : what `figures` found, by name.
    """

    clock: Clock = field(default_factory=Clock)
    caps_w: Floats = field(default_factory=lambda: np.array([np.inf]))
    phases: dict[str, Phase] = field(default_factory=dict)

    @classmethod
    def of(cls, held: Held, caps_w: Floats, clock: Clock) -> Capped:
        """A held deployment under caps."""
        return cls(held.model, held.chosen, held.asked, held.objective, held.numbers, clock=clock, caps_w=caps_w)

    def capped(self) -> dict[str, Floats]:
        """Figures under every cap, float64[n] by name; NaN where a phase cannot meet it."""
        found = self.figures(self.numbers.base(self.caps_w.size))
        runs = ~np.any([np.isnan(phase.clock) for phase in self.phases.values()], axis=0)
        return {name: np.where(runs, value, np.nan) for name, value in found.items()}

    def _slowed(
        self,
        name: str,
        varied: Varied,
        side: int,
        rated: tuple[Floats, Floats, Floats],
        time_at: Callable[[Varied], Any],
    ) -> Phase:
        """A phase under the caps.   rated : time [s], share of peak compute, share of bandwidth, at the rated clock."""
        machines = varied.machines[side]
        kind = self.numbers.sides[side].system.accelerator.memory.kind
        watts = draw_w(machines, rated[1], rated[2])
        memory_w = self.clock.memory_w(kind, rated[2] * machines["bytes_per_s"])
        work = Work(rated[0], watts, memory_w, machines["idle_w"])
        found = fastest(work, lambda clock: time_at(clocked(varied, side, clock)), self.caps_w, self.clock)
        self.phases[name] = found
        return found

    @cached_property
    def _busy(self) -> tuple[float, float]:
        """Each pool as busy as it is without a cap."""
        return Held(self.model, self.chosen, self.asked, self.objective, self.numbers)._busy

    def _decode(self, replica: Replica, varied: Varied, b: int) -> tuple[int, Any, Floats, Floats]:
        batch, work, step_s, _ = super()._decode(replica, varied, b)
        contexts, drafts = self.asked.contexts(self.asked.workloads[0]), self._drafts.count
        rated = step_s, work.compute_s / step_s, work.memory_s / step_s
        phase = self._slowed(
            DECODE, varied, replica.side, rated,
            lambda slow: self._own_s(slow, b) + replica.decode(slow, batch, contexts, drafts).time_s,
        )  # fmt: skip
        return batch, work, phase.time_s, phase.watts

    def _prompts(self, replica: Replica, varied: Varied, b: int, batch: int, chunk: int) -> Phase:
        """A batch of prompts, `b` a rank, in chunks."""
        isl, new = (int(tokens) for tokens in self.asked.isl[0])

        def time_s(slow: Varied) -> Floats:
            return self._own_s(slow, b) + replica.prompt(slow, batch, isl, new, chunk).time_s

        prompt = replica.prompt(varied, batch, isl, new, chunk)
        first_s = self._own_s(varied, b) + prompt.time_s
        rated = first_s, prompt.compute_s / first_s, prompt.memory_s / first_s
        return self._slowed(PROMPT, varied, replica.side, rated, time_s)

    def _aggregated(self, replica: Replica, varied: Varied) -> tuple[Floats, ...]:
        """(requests/s, W, TTFT, TPOT, latency): (22) of docs/equations.md with d as (5) of docs/power-cap.md has it."""
        b, table = self._per_rank(), self._table
        dp, drafts, ttft_s = replica.degrees[2], self._drafts.count, varied.stack["ttft_s"]
        batch, work, t, step_w = self._decode(replica, varied, b)
        contexts, ends = self.asked.contexts(self.asked.workloads[0]), self.asked.prompt_ends(self._chunk)

        def times(slow: Varied) -> tuple[Floats, Floats]:
            """(step without chunks, what chunks add) at one clock [s]."""
            step = self._own_s(slow, b) + replica.decode(slow, batch, contexts, drafts).time_s
            return step, replica.with_chunk(slow, batch, contexts, self._chunk, ends, drafts).time_s

        rated_d, peak, moved = self._beside(replica, varied, batch, work)
        whole = self._own_s(varied, b) + work.time_s + rated_d
        slowed = self._slowed(
            PROMPT, varied, replica.side, (whole, peak / whole, moved / whole), lambda slow: sum(times(slow))
        )
        phi = table.fill / table.chunks
        beside, d = times(clocked(varied, replica.side, np.where(np.isnan(slowed.clock), 1.0, slowed.clock)))
        d = d + (beside - t) / phi
        return self._in_a_loop(b, dp, ttft_s, (t, step_w), (d, slowed.watts))

    def _static(self, replica: Replica, varied: Varied) -> tuple[Floats, ...]:
        """The same for a batch computed, decoded and ended together: (23)."""
        b = self._per_rank()
        _, _, step_s, step_w = self._decode(replica, varied, b)
        batch = replica.degrees[2] * b
        prompts = self._prompts(replica, varied, b, batch, int(self.asked.isl[0][1]))
        return self._together(varied, batch, (prompts.time_s, prompts.watts), (step_s, step_w))

    def _prefill_pool(self, varied: Varied) -> tuple[Pool, Floats]:
        """The pool that computes prompts, and its TTFT: (24)."""
        rated, ttft = super()._prefill_pool(varied)
        replica, batch = rated.replica, int(self._number("prefill_batch"))
        load = self._number("prefill_load")
        prompts = self._prompts(replica, varied, batch // replica.degrees[2], batch, self._chunk)
        # rate is load*batch over the time of a batch, and all of TTFT but what is fixed is multiples of that time
        stretched = prompts.time_s / prompts.rated_s
        slo = self.asked.slos[0]
        late = max(0.0, np.log(load / (1.0 - slo.percentile_of("ttft") / 100.0))) / (2.0 * (1.0 - load))
        waits = 1.0 + (batch - 1.0) / (2.0 * load * batch) + (1.0 + self._table.fill_cv2 / batch) * late
        ttft = ttft + waits * (prompts.time_s - prompts.rated_s)
        idle_w = varied.machines[replica.side]["idle_w"]
        watts = np.where(stretched == 1.0, rated.watts, load * prompts.watts + (1.0 - load) * idle_w)
        return Pool(replica, rated.rate / stretched, watts), ttft

    def _around(self, varied: Varied, pool: Pool, busy: float) -> Floats:
        """Energy of a request [J]; what is provisioned is the cap where that is less than the nameplate."""
        if self.objective.basis != "provisioned":
            return super()._around(varied, pool, busy)
        machines, around = (list(getattr(varied, name)) for name in ("machines", "around"))
        for side, one in enumerate(self.numbers.sides):
            machines[side], around[side] = machines[side].copy(), around[side].copy()
            saved = np.maximum(0.0, machines[side]["tdp_w"] - self.caps_w)
            machines[side]["tdp_w"] -= saved
            count, most_w = one.system.accelerators, around[side]["max_w"]
            at_cap = (
                count * machines[side]["tdp_w"] + around[side]["host_w"]
            )  # saved from what it could not draw anyway
            around[side]["max_w"] = np.maximum(most_w - saved * count, np.minimum(most_w, at_cap))
        return super()._around(replace(varied, machines=tuple(machines), around=tuple(around)), pool, busy)
