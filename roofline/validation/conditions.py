"""What has to be computed for a measured point: its conditions as the product understands them, or why it has none."""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from roofline.grid.axes import Degrees
    from roofline.specs import Model, Recipe, System
    from roofline.validation.measured import Point

Kind = Literal["closed", "open", "apart", "static", "offline", "steady", "prompts"]
Statistic = Literal["mean", "median"]


@cache
def captured(stack: str) -> tuple[int, ...]:
    """Batches whose graphs a stack captures, by the name of its sheet."""
    from roofline.specs.stack import Stack

    return Stack.load(stack).captured_batches


@dataclass(frozen=True)
class Pool:
    """Equal replicas that do one part of the work.

    degrees : (tp, pp, dp, ep, moe_tp) of one replica.   replicas : how many.
    """

    degrees: Degrees
    replicas: float = 1.0

    @property
    def group(self) -> int:
        """Accelerators of one replica."""
        tp, pp, dp, _, _ = self.degrees
        return tp * pp * dp


@dataclass(frozen=True)
class Case:
    """One measured point to be predicted.

    kind :
      closed   a closed loop of `load` clients on aggregated replicas
      open     `load` requests a second to aggregated replicas
      apart    a closed loop of `load` clients, prompts and decoding in pools of their own
      static   a batch of `load` sequences, computed and decoded together
      offline  `requests` queued at once, as many at a time as memory holds
      steady   `load` sequences that decode, each replaced as it ends; with an isl of 0 all at a context of osl
      prompts  `load` prompts at once and nothing else; no output
    pool : what decodes (and computes the prompts too, unless apart).   prompt_pool : of prompts where it is apart.
    load : of the whole deployment; of `steady` the mean, of `offline` the most at once (inf: what memory holds).
    isl, osl : mean tokens.   spread : lengths are uniform in [1 - spread, 1] times the longest; 0: all alike.
    drafts : tokens drafted a step.   acceptance : of each, given those before it.
    memory_fraction : of memory that the server may fill; None: as the sheets say.
    requests : measured in all, None where not known; of a closed loop they all start together.
    ttft, tpot : which statistic was measured.   counts : whether the rate of a static batch is that of
    the run or of its decoding alone.   energy : whether the joules of a token are of all accelerators or of those of
    the decode pool.   flags : of the row.
    framework, generation : families of servers and of accelerators: names of tuned constants begin with either.
    padded : batches that the server captures, where the source says; None: those of the stack's sheet.
    """

    row_id: str
    kind: Kind
    model: Model
    system: System
    recipe: Recipe
    pool: Pool
    load: float
    isl: float
    osl: float
    framework: str
    generation: str
    stack: str
    spread: float = 0.0
    chunk: int = 8192
    prompt_pool: Pool | None = None
    drafts: int = 0
    acceptance: tuple[float, ...] = ()
    padded: tuple[int, ...] | None = None
    memory_fraction: float | None = None
    requests: float | None = None
    ttft: Statistic = "mean"
    tpot: Statistic = "mean"
    counts: Literal["run", "decode"] = "run"
    energy: Literal["all", "decode"] = "all"
    flags: tuple[str, ...] = ()

    def padded_to(self, batch: int) -> int:
        """The batch that a step of so many sequences of one attention rank runs as."""
        sizes = captured(self.stack) if self.padded is None else self.padded
        place = bisect_left(sizes, batch)
        return sizes[place] if place < len(sizes) else batch

    @property
    def accelerators(self) -> float:
        """Of the whole deployment."""
        found = self.pool.group * self.pool.replicas
        if self.prompt_pool is not None:
            found += self.prompt_pool.group * self.prompt_pool.replicas
        return found


def case_of(point: Point) -> Case | str:
    """What to compute for a measured point, or the reason why there is nothing.

    Columns and notes are read as the point's source means them (`sources`). A deployment that is not legal or does not
    fit shows only where it is computed.
    """
    from roofline.validation import sources

    try:
        return _case(point)
    except sources.Unpredicted as reason:
        return str(reason)


