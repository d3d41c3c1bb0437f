"""The recipe of ours that says what a checkpoint ships: matched part by part, or refused."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase

from roofline.specs.formats import Format, wider
from roofline.specs.hf.config import Config
from roofline.specs.hf.quantization import ADVICE, Quantization
from roofline.specs.hf.rows import Row, Shape
from roofline.specs.recipe import Recipe

CANDIDATES = (
    "fp8",
    "fp8-kv16",
    "fp8-block",
    "fp8-block-kv8",
    "nvfp4",
    "nvfp4-experts",
    "mxfp4",
    "mxfp4-fp8",
    "int4",
    "int4-experts",
    "int8",
    "int8-weight-only",
)
"""Recipes that a quantization_config may turn out to be, earlier ones first."""

_ATTENTION = {
    "gqa": ("q_proj", "k_proj", "v_proj", "o_proj"),
    "mla": ("q_a_proj", "q_b_proj", "kv_a_proj_with_mqa", "kv_b_proj", "o_proj"),
    "mamba2": ("in_proj", "out_proj"),
    "gated_delta_net": ("in_proj_qkv", "in_proj_z", "out_proj"),
}
_FUSED = {"in_proj_qkv": "in_proj_qkvz", "in_proj_z": "in_proj_qkvz"}
"""Other names for the same weights in checkpoints that keep them in one matrix."""

Formats = tuple[Format, Format]


def recipe_of(config: Config, shape: Shape, quantization: Quantization) -> str:
    """Id of the recipe that keeps the model's parts, and its KV cache, as the checkpoint does.

    Raises `roofline.errors.InputError` where there is none, or where a part is quantised in some layers only.
    """
    parts = dict(_parts(config, shape, quantization))
    misfits = []
    for name in CANDIDATES:
        recipe = Recipe.load(name, folders=[]).parts
        wrong = [part for part, formats in parts.items() if _formats(getattr(recipe, part)) != formats]
        if recipe.kv_cache != quantization.kv_cache:
            wrong.append("kv_cache")
        if not wrong:
            return name
        misfits.append((len(wrong), name, wrong))
    _, nearest, wrong = min(misfits, key=lambda item: item[0])
    told = ", ".join(f"{part} {'/'.join(dict.fromkeys(formats))}" for part, formats in parts.items())
    problem = f"no recipe keeps {told}, KV cache {quantization.kv_cache}"
    raise config.error("", problem, f"nearest: {nearest}, other in {', '.join(wrong)}; {ADVICE}", value="")


def _formats(part: object) -> Formats:
    return part.weights, part.activations  # type: ignore[attr-defined]


def _parts(config: Config, shape: Shape, quantization: Quantization) -> Iterator[tuple[str, Formats]]:
    """Formats of each part that the model has."""
    quantised = (quantization.weights, wider(quantization.weights, quantization.activations))
    plain: Formats = ("bf16", "bf16")
    for part in ("attention", "dense_ffn", "experts", "shared_experts"):
        names = [name for index, row in enumerate(shape.layers) for name in _names(shape, index, row, part)]
        if not names:
            continue
        if quantization.experts_only and part != "experts":
            yield part, plain
            continue
        kept = [name for name in names if is_kept(name, quantization.kept)]
        if kept and len(kept) < len(names):
            problem = f"{part} stays in BF16 in some modules only, such as {kept[0]}"
            raise config.error("", problem, ADVICE, value="")
        yield part, plain if kept else quantised
    yield "lm_head", quantised if quantization.lm_head and not shape.tied else plain


def _names(shape: Shape, index: int, row: Row, part: str) -> Iterator[str]:
    """Modules of a part in one layer, by their names in the checkpoint."""
    at, where = f"model.layers.{index}", shape.modules
    attention, mixture, dense = row.get("attention"), row.get("experts"), row.get("ffn")
    if part == "attention" and attention:
        linear = attention["kind"] == "gated_delta_net"
        for name in _ATTENTION[attention["kind"]]:
            yield f"{at}.{where.linear if linear else where.attention}.{name}"
    projections = ("gate_proj", "up_proj", "down_proj")
    if part == "dense_ffn" and dense:
        for name in projections[3 - dense["matrices"] :]:
            yield f"{at}.{where.dense_ffn}.{name}"
    if part == "experts" and mixture:
        for expert in (0, mixture["count"] - 1):
            for name in projections[3 - mixture.get("matrices", 3) :]:
                yield f"{at}.{where.experts}.{expert}.{name}"
    if part == "shared_experts" and mixture and mixture.get("shared_inner"):
        for name in projections[3 - mixture.get("matrices", 3) :]:
            yield f"{at}.{where.shared_experts}.{name}"


def is_kept(module: str, kept: tuple[str, ...]) -> bool:
    """Whether a list of modules that are not quantised has this one.

    An entry is a regular expression after `re:`, else a name whose parts stand in the module's in a row; `*` stands
    for anything.
    """
    names = [module]
    last = module.rpartition(".")[2]
    if last in _FUSED:
        names.append(module.removesuffix(last) + _FUSED[last])
    return any(_matches(name, entry) for name in names for entry in kept)


def _matches(module: str, entry: str) -> bool:
    if entry.startswith("re:"):
        try:
            return re.match(entry.removeprefix("re:"), module) is not None
        except re.error:
            return False
    entry = re.sub(r"^(model\.)?language_model\.(model\.)?", "model.", entry)
    if "*" in entry:
        return fnmatchcase(module, entry) or fnmatchcase(module, f"{entry}.*") or fnmatchcase(module, f"*.{entry}")
    return f".{entry}." in f".{module}."
