"""Which reader takes which config.json: by `model_type`, checked against `architectures`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from roofline.specs.hf import classic, dense, gemma, hybrid, mla, moe
from roofline.specs.hf.config import Config
from roofline.specs.hf.fields import unknown_family
from roofline.specs.hf.rows import Shape

Reader = Callable[[Config], Shape]


@dataclass(frozen=True, slots=True)
class Family:
    """A `model_type`: its reader, and the classes whose shape that reader knows."""

    read: Reader
    architectures: tuple[str, ...]


def _family(read: Reader, *architectures: str) -> Family:
    return Family(read, tuple(f"{name}ForCausalLM" if "For" not in name else name for name in architectures))


FAMILIES: dict[str, Family] = {
    "llama": _family(dense.llama, "Llama"),
    "mistral": _family(dense.mistral, "Mistral"),
    "granite": _family(dense.granite, "Granite"),
    "phi3": _family(dense.phi3, "Phi3"),
    "qwen2": _family(dense.qwen2, "Qwen2"),
    "qwen3": _family(dense.qwen3, "Qwen3"),
    "qwen3_vl_text": _family(dense.qwen3, "Qwen3VLForConditionalGeneration"),
    "glm4": _family(dense.glm4, "Glm4"),
    "olmo2": _family(dense.olmo2, "Olmo2"),
    "cohere": _family(dense.cohere, "Cohere"),
    "internlm2": _family(dense.internlm2, "InternLM2"),
    "mimo": _family(dense.mimo, "MiMo"),
    "nemotron-nas": _family(dense.nemotron_nas, "DeciLM"),
    "gpt2": Family(classic.gpt2, ("GPT2LMHeadModel",)),
    "gptj": _family(classic.gptj, "GPTJ"),
    "gpt_neox": _family(classic.gpt_neox, "GPTNeoX"),
    "opt": _family(classic.opt, "OPT"),
    "bloom": _family(classic.bloom, "Bloom"),
    "falcon": _family(classic.falcon, "Falcon"),
    "starcoder2": _family(classic.starcoder2, "Starcoder2"),
    "gemma": _family(gemma.gemma, "Gemma"),
    "gemma2": _family(gemma.gemma2, "Gemma2"),
    "gemma3_text": _family(gemma.gemma3, "Gemma3", "Gemma3ForConditionalGeneration"),
    "gemma4_text": _family(gemma.gemma4, "Gemma4", "Gemma4ForConditionalGeneration"),
    "mixtral": _family(moe.mixtral, "Mixtral"),
    "qwen2_moe": _family(moe.qwen2_moe, "Qwen2Moe"),
    "qwen3_moe": _family(moe.qwen3_moe, "Qwen3Moe"),
    "qwen3_vl_moe_text": _family(moe.qwen3_moe, "Qwen3VLMoeForConditionalGeneration"),
    "glm4_moe": _family(moe.glm4_moe, "Glm4Moe"),
    "minimax_m2": _family(moe.minimax_m2, "MiniMaxM2"),
    "gpt_oss": _family(moe.gpt_oss, "GptOss"),
    "llama4_text": _family(moe.llama4, "Llama4", "Llama4ForConditionalGeneration"),
    "mimo_v2_flash": _family(moe.mimo_v2_flash, "MiMoV2Flash"),
    "deepseek_v2": _family(mla.deepseek_v2, "DeepseekV2"),
    "deepseek_v3": _family(mla.deepseek_v3, "DeepseekV3"),
    "deepseek_v32": _family(mla.deepseek_v32, "DeepseekV32"),
    "kimi_k2": _family(mla.deepseek_v3, "DeepseekV3"),
    "glm_moe_dsa": _family(mla.glm_moe_dsa, "GlmMoeDsa"),
    "qwen3_next": _family(hybrid.qwen3_next, "Qwen3Next"),
    "qwen3_5_text": _family(hybrid.qwen3_5, "Qwen3_5", "Qwen3_5ForConditionalGeneration"),
    "qwen3_5_moe_text": _family(hybrid.qwen3_5_moe, "Qwen3_5Moe", "Qwen3_5MoeForConditionalGeneration"),
    "nemotron_h": _family(hybrid.nemotron_h, "NemotronH"),
}

WRAPPERS: dict[str, tuple[str, ...]] = {
    "mistral3": ("mistral",),
    "gemma3": ("gemma3_text",),
    "gemma4": ("gemma4_text",),
    "llama4": ("llama4_text",),
    "qwen3_vl": ("qwen3_vl_text",),
    "qwen3_vl_moe": ("qwen3_vl_moe_text",),
    "qwen3_5": ("qwen3_5_text",),
    "qwen3_5_moe": ("qwen3_5_moe_text",),
    "kimi_k25": ("kimi_k2",),
}
"""`model_type` of models with towers for pictures or sound -> that of the text model inside, under text_config."""

NOT_DESCRIBED: dict[str, tuple[tuple[str, ...], str]] = {
    "deepseek_v4": (("compress_ratios", "hc_mult", "o_groups"), "compressed caches and several residual streams"),
    "deepseek_ref": (("compress_ratios", "hc_mult", "o_groups"), "compressed caches and several residual streams"),
    "kimi_k3": (("linear_attn_config",), "Kimi delta attention"),
    "kimi_linear": (("linear_attn_config",), "Kimi delta attention"),
    "minimax_m3": (("sparse_attention_config",), "attention over selected blocks"),
    "step3p7": (("layer_types",), "layers with a window have heads and gates that this file does not list"),
}
"""Families that are known not to be described: the fields that say so, in the order of preference, and what of."""


def family_of(config: Config) -> tuple[str, Family]:
    """`model_type` and family of a text model.

    Raises `roofline.errors.InputError` for a family that is not known, or known not to be described.
    """
    kind = config.word("model_type")
    named = [str(name) for name in config.items("architectures") or []]
    if not kind and named:
        kind = next((key for key, one in FAMILIES.items() if named[0] in one.architectures), "")
        if not kind:
            raise unknown_family(config, named[0], "architectures", FAMILIES)
    refuse_not_described(config, kind)
    if kind not in FAMILIES:
        if not kind:
            raise config.error("model_type", "missing, and so is architectures", "is this a model's config.json?")
        raise unknown_family(config, kind, "model_type", FAMILIES)
    family = FAMILIES[kind]
    for name in named:
        if name not in family.architectures:
            hint = f"known for {kind}: {', '.join(family.architectures)}"
            raise config.error("architectures", f"the class {name} is not known", hint)
    return kind, family


def refuse_not_described(config: Config, kind: str) -> None:
    """Refuse a family that is known to have something that a sheet cannot describe, naming the field that has it."""
    if kind not in NOT_DESCRIBED:
        return
    fields, what = NOT_DESCRIBED[kind]
    inner = config.data.get("text_config")
    if isinstance(inner, dict) and any(name in inner for name in fields):
        config = config.child("text_config")
    field = next((name for name in fields if name in config.data), "model_type")
    raise config.error(field, f"{kind} is not described by a sheet: {what}")
