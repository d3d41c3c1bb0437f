"""Which unknown fields of a config.json may be passed over: the rule of docs/adding-models.md, in one place."""

from __future__ import annotations

import re
from collections.abc import Iterable

from roofline.errors import InputError
from roofline.specs.findings import input_error
from roofline.specs.hf.config import OFF, Config

_HARMLESS = re.compile(
    r"""^_                                      # comments and paths that tools leave behind
    | token_ids?$ | token_index$ | _placeholder$ | ^ignore_index$
    | dropout | _pdrop$ | _drop$ | initializer | ^init_ | ^rescale_ | jitter
    | _eps$ | _epsilon$ | ^eps$ | norm_topk_prob | softcapping | ^logits_ | ^logit_ | num_logits_to_keep
    | _loss | ^aux_ | ^seq_aux$ | loss_coef
    | ^rope_ | rope_(theta|scaling|interleave|parameters|freq) | ^rotary | partial_rotary | ^mrope | ^use_mrope$
    | (^|_)rope_local | ^max_rope | base_freq | original_max_position | initial_context_length
    | _act$ | ^act_ | ^hidden_act | ^activation(_function)?$ | _activation$ | activation_type | swiglu_ | ^gelu
    | ^(embedding|attention|residual)_multiplier$ | routed_scaling_factor | router_scaling_factor
    | scoring_func | router_activation
    | attn_implementation | attention_implementation | ^attn_scale$ | floor_scale | attn_temperature_tuning
    | query_pre_attn_scalar | attention_value_scale | residual_in_fp32 | in_fp32$ | moe_router_dtype
    | ^(max|min)_length$ | penalty$ | ^id2label$ | ^label2id$ | suppress_tokens$ | words_ids$ | no_repeat_ngram_size$
    | ^output_(attentions|hidden_states|router_logits|scores)$ | ^return_dict | ^tokenizer | ^task_ | ^problem_type$
    """,
    re.VERBOSE,
)
_HARMLESS_NAMES = """
    architectures auto_map model_type transformers_version use_cache torch_dtype dtype torchscript use_bfloat16 prefix
    name_or_path pretraining_tp slow_but_exact ep_size is_decoder is_encoder_decoder tie_encoder_decoder
    add_cross_attention finetuning_task do_sample early_stopping num_beams num_beam_groups num_return_sequences
    temperature top_k top_p typical_p remove_invalid_values summary_type summary_use_proj summary_activation
    summary_proj_to_labels summary_first_dropout scale_attn_weights scale_attn_by_inverse_layer_idx
    reorder_and_upcast_attn apply_residual_connection_post_layernorm masked_softmax_fusion skip_bias_add
    skip_bias_add_qkv attention_softmax_in_fp32 n_predict offset_alibi bias_dropout_fusion
    cache_implementation use_mamba_kernels time_step_floor time_step_limit time_step_max time_step_min time_step_rank
"""
_HARMLESS_SET = frozenset(_HARMLESS_NAMES.split())
_OF_WRAPPERS = re.compile(r"vision|visual|image|video|audio|media|multimodal|projector|^mm_|token|^use_unified")
_COULD_MATTER = re.compile(
    r"""layer | head | dim | hidden | inter | expert | moe | attn | attention | window | sliding | local | global
    | cache | state | ssm | conv | compress | quant | rank | lora | kv | mtp | nextn | draft | block | group | ffn
    | feed_forward | mlp | latent | shared? | chunk | sparse | index | norm | bias | embed | vocab | size | width
    | depth | num_ | ^n_ | mamba | linear | recur | hybrid | rout | gat(e|ing) | top_?k | pattern | memory | tie
    | parallel | interval | interleave | freq | hash | bits | positions?$
    """,
    re.VERBOSE,
)


def harmless(name: str, *, wrapper: bool = False) -> bool:
    """Whether a field of any family says nothing about shapes. `wrapper`: of the object around a text_config."""
    if wrapper and _OF_WRAPPERS.search(name):
        return True
    return name in _HARMLESS_SET or _HARMLESS.search(name) is not None


def could_matter(name: str) -> bool:
    """Whether a field's name hints at layers, heads, widths, experts, attention, windows, caches, states, formats."""
    return _COULD_MATTER.search(name) is not None


def refuse_unknown(config: Config, family: str, *, wrapper: bool = False) -> list[str]:
    """Refuse fields that nobody read and that could change the shape; return the names of the others.

    A field that is off (null, false, 0, empty) or `harmless` passes without a word.
    Raises `roofline.errors.InputError` with all refused fields.
    """
    passed, refused = [], []
    for name, value in config.unread().items():
        if harmless(name, wrapper=wrapper) or value in OFF:
            continue
        if could_matter(name):
            refused.append(config.finding(name, f"not understood for {family}; it could change the shape"))
        else:
            passed.append(name)
    if refused:
        raise input_error("", refused)
    return passed


def unknown_family(config: Config, given: str, field: str, known: Iterable[str]) -> InputError:
    """An `InputError` for an architecture that nobody can read."""
    hint = f"known: {', '.join(sorted(known))}; a model sheet of your own can describe others"
    return config.error(field, f"the family {given} is not known", hint)