def _case(point: Point) -> Case:
    from roofline.validation import names, sources

    reason = _UNPREDICTED.get(point.source)
    if reason:
        raise sources.Unpredicted(reason)
    if point.gpu.endswith("powercapped"):
        raise sources.Unpredicted("derived by its source from runs without the power cap: TTFT times 1.3, TPOT alike")
    point = sources.completed(point)
    model, system = names.model(point.model), names.system(point.gpu)
    if model is None:
        raise sources.Unpredicted(f"no sheet of the model {point.model}")
    if system is None:
        raise sources.Unpredicted(f"no sheet of the accelerator {point.gpu}")
    server = names.framework(point.framework)
    block = {"fp8_block": True, "fp8": False}.get(sources.noted(point, "gemm"))
    if sources.noted(point, "moe") == "fp8_block" or model.family.startswith("deepseek"):
        block = None  # its FP8 checkpoint is in blocks, whatever the attention projections are called
    recipe = names.recipe(model, point.weight_dtype, point.kv_dtype, system[1], server.family, block)
    if recipe is None:
        raise sources.Unpredicted(f"no recipe for weights in {point.weight_dtype} on {point.gpu}")
    from roofline.specs import Recipe

    blank = Case(
        row_id=point.row_id,
        kind="closed",
        model=model,
        system=system[0],
        recipe=Recipe.load(recipe),
        pool=Pool((1, 1, 1, 1, 1)),
        load=0.0,
        isl=0.0,
        osl=0.0,
        framework=server.family,
        generation=system[1],
        stack=names.stack(server.stack, system[1]),
        flags=point.flagged,
    )
    return _BY_SOURCE.get(point.source, _plain)(point, blank)


def _plain(point: Point, blank: Case) -> Case:
    """A row of a source that is not known by name: fixed lengths, as its metric_kind says."""
    if point.metric_kind == "offline_throughput":
        return _offline(point, blank)
    if point.metric_kind == "steady_decode":
        return _static(point, blank)
    return _closed(point, blank, spread=0.0, waves=None)


def _inferencex(point: Point, blank: Case) -> Case:
    from roofline.validation import sources

    median = point.source != "aiconfigurator_silicon_sample"
    drawn = (point.isl, point.osl) in sources.INFERENCEX_SHAPES
    found = _closed(point, blank, sources.SPREAD if drawn else 0.0, sources.WAVES)
    statistic: Statistic = "median" if median else "mean"
    return replace(found, ttft=statistic, tpot=statistic, energy="decode" if found.kind == "apart" else "all")


def _fixed_lengths(point: Point, blank: Case) -> Case:
    return _closed(point, blank, spread=0.0, waves=None)


def _closed(point: Point, blank: Case, spread: float, waves: int | None) -> Case:
    """A closed loop of clients, on replicas that do all or on two pools."""
    from roofline.validation import sources

    clients = sources.known(point.concurrency_or_batch, "concurrency_or_batch")
    longest = sources.known(point.isl, "isl"), sources.known(point.osl, "osl")
    mean = 1.0 - spread / 2.0
    apart = sources.two_pools(point, blank.model) if point.disagg else None
    pool = apart.decode if apart else sources.one_pool(point, blank.model)
    drafts = sources.drafts(point, blank.framework, pool.degrees[2])
    return replace(
        blank,
        kind="apart" if apart else "closed",
        pool=pool,
        prompt_pool=apart.prompts if apart else None,
        load=clients,
        isl=mean * longest[0],
        osl=mean * longest[1],
        spread=spread,
        drafts=drafts,
        acceptance=sources.MTP_ACCEPTANCE[:drafts],
        requests=None if waves is None else waves * clients,
        memory_fraction=sources.SERVED_FRACTION,
    )


def _offline(point: Point, blank: Case) -> Case:
    """All requests queued at once, as many in flight as memory holds."""
    from roofline.validation import sources

    isl, osl = sources.known(point.isl, "isl"), sources.known(point.osl, "osl")
    documented = point.source.startswith("trtllm_docs")
    captured = documented and point.source not in ("trtllm_docs_v0.17",)
    return replace(
        blank,
        kind="offline",
        pool=sources.one_pool(point, blank.model),
        load=point.concurrency_or_batch or math.inf,
        isl=isl,
        osl=osl,
        memory_fraction=sources.OFFLINE_FRACTION if blank.framework == "trtllm" else None,
        requests=sources.REQUESTS.get((int(isl), int(osl))) if documented else None,
        padded=sources.CAPTURED if captured else None,
    )


