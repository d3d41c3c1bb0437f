"""Names that published measurements use for models, accelerators, servers and formats, and the sheets they mean."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from roofline.specs import Model, System

_MODELS = {
    "deepseek-r1": "deepseek-r1",
    "deepseek-r1-0528": "deepseek-r1",
    "deepseek-v3": "deepseek-v3",
    "deepseek-v3.1": "deepseek-v3",
    "deepseek-v3/r1": "deepseek-v3",
    "gemma-3-27b-it": "gemma-3-27b",
    "llama-7b": "llama-2-7b",
    "llama-3.1-8b-instruct": "llama-3.1-8b",
    "llama-3.1-70b-instruct": "llama-3.1-70b",
    "llama-3.3-70b-instruct": "llama-3.3-70b",
    "llama-4-maverick-17b-128e-instruct-fp8": "llama-4-maverick",
    "llama-4-scout-17b-16e-instruct": "llama-4-scout",
    "mistral-7b": "mistral-7b-v0.3",
    "nvidia-nemotron-nano-9b-v2": "nemotron-nano-9b-v2",
    "nvidia-nemotron-nano-12b-v2": "nemotron-nano-12b-v2",
    "gemma-3-12b-it": "gemma-3-12b",
    "qwen3-30b-a3b-instruct-2507": "qwen3-30b-a3b-2507",
    "qwen3-30b-a3b-thinking-2507": "qwen3-30b-a3b-2507",
    "qwen3-coder-30b-a3b-instruct": "qwen3-30b-a3b-2507",
    "qwen3-235b-a22b-instruct-2507-fp8": "qwen3-235b-a22b-2507",
    "qwen3-235b-a22b-thinking-2507-fp8": "qwen3-235b-a22b-2507",
}
"""Names in measurements, in lower case -> names of model sheets; fine-tunings of a model cost what it costs."""

_SYSTEMS: Mapping[str, tuple[str, str]] = {
    "A100-80GB": ("dgx-a100", "ampere"),
    "L40S": ("l40s", "ada"),
    "H100": ("dgx-h100", "hopper"),
    "H100-NVL-94GB": ("h100-nvl", "hopper"),
    "H100-PCIe-80GB": ("h100-pcie", "hopper"),
    "H200": ("dgx-h200", "hopper"),
    "H200-NVL-141GB": ("h200-nvl", "hopper"),
    "H800": ("hgx-h800", "hopper"),
    "GH200": ("gh200-96", "hopper"),
    "GH200-144GB": ("gh200-144", "hopper"),
    "B200": ("dgx-b200", "blackwell"),
    "B300": ("dgx-b300", "blackwell"),
    "GB200": ("gb200-nvl72", "blackwell"),
    "GB300": ("gb300-nvl72", "blackwell"),
    "RTX PRO 4500 Blackwell": ("rtx-pro-4500-bw-server", "blackwell"),
    "MI300X": ("mi300x-8", "cdna3"),
    "MI325X": ("mi325x-8", "cdna3"),
    "MI350X": ("mi350x", "cdna4"),
    "MI355X": ("mi355x-8", "cdna4"),
    "Intel(R) Arc Pro(R) B50": ("arc-pro-b50", "xe2"),
    "Intel(R) Arc Pro(R) B60": ("arc-pro-b60", "xe2"),
    "Intel(R) Arc Pro(R) B70": ("arc-pro-b70", "xe2"),
    "MS-Intel Arc Pro B60 Dual 48G Turbo": ("arc-pro-b60", "xe2"),
    "[MAXSUN] MS-Intel Arc Pro B60 Dual 48G Turbo": ("arc-pro-b60", "xe2"),
}
"""Accelerators as measurements name them -> system (or accelerator, in a default host) and generation."""

LONGEST_CONTEXT = 1 << 20
"""Tokens that every model may be asked for here: a limit for users is none of what was measured, and takes no time."""

GENERATIONS = tuple(dict.fromkeys(generation for _, generation in _SYSTEMS.values()))

_FRAMEWORKS = (
    ("vllm", "vllm", "vllm"),
    ("sglang", "sglang", "sglang"),
    ("atom", "atom", "sglang"),
    ("trt", "trtllm", "trtllm"),
    ("tensorrt", "trtllm", "trtllm"),
)
"""Part of a server's name, its family, and the stack sheet that stands for it; the first that fits."""


