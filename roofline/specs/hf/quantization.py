"""quantization_config -> which part of the model is in which format: what a recipe of ours must say to be the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from roofline.specs.formats import Format
from roofline.specs.hf.config import OFF, Config

ADVICE = "take quantization_config out to load the shape in BF16, and name a recipe of your own with --recipe"

_KNOWN_NAMES = """
    quant_method quant_algo activation_scheme weight_block_size fmt scale_fmt modules_to_not_convert ignored_layers
    ignore exclude_modules config_groups format kv_cache_scheme kv_cache_quant_algo quantization_status producer
    global_compression_ratio bits group_size desc_act sym damp_percent static_groups true_sequential checkpoint_format
    model_name_or_path model_file_base_name lm_head dynamic zero_point version backend do_fuse exllama_config
    fuse_max_seq_len modules_to_fuse meta quantizer pack_dtype use_exllama targets is_marlin_format
"""
_KNOWN = frozenset(_KNOWN_NAMES.split())


@dataclass(frozen=True, slots=True)
class Quantization:
    """Formats of the quantised linear layers and of the KV cache, and the modules that keep BF16."""

    weights: Format
    activations: Format
    kv_cache: Format
    kept: tuple[str, ...]
    lm_head: bool = False  # whether it is quantised too
    experts_only: bool = False


def read_quantization(config: Config) -> Quantization:
    """What a quantization_config says. Raises `roofline.errors.InputError` for a scheme that is not understood."""
    for name in config.data:
        if name not in _KNOWN and config.has(name):
            raise config.error(name, "not understood", ADVICE)
    method = config.word("quant_method").lower()
    if "quant_algo" in config.data or method == "modelopt":
        return _modelopt(config)
    if method == "fp8":
        return _fp8(config)
    if method == "mxfp4":
        return Quantization("mxfp4", "bf16", "bf16", _names(config, "modules_to_not_convert"), experts_only=True)
    if method == "compressed-tensors":
        return _compressed_tensors(config)
    if method in ("awq", "gptq"):
        return _weights_only(config)
    known = "known: fp8, mxfp4, compressed-tensors, modelopt, awq, gptq"
    raise config.error("quant_method", "not understood", f"{known}; {ADVICE}")


def _fp8(config: Config) -> Quantization:
    kept = _names(config, "modules_to_not_convert", "ignored_layers")
    config.must("activation_scheme", "dynamic", "static")
    block = config.items("weight_block_size")
    if block is None:
        return Quantization("fp8", "fp8", "bf16", kept)
    if block != [128, 128]:
        raise config.error("weight_block_size", "only [128, 128] is understood", ADVICE)
    return Quantization("fp8_block", "fp8_block", "bf16", kept)


def _weights_only(config: Config) -> Quantization:
    """AWQ and GPTQ: weights only, in groups."""
    bits, group = config.count("bits"), config.count("group_size", default=-1, least=-1)
    formats: dict[tuple[int, int], Format] = {(4, 128): "int4", (4, 32): "int4_g32", (8, -1): "int8"}
    if (bits, group) not in formats:
        hint = f"known: 4 bits by 128 or 32, 8 bits by channel; {ADVICE}"
        raise config.error("bits", f"with group_size = {group} is not understood", hint)
    config.off("lm_head", why=f"a quantised lm_head is not understood; {ADVICE}")
    if config.has("dynamic"):  # GPTQ's exceptions by pattern
        raise config.error("dynamic", "exceptions by module are not understood", ADVICE)
    return Quantization(formats[bits, group], "bf16", "bf16", _names(config, "modules_to_not_convert"))


def _modelopt(config: Config) -> Quantization:
    formats: dict[str, tuple[Format, Format]] = {"FP8": ("fp8", "fp8"), "NVFP4": ("nvfp4", "nvfp4")}
    algorithm = config.word("quant_algo").upper()
    if algorithm not in formats:
        raise config.error("quant_algo", "not understood", f"known: {', '.join(formats)}; {ADVICE}")
    kept = _names(config, "ignore", "exclude_modules")
    scheme = "kv_cache_scheme" if config.has("kv_cache_scheme") else "kv_cache_quant_algo"
    return Quantization(*formats[algorithm], _kv_cache(config, scheme), kept, lm_head=not _mentions(kept, "lm_head"))


def _compressed_tensors(config: Config) -> Quantization:
    groups = config.data.get("config_groups")
    if not isinstance(groups, Mapping) or len(groups) != 1:
        raise config.error("config_groups", "only one group is understood", ADVICE)
    group = next(iter(groups.values()))
    targets = group.get("targets", ["Linear"])
    if targets != ["Linear"]:
        raise config.error("config_groups", f"targets = {targets} is not understood", ADVICE, value="")
    if group.get("output_activations") not in OFF:
        raise config.error("config_groups", "output_activations are not understood", ADVICE, value="")
    weights, inputs = _tensor(config, group.get("weights")), _tensor(config, group.get("input_activations"))
    kept = _names(config, "ignore")
    kv_cache = _kv_cache(config, "kv_cache_scheme")
    return Quantization(weights, inputs, kv_cache, kept, lm_head=not _mentions(kept, "lm_head"))


def _tensor(config: Config, given: Any) -> Format:
    """Format of the weights or activations of a group of compressed-tensors; BF16 where there is none."""
    if given is None:
        return "bf16"
    bits, kind, strategy = given.get("num_bits"), given.get("type", "int"), given.get("strategy", "tensor")
    group = given.get("group_size")
    match kind, bits, strategy:
        case "float", 8, "tensor" | "channel" | "token":
            return "fp8"
        case "float", 8, "block" if given.get("block_structure") == [128, 128]:
            return "fp8_block"
        case "float", 8, "group" if group == 128:
            return "fp8_block"
        case "int", 8, "tensor" | "channel" | "token":
            return "int8"
        case "int", 4, "group" if group == 128:
            return "int4"
        case "int", 4, "group" if group == 32:
            return "int4_g32"
        case "float", 4, "group" | "tensor_group" if group == 16:
            return "nvfp4"
        case "float", 4, "group" if group == 32:
            return "mxfp4"
    problem = f"{kind} of {bits} bits by {strategy} (group_size {group}) is not understood"
    raise config.error("config_groups", problem, ADVICE, value="")


def _kv_cache(config: Config, name: str) -> Format:
    given = config.data.get(name)
    config.ignore(name)
    if given in OFF:
        return "bf16"
    if isinstance(given, Mapping) and given.get("num_bits") == 8 and given.get("type", "float") == "float":
        return "fp8"
    if isinstance(given, str) and given.upper() == "FP8":
        return "fp8"
    raise config.error(name, "only FP8 is understood", ADVICE)


def _names(config: Config, *fields: str) -> tuple[str, ...]:
    found: list[str] = []
    for field in fields:
        for name in config.items(field) or []:
            if not isinstance(name, str):
                raise config.error(field, f"expected names of modules, found {name!r}", value="")
            found.append(name)
    return tuple(found)


def _mentions(kept: tuple[str, ...], module: str) -> bool:
    return any(module in name for name in kept)
