"""How each public source measured: which conditions a row leaves to its source, and what its notes add.

Everything that is particular to one source stands here. What a source does not tell and no public text does is a
reason not to predict, never a guess.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from roofline.validation import names
from roofline.validation.conditions import Pool

if TYPE_CHECKING:
    from collections.abc import Mapping

    from roofline.grid.axes import Degrees
    from roofline.specs import Accelerator, Model, Recipe
    from roofline.validation.measured import Point

WAVES = 10
"""Requests per client of an InferenceX run, which all start together (its scripts: --num-prompts CONC * 10)."""

SPREAD = 0.2
"""InferenceX draws lengths from 0.8 to 1.0 of the nominal one (RANDOM_RANGE_RATIO)."""

INFERENCEX_SHAPES = ((1024.0, 1024.0), (1024.0, 8192.0), (8192.0, 1024.0))
"""ISL and OSL of all its runs. Rows of other shapes in tables gathered from it are other campaigns, lengths fixed."""

INFERENCEX = ("aiconfigurator_silicon_sample", "inferencex_fixture", "inferencex_blog")

REQUESTS: Mapping[tuple[int, int], int] = {
    (128, 128): 30000,
    (128, 2048): 3000,
    (128, 4096): 1500,
    (500, 2000): 3000,
    (1000, 1000): 3000,
    (1000, 2000): 1500,
    (1024, 2048): 1500,
    (2048, 128): 3000,
    (2048, 2048): 1500,
    (5000, 500): 1500,
    (20000, 2000): 1000,
}
"""Requests of an offline run by ISL and OSL (TensorRT-LLM, docs/source/performance/perf-overview.md, v1.0)."""

CAPTURED = (1, 2, 4, 8, 16, 32, 64, 128, 256, 384, 512, 1024, 2048, 4096, 8192)
"""Batches whose graphs those runs capture, with padding to the next (the same page; from the PyTorch backend on)."""

OFFLINE_FRACTION = 0.95
"""Share of the free memory that those runs give to the KV cache."""

SERVED_FRACTION = 0.95
"""Share of memory that benchmarked servers may fill: they are set up by hand, closer to the brim than sheets say."""

MTP_ACCEPTANCE = (0.82, 0.6, 0.45)
"""Chance that each draft of multi-token prediction is kept, given those before it: an estimate, by position.

The middle of what runs of DeepSeek-R1 with it need to be explained; the same set-up differs by a factor of 1.5 between
versions of servers."""

MTP_DRAFTS = {"trtllm": 3, "sglang": 2, "atom": 3}
"""Drafts a step with multi-token prediction, by family of servers, where a row does not say."""

MTP_DRAFTS_UNDER_DP = 1
"""The same with attention data parallelism under TensorRT-LLM: long drafts do not pay at large batch."""

TASK_ISL = {"lm-arena-chat": 205.0, "gpqa": 250.0}
"""Mean prompt tokens of the ML.ENERGY tasks whose prompts are short: estimates.

Its chat sends every turn of a conversation as a request with all turns before it (ml-energy/benchmark,
mlenergy/llm/datasets.py): 95 tokens of prompt and 0.3 earlier turns of 95 + 269 tokens. Those lengths, and 1.3 turns a
conversation, are of the arena that the data set is from (Chiang et al. 2024, arXiv 2403.04132, table 1;
recalled, not read again: `estimated`).
"""

FREE_SPREAD = 1.0
"""Spread of answers that models end by themselves: the widest there is, for they vary by about their mean."""

DATA_SETS: Mapping[str, tuple[float, float | None]] = {
    "LLaMA-2-70B": (216.0, None),
    "Llama-3.1-8B": (820.0, 128.0),
    "Mixtral-8x7B": (460.0, None),
    "DeepSeek-R1": (815.0, None),
}
"""MLPerf Inference: mean tokens of a prompt and of an answer (None: as the row has it) of a model's data set.

Prompts: means of samples, within a tenth, of the token lengths in openshift-psap/performance-dashboard,
mlperf-data/summaries and datasets/summaries (OpenOrca; CNN/DailyMail; OpenOrca, GSM8K and MBXP; AIME, MATH500, GPQA,
MMLU-Pro and LiveCodeBench). Summaries by Llama 3.1 8B end at 128 tokens: 611 characters in the mean
(mlcommons/inference, language/llama3.1-8b/README.md: gen_len / gen_num).
"""

MLPERF_WEIGHTS = {"hopper": "fp8", "ada": "fp8", "blackwell": "fp4"}
"""Weights of MLPerf v4.1, by generation, where a row has none: all ran one code (mlcommons/inference_results_v4.1,
closed/NVIDIA/configs/llama2-70b/Offline: use_fp8; without FP8, 70B does not fit the one GPU of some rows)."""

MLPERF_GROUP = {"DeepSeek-R1": 8}
"""Accelerators that share experts, each with attention of its own (MLPerf v6.0, closed/NVIDIA/configs, GB300-NVL72 x8
and x72, Offline/deepseek-r1.py: tensor_parallelism 8, moe_expert_parallelism 8, enable_attention_dp)."""

ROOM = 2.0
"""Memory over weights that a replica of an MLPerf row has at least, where its layout is not stated.

