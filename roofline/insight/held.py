"""The deployment that a plan chose, held while the numbers of its sheets change.

Mode, recipe, degrees, batch, chunk and drafts stay; two pools stay matched, their ratio following their rates, each as
busy as it was. As the numbers stand the figures are those of the plan: equations (22) to (25) of docs/equations.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from roofline.insight.parameters import Numbers
from roofline.insight.replica import Replica, draw_w, watts_around
from roofline.planning.money import USD_PER_MTOK
from roofline.planning.objective import Objective
from roofline.planning.question import CHUNKS, MOST_BATCH, Question
from roofline.planning.variables import AT_BOUNDARY, FIGURES
from roofline.rack.cost import JOULES_PER_KWH, MILLION, SECONDS_AN_HOUR
from roofline.rack.energy import JOULES_PER_MWH
from roofline.serving.steps import step_table
from roofline.specs import Model

if TYPE_CHECKING:
    import xarray as xr
    from numpy.typing import NDArray

    from roofline.insight.parameters import Varied
    from roofline.rack.cost import Bill
    from roofline.serving.steps import StepTable

    Floats = NDArray[np.float64]

HELD = (
    *("tokens_per_mwh", "joules_per_token_at_boundary", "joules_per_token", "tokens_per_s_per_gpu"),
    *("tokens_per_s_per_user", "output_tokens_per_s", "request_rate", "ttft", "tpot", "request_latency"),
    *("power", "power_at_boundary", "memory_share"),
)
"""Figures of a held plan: variables of `roofline.plan`."""

_SOUGHT = {
    "joules_per_token": "joules_per_token_at_boundary",
    "tokens_per_s_per_gpu": "tokens_per_s_per_gpu",
    "min_gpus": "tokens_per_s_per_gpu",
    USD_PER_MTOK: USD_PER_MTOK,
}
"""Objective -> the figure that it is of, where that is not the first of `HELD`."""


class Pool(NamedTuple):
    """Replicas of one kind, float64[n] each: requests a second and mean draw of an accelerator while it works [W]."""

    replica: Replica
    rate: Floats
    watts: Floats


@dataclass(frozen=True)
class Held:
    """A chosen deployment.   chosen : its cell of `roofline.plan`, without dims.   bill : what is paid, or None."""

    model: Model
    chosen: xr.Dataset
    asked: Question
    objective: Objective
    numbers: Numbers
    bill: Bill | None = None

    @property
    def about(self) -> dict[str, tuple[str, str]]:
        """Figure -> (units, meaning), what was sought first."""
        where = f" ({self.objective.where})"
        paid = () if self.bill is None else (USD_PER_MTOK,)
        names = dict.fromkeys((_SOUGHT.get(self.objective.name, HELD[0]), *HELD, *paid))
        known = FIGURES | {USD_PER_MTOK: ("USD", "cost of a million output tokens, hardware and energy")}
        return {name: (known[name][0], known[name][1] + where * (name in AT_BOUNDARY)) for name in names}

    @property
    def attributes(self) -> dict[str, str]:
        """What the figures are of, beside the provenance of the plan."""
        said = {name: str(self.chosen[name].item()) for name in ("mode", "recipe", "deployment", "prefill_deployment")}
        said |= {name: str(self.chosen[name].item()) for name in ("model", "system", "workload", "slo")}
        return {str(key): str(value) for key, value in self.chosen.attrs.items()} | said | {"held": "plan"}

    @property
    def label(self) -> str:
        """The choice in a few words."""
        one = self.attributes
        first = f"{one['prefill_deployment']} + " if one["prefill_deployment"] else ""
        return f"{one['mode']}, {one['recipe']}, {first}{one['deployment']}, batch {self._number('batch'):.0f}"

    def _number(self, name: str) -> float:
        return float(self.chosen[name].item())

    def _degrees(self, prefix: str = "") -> tuple[int, int, int, int, int]:
        tp, pp, dp, ep, moe_tp = (int(self._number(prefix + name)) for name in ("tp", "pp", "dp", "ep", "moe_tp"))
        return tp, pp, dp, ep, moe_tp

    @cached_property
    def mode(self) -> str:
        """How requests are served."""
        return str(self.chosen["mode"].item())

    @cached_property
    def _drafts(self) -> Any:
        return self.asked.drafts[int(self._number("drafts"))]

    @cached_property
    def _chunk(self) -> int:
        return CHUNKS[0] if self.mode == "static" else int(self._number("chunk"))

    @cached_property
    def _table(self) -> StepTable:
        return step_table(
            self.asked.workloads[0], self._chunk, self._drafts.tokens_per_step, MOST_BATCH, self.asked.percentiles
        )

    def figures(self, varied: Varied) -> dict[str, Floats]:
        """The figures of every variant, float64[n] by name."""
        if self.mode == "disaggregated":
            return self._pools(varied)
        replica = Replica(self.model, self._degrees(), 0)
        find = self._aggregated if self.mode == "aggregated" else self._static
        rate, watts, ttft, tpot, latency = find(replica, varied)
        pool = Pool(replica, rate, watts)
        energy, per_request = self._around(varied, pool, 1.0), replica.group / rate
        found = self._named(varied, rate, per_request, watts, energy, ttft, tpot, latency)
        return found | self._paid(varied, [(pool, 1.0)])

    def _named(
        self, varied: Varied, rate: Floats, per_request: Floats, watts: Floats, energy: Floats, ttft: Floats,
        tpot: Floats, latency: Floats,
    ) -> dict[str, Floats]:  # fmt: skip
        """Figures by name.   per_request : accelerator-seconds of a request.   energy : J of one at the boundary."""
        osl = self.asked.workloads[0].mean_osl
        joules = energy / osl
        side = varied.machines[0]
        usable = side["memory_bytes"] * side["memory_fraction"] - side["reserve_bytes"]
        found = {
            "tokens_per_mwh": JOULES_PER_MWH / joules,
            "joules_per_token_at_boundary": joules,
            "joules_per_token": watts * per_request / osl,
            "tokens_per_s_per_gpu": osl / per_request,
            "tokens_per_s_per_user": 1.0 / tpot,
            "output_tokens_per_s": rate * osl,
            "request_rate": rate,
            "ttft": ttft,
            "tpot": tpot,
            "request_latency": latency,
            "power": watts,
            "power_at_boundary": energy * self.asked.workloads[0].duty / per_request,
            "memory_share": self._number("memory") / usable,
        }
        return {name: np.broadcast_to(value, varied.size).astype(np.float64) for name, value in found.items()}

    def _own_s(self, varied: Varied, b: int) -> Floats:
        stack: Floats = varied.stack["step_s"] + varied.stack["sequence_s"] * b
        return stack

    def _decode(self, replica: Replica, varied: Varied, b: int) -> tuple[int, Any, Floats, Floats]:
        """(batch as it is run, its pass, step [s] and draw [W]) with b sequences on a rank."""
        batch = self.asked.stack.padded(b) * replica.degrees[2]
        contexts = self.asked.contexts(self.asked.workloads[0])
        work = replica.decode(varied, batch, contexts, self._drafts.count)
        step_s = self._own_s(varied, b) + work.time_s
        watts = draw_w(varied.machines[replica.side], work.compute_s / step_s, work.memory_s / step_s)
        return batch, work, step_s, watts

    def _per_rank(self) -> int:
        return round(self._number("batch") / self._degrees()[2])

    def _aggregated(self, replica: Replica, varied: Varied) -> tuple[Floats, ...]:
        """(requests/s, W, TTFT, TPOT, latency) by continuous batching: equation (22)."""
        b, machines = self._per_rank(), varied.machines[0]
        batch, work, t, step_w = self._decode(replica, varied, b)
        d, peak, moved = self._beside(replica, varied, batch, work)
        whole = t + d
        chunk_w = draw_w(machines, peak / whole, moved / whole)
        return self._in_a_loop(b, replica.degrees[2], varied.stack["ttft_s"], (t, step_w), (d, chunk_w))

    def _beside(self, replica: Replica, varied: Varied, batch: int, work: Any) -> tuple[Floats, Floats, Floats]:
        """(what a chunk adds to a step, then compute and memory of the whole step at peak rates) [s].

        work : the pass that decodes `batch` sequences, beside which the chunk runs.
        """
        pp, drafts = replica.degrees[1], self._drafts.count
        contexts, ends = self.asked.contexts(self.asked.workloads[0]), self.asked.prompt_ends(self._chunk)
        mixed = replica.with_chunk(varied, batch, contexts, self._chunk, ends, drafts)
        flights = min(batch, pp)
        plain = replica.decode(varied, batch, contexts, drafts, drafted=False) if drafts else work
        peak, moved = (
            (flights - 1) / flights * mine + (there + (mine - bare) * pp / flights) / pp
            for mine, there, bare in (
                (work.compute_s, mixed.compute_s, plain.compute_s),
                (work.memory_s, mixed.memory_s, plain.memory_s),
            )
        )
        return mixed.time_s, peak, moved

    def _in_a_loop(
        self, b: int, dp: int, ttft_s: Floats, step: tuple[Floats, Floats], chunk: tuple[Floats, Floats]
    ) -> tuple[Floats, ...]:
        """(requests a second, W, TTFT, TPOT, latency [s]) of a full batch of `b` on each of `dp` ranks: equation (22).

        step : time [s] and draw [W] of a step.   chunk : what a full chunk adds to it, and the draw of such a step.
        """
        table, (t, step_w), (d, chunk_w) = self._table, step, chunk
        phi = table.fill / table.chunks
        share, with_chunk = b * table.chunks / table.steps, t + phi * d
        time_share = share * with_chunk / (t + share * phi * d)
        watts = time_share * chunk_w + (1.0 - time_share) * step_w
        rest = ((1.0 - time_share) * t + (time_share - share) * with_chunk) / 2.0
        known_s = ttft_s + np.where(ttft_s > 0.0, rest, 0.0)
        q = {name: self.asked.slos[0].percentile_of(name) for name in ("ttft", "tpot", "latency")}
        waits = [
            known_s + float(table.wait_steps_at[q[name]][b]) * t + float(table.wait_fills_at[q[name]][b]) * d
            for name in ("ttft", "latency")
        ]
        tpots = [table.kappa * (t + float(table.share_seen_at[q[name]][b]) * phi * d) for name in ("tpot", "latency")]
        rate = dp * b / (table.steps * t + b * table.fill * d)
        return rate, watts, waits[0], tpots[0], waits[1] + (table.osl_at[q["latency"]] - 1.0) * tpots[1]

    def _static(self, replica: Replica, varied: Varied) -> tuple[Floats, ...]:
        """The same for a batch computed, decoded and ended together: equation (23)."""
        b = self._per_rank()
        isl, new = (int(tokens) for tokens in self.asked.isl[0])
        _, _, step_s, step_w = self._decode(replica, varied, b)
        batch = replica.degrees[2] * b
        prompt = replica.prompt(varied, batch, isl, new, new)
        first_s = self._own_s(varied, b) + prompt.time_s
        first_w = draw_w(varied.machines[0], prompt.compute_s / first_s, prompt.memory_s / first_s)
        return self._together(varied, batch, (first_s, first_w), (step_s, step_w))

    def _together(
        self, varied: Varied, batch: int, first: tuple[Floats, Floats], step: tuple[Floats, Floats]
    ) -> tuple[Floats, ...]:
        """(requests a second, W, TTFT, TPOT, latency [s]) of a batch that ends with its longest request: equation (23).

        first : time [s] and draw [W] of all prompts.   step : of a step.
        """
        table, (first_s, first_w), (step_s, step_w) = self._table, first, step
        whole = first_s + float(table.longest_steps(batch)) * step_s
        watts = (first_s * first_w + (whole - first_s) * step_w) / whole
        ttft, tpot = varied.stack["ttft_s"] + first_s, table.kappa * step_s
        after = table.osl_at[self.asked.slos[0].percentile_of("latency")] - 1.0
        return batch / whole, watts, ttft, tpot, ttft + after * tpot

    def _decode_pool(self, varied: Varied) -> tuple[Pool, Floats]:
        """The pool that decodes, and its TPOT."""
        replica, b = Replica(self.model, self._degrees(), 0), self._per_rank()
        _, _, step_s, watts = self._decode(replica, varied, b)
        return Pool(replica, replica.degrees[2] * b / (self._table.steps * step_s), watts), self._table.kappa * step_s

    def _prefill_pool(self, varied: Varied) -> tuple[Pool, Floats]:
        """The pool that computes prompts, and its TTFT: equation (24)."""
        replica = Replica(self.model, self._degrees("prefill_"), 1)
        dp, machines = replica.degrees[2], varied.machines[1]
        batch, load = int(self._number("prefill_batch")), self._number("prefill_load")
        b, (isl, new) = batch // dp, (int(tokens) for tokens in self.asked.isl[0])
        prompt = replica.prompt(varied, batch, isl, new, self._chunk)
        first_s = self._own_s(varied, b) + prompt.time_s
        busy = draw_w(machines, prompt.compute_s / first_s, prompt.memory_s / first_s)
        links = [one["out_bytes_per_s"] * one["eta_out"] for one in varied.machines]
        hand_over_s = replica.cache_bytes(varied, isl) / np.minimum(links[0], links[1])
        slo = self.asked.slos[0]
        late = max(0.0, np.log(load / (1.0 - slo.percentile_of("ttft") / 100.0))) / (2.0 * (1.0 - load))
        ttft = varied.stack["ttft_s"] + first_s + hand_over_s + (batch - 1.0) / (2.0 * load * batch) * first_s
        ttft = ttft + first_s * (1.0 + self._table.fill_cv2 / batch) * late
        watts = load * busy + (1.0 - load) * machines["idle_w"]
        return Pool(replica, load * batch / first_s, watts), ttft

    @cached_property
    def _busy(self) -> tuple[float, float]:
        """Share of its rate that each pool is asked for, of whole numbers of replicas as the plan has them."""
        base = self.numbers.base()
        prefill, decode = self._prefill_pool(base)[0], self._decode_pool(base)[0]
        rates = (
            self._number("prefill_replicas") * float(prefill.rate[0]),
            self._number("decode_replicas") * float(decode.rate[0]),
        )
        return min(rates) / rates[0], min(rates) / rates[1]

    def _pools(self, varied: Varied) -> dict[str, Floats]:
        (prefill, ttft), (decode, tpot) = self._prefill_pool(varied), self._decode_pool(varied)
        per_request, energy, drawn = (np.zeros(varied.size) for _ in range(3))
        at_work = []
        for pool, busy in zip((prefill, decode), self._busy, strict=True):
            each = pool.replica.group / (busy * pool.rate)
            idle_w = varied.machines[pool.replica.side]["idle_w"]
            draw = busy * pool.watts + (1.0 - busy) * idle_w
            per_request = per_request + each
            drawn = drawn + each * draw
            at_work.append((pool._replace(watts=draw), busy))
            energy = energy + self._around(varied, *at_work[-1])
        rate = self._number("accelerators") / per_request
        slo, workload = self.asked.slos[0], self.asked.workloads[0]
        first = step_table(workload, self.asked.chunks[0], 1.0, MOST_BATCH, self.asked.percentiles)
        latency = ttft + (first.osl_at[slo.percentile_of("latency")] - 1.0) * tpot
        found = self._named(varied, rate, per_request, drawn / per_request, energy, ttft, tpot, latency)
        return found | self._paid(varied, at_work)

    def _paid(self, varied: Varied, pools: list[tuple[Pool, float]]) -> dict[str, Floats]:
        """Cost of a million output tokens [USD], where there is a bill: equations (2) and (3) of docs/site.md.

        Accelerators that no replica takes are not in it, as in the search; energy is the facility's, metered.
        """
        if self.bill is None:
            return {}
        workload, usd = self.asked.workloads[0], np.zeros(varied.size)
        metered = Objective("tokens_per_mwh")
        for pool, busy in pools:
            around, requests = varied.around[pool.replica.side], workload.duty * busy * pool.rate
            usd = usd + pool.replica.group * around["usd_per_hour"] / SECONDS_AN_HOUR / requests
            if not self.bill.includes_energy:
                watts = watts_around(self.numbers, varied, pool.replica, pool.watts, metered, workload.duty)
                usd = usd + watts / requests * around["usd_per_kwh"] / JOULES_PER_KWH
        return {USD_PER_MTOK: MILLION * usd / workload.mean_osl}

    def _around(self, varied: Varied, pool: Pool, busy: float) -> Floats:
        """Energy of a request in a pool at the boundary [J], of replicas asked for `busy` of their rate."""
        objective, duty = self.objective, self.asked.workloads[0].duty
        mean = watts_around(self.numbers, varied, pool.replica, pool.watts, objective, duty)
        found: Floats = mean / (duty * busy * pool.rate)
        return found