@dataclass(frozen=True)
class Framework:
    """A family of servers.   stack : the sheet that stands for it, or a family of them, one a generation."""

    family: str
    stack: str


def framework(name: str) -> Framework:
    """The family of a server by the name a measurement gives it; `other` with the default stack where unknown."""
    lower = name.lower()
    for part, family, stack in _FRAMEWORKS:
        if part in lower:
            return Framework(family, stack)
    return Framework("other", "default")


@cache
def stack(family: str, generation: str) -> str:
    """Name of the sheet of a family of servers on a generation: Hopper's where there is none of its own."""
    from roofline.specs.folders import find
    from roofline.specs.stack import Stack

    own = f"{family}-{generation}"
    return Stack.load(own if find("stack", own, None) else family).id


def family_of(sheet: str) -> str:
    """The family of servers of a stack's sheet: its name without a generation."""
    family, _, generation = sheet.rpartition("-")
    return family if generation in GENERATIONS else sheet


def on_a_card(gpu: str) -> int:
    """Accelerators of what a measurement counts as one of that name: a dual card is two."""
    return 2 if " Dual " in gpu else 1


_OWN_FP8 = ("qwen3", "qwen3-moe", "qwen3-next", "qwen3-5-moe")
"""Families whose FP8 checkpoints their maker publishes: scaled by blocks, without scales for the cache. Tables that say
`fp8` of TensorRT-LLM mean FP8 of either kind: they say so of DeepSeek, whose only one is by blocks, as well."""


_CHECKPOINT = re.compile(r"(-(instruct|it|fp8|fp4|nvfp4|mxfp4|int4|bf16))+$")
"""What checkpoints of one model add to its name: costs are of its shape, formats of the column of weights."""


@cache
def model(name: str) -> Model | None:
    """The model sheet of a name, its context unlimited; None where there is none."""
    from roofline.errors import InputError
    from roofline.specs import Model

    lower = name.strip().lower().rpartition("/")[2]  # as on the Hugging Face hub, its owner before it
    for known in (lower, _CHECKPOINT.sub("", lower)):
        try:
            found = Model.load(_MODELS.get(known, known))
        except InputError:
            continue
        return found.replace(max_context=max(found.max_context, LONGEST_CONTEXT))
    return None


@cache
def system(gpu: str) -> tuple[System, str] | None:
    """The system and the generation of an accelerator's name, or None."""
    from roofline.specs import System

    if gpu not in _SYSTEMS:
        return None
    name, generation = _SYSTEMS[gpu]
    return System.load(name), generation


def recipe(which: Model, weights: str, kv: str, generation: str, family: str, block: bool | None = None) -> str | None:
    """Name of the recipe that weights of a format are run in; None where none is known.

    weights, kv : formats as measurements name them, blank where not said.   block : whether the source says that FP8
    is scaled by blocks; None: as the model ships.   family : of servers; where nothing is said of the cache,
    TensorRT-LLM keeps it in FP8 beside FP8 weights that came with scales for it, others do so on Blackwell and CDNA 4.
    """
    listed = which.recipes
    if weights in ("", "bf16", "fp16"):
        return "bf16"
    if weights == "fp8":
        own = "fp8-block" in listed and which.family in _OWN_FP8
        blocks = own or ("fp8-block" in listed and "fp8" not in listed if block is None else block)
        if not blocks and "fp8-block-kv8" not in listed:
            return "fp8"
        scaled = family == "trtllm" and not own
        kv8 = kv == "fp8" or (kv == "" and (scaled or generation in ("blackwell", "cdna4")))
        return "fp8-block-kv8" if kv8 else "fp8-block"
    if weights == "fp4":
        prefix = "mxfp4" if generation.startswith("cdna") else "nvfp4"
        usual = "nvfp4" if prefix == "nvfp4" else "mxfp4-ffn"
        return next((name for name in listed if name.startswith(prefix)), usual)
    return {"mxfp4": "mxfp4", "int8": "int8", "uint4": "int4"}.get(weights)