The smallest power of two of accelerators with as much room again as weights. It gives the layouts that v4.1 states
(closed/NVIDIA/configs/llama2-70b/Offline: TP 2 on H100 80 GB and H100 NVL, TP 1 on H200 and GH200 144 GB).
"""

DEEPEP_TOKENS = 16384
"""Prompt tokens of a pass on each accelerator in the prefill phase with large-scale expert parallelism (LMSYS)."""

_POOLS = re.compile(
    r"prefill (\d+) GPUs \(tp(\d+) ep(\d+) x(\d+)\) \+ decode (\d+) GPUs \(x(\d+)\)"  # fixture
)
_BLOG = re.compile(r"prefill \[(\d+) GPU, TP=(\d+)\] decode \[(\d+) GPU, EP=(\d+)\]")
_BLOG_TP = 4  # of each prefill worker in the same tables
_ACHIEVED = re.compile(r"offered QPS=([\w.]+), achieved req/s=([\d.]+), (\d+) requests")
_NOTED = re.compile(r"(\w+)=([^;,\s]+)")


class Unpredicted(Exception):
    """Why a row has no prediction; caught where cases are made."""


def noted(point: Point, name: str) -> str:
    """What the notes say as name=value, or nothing."""
    return next((value for key, value in _NOTED.findall(point.notes) if key == name), "")


def completed(point: Point) -> Point:
    """A row with what its source says elsewhere: accelerators of dual cards, weights and parts that notes name."""
    changes: dict[str, Any] = {}
    cards = names.on_a_card(point.gpu)
    if cards > 1 and point.num_gpus is not None:
        changes["num_gpus"] = cards * point.num_gpus
    if point.source.startswith("mlperf"):
        if point.gpu == "GH200" and "144GB" in point.notes:
            changes["gpu"] = "GH200-144GB"
        if not point.weight_dtype:
            system = names.system(point.gpu)
            changes["weight_dtype"] = MLPERF_WEIGHTS.get(system[1], "") if system else ""
    return replace(point, **changes) if changes else point


def whole(value: float | None, field: str, default: int | None = None) -> int:
    """A degree or a count; 0 and blank are the default. Raises `Unpredicted` where there is none."""
    if value is None or value == 0:
        if default is None:
            raise Unpredicted(f"{field} is not stated")
        return default
    if value != int(value):
        raise Unpredicted(f"{field} = {value:g} is no whole number")
    return int(value)


def known(value: float | None, field: str) -> float:
    """A number that a prediction needs. Raises `Unpredicted` where it is blank."""
    if value is None or value <= 0:
        raise Unpredicted(f"{field} is not stated")
    return value


def degrees(model: Model, tp: int, pp: int, dp: int, ep: int) -> Degrees:
    """(tp, pp, dp, ep, moe_tp) of a replica, each expert sliced over what expert parallelism leaves of a stage."""
    if not model.is_moe:
        ep = 1
    if (tp * dp) % ep:
        raise Unpredicted(f"ep = {ep} does not divide the {tp * dp} accelerators of a stage")
    return tp, pp, dp, ep, tp * dp // ep


def one_pool(point: Point, model: Model) -> Pool:
    """Replicas that compute prompts and decode, as the columns of a row lay them out.

    Where attention is data parallel (dp > 1) some sources give tp as the size of the whole group: dp ranks share it.
    """
    group = whole(point.num_gpus, "num_gpus")
    pp, ep = whole(point.pp, "pp", 1), whole(point.ep, "ep", 1)
    dp = whole(point.dp, "dp", 1)
    if point.source == "trtllm_docs_v1.0" and model.is_moe:
        dp = ep = group  # its TP columns of models with experts ran attention DP and expert parallelism
    if point.source.startswith("lmsys") or point.source == "trtllm_docs_v1.1plus":
        dp = dp if model.is_moe else 1
    if dp > 1:
        if group % (dp * pp):
            raise Unpredicted(f"dp = {dp} and pp = {pp} do not divide num_gpus = {group}")
        return Pool(degrees(model, group // (dp * pp), pp, dp, ep))
    tp = whole(point.tp, "tp", group // pp)
    if point.source == "mlenergy_leaderboard_v3":
        tp = group // pp  # it names the degree of the experts only where they are parallel; attention is sharded alike
    if tp * pp != group:
        raise Unpredicted(f"tp = {tp} and pp = {pp} do not make num_gpus = {group}")
    return Pool(degrees(model, tp, pp, 1, ep))


def mlperf_pool(point: Point, model: Model, recipe: Recipe, accelerator: Accelerator) -> Pool:
    """Replicas of an MLPerf row: as its code lays them out, else by `ROOM`; over all accelerators of the system."""
    gpus = whole(point.num_gpus, "num_gpus")
    group = MLPERF_GROUP.get(point.model)
    if group is not None:
        if gpus % group:
            raise Unpredicted(f"num_gpus = {gpus} is no multiple of the {group} that share experts")
        return Pool(degrees(model, 1, 1, group, group), gpus // group)
    tp = 1
    while tp * accelerator.memory.bytes < ROOM * model.total_params * _weight_bytes(model, recipe) and 2 * tp <= gpus:
        tp *= 2
    return Pool(degrees(model, tp, 1, 1, 1), gpus // tp)


def _weight_bytes(model: Model, recipe: Recipe) -> float:
    """Bytes of a parameter of the part that most parameters are of."""
    from roofline.specs.formats import weight_bytes

    return weight_bytes((recipe.parts.experts if model.is_moe else recipe.parts.dense_ffn).weights)


@dataclass(frozen=True)
class Apart:
    """Pools of prompts and of decoding."""

    prompts: Pool
    decode: Pool


def two_pools(point: Point, model: Model) -> Apart:
    """Pools of a disaggregated row, from its columns or from its notes."""
    if point.decode_tp_size is not None:
        if point.decode_num_workers is None or point.prefill_num_workers is None:
            raise Unpredicted("the number of prefill and decode workers is not stated")
        return Apart(_columns(point, model, "prefill"), _columns(point, model, "decode"))
    found = _POOLS.search(point.notes)
    if found is not None:
        gpus, tp, ep, workers, decode_gpus, decode_workers = map(int, found.groups())
        dp, group = whole(point.dp, "dp", 1), decode_gpus // decode_workers
        ep_decode = whole(point.ep, "ep", 1)
        if dp == 1 and whole(point.tp, "tp", group) < group:
            dp = group // whole(point.tp, "tp", group)
        decode = Pool(degrees(model, group // dp, 1, dp, ep_decode), decode_workers)
        return Apart(_prompt_pool(model, gpus // workers, tp, ep, workers), decode)
    found = _BLOG.search(point.notes)
    if found is not None:
        gpus, tp, decode_gpus, ep = map(int, found.groups())
        tp = _BLOG_TP if tp > _BLOG_TP and tp == gpus else tp  # the degrees of several workers, summed
        group = max(ep, 4) if decode_gpus % max(ep, 4) == 0 else decode_gpus
        return Apart(
            _prompt_pool(model, tp, tp, 1, gpus // tp), Pool(degrees(model, group, 1, 1, ep), decode_gpus // group)
        )
    raise Unpredicted("the layout of the prefill and decode pools is not stated")


def _columns(point: Point, model: Model, side: str) -> Pool:
    def size(name: str, default: int | None = 1) -> int:
        return whole(getattr(point, f"{side}_{name}"), f"{side}_{name}", default)

    found = degrees(model, size("tp_size"), size("pp_size"), size("attention_dp_size"), size("moe_ep_size"))
    return Pool(found, size("num_workers"))


def _prompt_pool(model: Model, group: int, tp: int, ep: int, workers: int) -> Pool:
    """Prompts with experts in parallel run attention data parallel: that is how such servers are set up."""
    dp = group if ep == group > 1 else max(1, group // tp)
    return Pool(degrees(model, group // dp, 1, dp, ep), workers)


def arrivals(point: Point) -> tuple[float, float]:
    """Requests a second as they came in (inf: all at once) and their number, of a sweep of offered loads."""
    found = _ACHIEVED.search(point.notes)
    if found is None:
        raise Unpredicted("the rate of arrivals is not stated")
    offered, achieved, requests = found.groups()
    return (math.inf if offered.upper() == "INF" else float(achieved)), float(requests)


def drafts(point: Point, family: str, dp: int) -> int:
    """Drafts a step that a row says or implies."""
    if noted(point, "spec") == "mtp" or "MTP 3" in point.notes:
        if family == "trtllm" and dp > 1:
            return MTP_DRAFTS_UNDER_DP
        return MTP_DRAFTS.get(family, 2)
    return 0