def _static(point: Point, blank: Case) -> Case:
    from roofline.validation import sources

    return replace(
        blank,
        kind="static",
        pool=sources.one_pool(point, blank.model),
        load=sources.known(point.concurrency_or_batch, "concurrency_or_batch"),
        isl=sources.known(point.isl, "isl"),
        osl=sources.known(point.osl, "osl"),
        memory_fraction=1.0,  # the batch ran, so it fitted: what a server leaves free is not known
        counts="decode" if point.metric_kind == "steady_decode" else "run",
    )


def _splitwise(point: Point, blank: Case) -> Case:
    return replace(_static(point, blank), framework="splitwise", stack="splitwise")


def _poisson(point: Point, blank: Case) -> Case:
    from roofline.validation import sources

    rate, requests = sources.arrivals(point)
    found = replace(
        blank,
        pool=sources.one_pool(point, blank.model),
        isl=sources.known(point.isl, "isl"),
        osl=sources.known(point.osl, "osl"),
        requests=requests,
    )
    if math.isinf(rate):
        return replace(found, kind="offline", load=math.inf)
    return replace(found, kind="open", load=rate)


def _best_practice(point: Point, blank: Case) -> Case:
    return _offline(point, blank) if point.metric_kind == "offline_throughput" else _fixed_lengths(point, blank)


def _mlenergy(point: Point, blank: Case) -> Case:
    from roofline.validation import sources

    task = sources.noted(point, "task")
    if task not in sources.TASK_ISL:
        raise sources.Unpredicted(f"the length of the prompts of {task or 'its task'} is not stated")
    return replace(
        blank,
        kind="steady",
        pool=sources.one_pool(point, blank.model),
        load=sources.known(point.concurrency_or_batch, "concurrency_or_batch"),
        isl=sources.TASK_ISL[task],
        osl=sources.known(point.osl, "osl"),
        spread=sources.FREE_SPREAD,
        memory_fraction=1.0,  # the batch ran, so it fitted
        tpot="median",
    )


def _lmsys(point: Point, blank: Case) -> Case:
    from roofline.validation import sources

    if point.dp is None or "SIMULATED MTP" in point.notes or "DeepSeek Profile" in point.notes:
        raise sources.Unpredicted("simulated, or derived by its source from another profile")
    length, pool = sources.known(point.isl, "isl"), sources.one_pool(point, blank.model)
    if point.metric_kind == "steady_decode":
        batch = sources.known(point.concurrency_or_batch, "concurrency_or_batch")
        return replace(blank, kind="steady", pool=pool, load=batch, osl=length)
    each = max(1, round(sources.DEEPEP_TOKENS / length))
    return replace(blank, kind="prompts", pool=pool, load=float(each * pool.group), isl=length, chunk=int(length))


def _mlperf(point: Point, blank: Case) -> Case:
    from roofline.validation import sources

    if point.metric_kind != "offline_throughput":
        raise sources.Unpredicted("the rate of arrivals is not stated but by the throughput itself")
    if point.model not in sources.DATA_SETS:
        raise sources.Unpredicted(f"the length of the prompts of the data set for {point.model} is not stated")
    isl, osl = sources.DATA_SETS[point.model]
    return replace(
        blank,
        kind="offline",
        pool=sources.mlperf_pool(point, blank.model, blank.recipe, blank.system.accelerator),
        load=math.inf,
        isl=isl,
        osl=osl or sources.known(point.osl, "osl"),
        spread=sources.FREE_SPREAD,
        memory_fraction=sources.OFFLINE_FRACTION if blank.framework == "trtllm" else None,
    )


_UNPREDICTED = {
    "deepseek_open_infra_day6": "an average over a day of production, whose batches are not stated",
    "inferencex_experimental_token_position": "an experiment whose time per token holds prompts of other requests",
}

_BY_SOURCE = {
    "aiconfigurator_silicon_sample": _inferencex,
    "inferencex_fixture": _inferencex,
    "inferencex_blog": _inferencex,
    "lmsys_large_scale_ep_h100": _lmsys,
    "mlenergy_leaderboard_v3": _mlenergy,
    "mlperf_inference_v4.1": _mlperf,
    "mlperf_inference_v5.1": _mlperf,
    "mlperf_inference_v6.0": _mlperf,
    "splitwise_perf_model": _splitwise,
    "trtllm_docs_online_v0.14": _poisson,
    "trtllm_docs_v0.9_static": _static,
    "trtllm_dsr1_best_practice": _best_practice,
}
