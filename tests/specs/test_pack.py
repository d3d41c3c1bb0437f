"""Sheets to records: peaks, efficiencies, bytes, and what `ideal` leaves out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import roofline as rl
from roofline.layout import KIT, NO_WINDOW, Attention, Limit, Topology
from roofline.specs.pack import Kit, pack, pack_deployments, pack_kit, pack_machine, pack_models, used_parts

GEMMS = ("attn", "ffn", "expert", "shared", "router", "head")
CORES = ("decode_core", "context_core")
ALL_BF16 = {
    "attention": "bf16", "dense_ffn": "bf16", "experts": "bf16", "shared_experts": "bf16", "lm_head": "bf16",
    "embedding": "bf16", "router": "bf16", "kv_cache": "bf16", "activations": "bf16", "collectives": "bf16",
    "dispatch": "bf16", "attention_math": "bf16",
}  # fmt: skip


def recipe(**parts: Any) -> rl.Recipe:
    """BF16 but for `parts`."""
    return rl.Recipe.load({"name": "made here", "description": "Made for one test.", "parts": ALL_BF16 | parts})


def part(name: str) -> rl.Accelerator:
    return rl.Accelerator.load(name)


def kit_of(accelerator: str, made: rl.Recipe, fidelity: Any = "kernel") -> tuple[Any, dict[str, Any]]:
    """(record, plans by kit field)"""
    kit = pack_kit(made, part(accelerator), fidelity)
    assert kit.record is not None
    return kit.record, {plan.kit_field: plan for plan in kit.plans}


@pytest.mark.parametrize(
    ("accelerator", "weights", "activations", "math", "native"),
    [
        ("h100-sxm", "bf16", "bf16", "bf16", "bf16"),
        ("h100-sxm", "fp8", "fp8", "fp8", "fp8"),
        ("h100-sxm", "fp8_block", "fp8_block", "fp8", "fp8"),
        ("h100-sxm", "nvfp4", "nvfp4", "fp8", "fp4"),  # no FP4 arithmetic: weights widened
        ("h100-sxm", "mxfp4", "bf16", "bf16", "bf16"),  # wide activations ask for wide arithmetic
        ("h100-sxm", "int8", "int8", "int8", "int8"),
        ("h100-sxm", "int4", "bf16", "bf16", "bf16"),
        ("b300-hgx", "nvfp4", "nvfp4", "fp4", "fp4"),
        ("b300-hgx", "int8", "int8", "bf16", "int8"),  # its INT8 is slower than its BF16
        ("a100-80-sxm", "fp8", "fp8", "bf16", "fp8"),
        ("a100-80-sxm", "int8", "int8", "int8", "int8"),
        ("l40s", "nvfp4", "bf16", "bf16", "bf16"),
    ],
)
def test_arithmetic_of_a_product(accelerator: str, weights: str, activations: str, math: str, native: str) -> None:
    """That of the wider operand, or a faster wider one where the part lacks it; widening is flagged."""
    made = recipe(dense_ffn={"weights": weights, "activations": activations})
    record, plans = kit_of(accelerator, made)
    assert (plans["ffn"].math, plans["ffn"].native) == (math, native)
    assert plans["ffn"].weight_only == (math != native)
    assert record["ffn"]["flop_per_s"] == part(accelerator).dense_flop_per_s[math]
    assert plans["attn"].math == "bf16"
    kit = pack_kit(made, part(accelerator), "kernel")
    assert kit.is_native(frozenset({"ffn"})) == (math == native)
    assert kit.is_native(frozenset({"attn", "head"}))


def test_a_part_without_any_arithmetic_cannot_run() -> None:
    bare = part("h100-sxm").replace(dense_flop_per_s={"fp8": 1e15})
    kit = pack_kit(recipe(), bare, "kernel")
    assert kit == Kit(None, reason="NVIDIA H100 SXM5 80GB has no arithmetic for attention in bf16")
    assert not kit.is_native(frozenset({"attn"}))
    system = rl.System.load("dgx-h100").replace(accelerator__dense_flop_per_s={"fp8": 1e15})
    cell = rl.decode("llama-3.1-8b", system, "fp8", batch=1, context=1024)
    assert cell["limit"].item() == Limit.MATH_TYPE
    reason = r"Llama 3\.1 8B cannot run: NVIDIA H100 .* has no arithmetic for lm_head in bf16"
    with pytest.raises(rl.InputError, match=reason):
        rl.explain("llama-3.1-8b", system, "fp8", context=1024)


def test_attention_needs_its_arithmetic_too() -> None:
    eight_bits = {name: "fp8" for name in (*ALL_BF16,) if name not in ("attention_math", "kv_cache")}
    bare = part("h100-sxm").replace(dense_flop_per_s={"fp8": 1e15})
    kit = pack_kit(recipe(**eight_bits), bare, "kernel")
    assert kit.reason == "NVIDIA H100 SXM5 80GB has no arithmetic for attention in bf16"
    dense = frozenset({"attn", "ffn", "head"})
    kit = pack_kit(recipe(**eight_bits, attention_math="fp8"), bare, "kernel", dense)
    assert kit.record is not None
    assert kit.record["decode_core"]["flop_per_s"] == 1e15


def test_a_dense_model_needs_no_arithmetic_for_experts() -> None:
    eight = {"weights": "fp8", "activations": "fp8"}
    experts = recipe(experts=eight, shared_experts=eight)
    only_wide = part("h100-sxm").replace(dense_flop_per_s={"bf16": 1e15})
    dense, routed = (used_parts(rl.Model.load(name)) for name in ("llama-3.1-8b", "deepseek-v3"))
    assert dense == {"attn", "ffn", "head"}
    assert routed == {"attn", "ffn", "head", "expert", "router", "shared"}
    assert used_parts(rl.Model.load("mixtral-8x7b")) == {"attn", "head", "expert", "router"}
    kit = pack_kit(experts, only_wide, "kernel", dense)
    assert kit.is_native(dense)
    assert not kit.is_native(routed)
    narrow = part("h100-sxm").replace(dense_flop_per_s={"fp8": 1e15})
    fp8_dense = recipe(attention="fp8", lm_head="fp8", dense_ffn="fp8", activations="fp8", attention_math="fp8")
    assert pack_kit(fp8_dense, narrow, "kernel", dense).record is not None
    assert pack_kit(fp8_dense, narrow, "kernel", routed).record is None


@pytest.mark.parametrize(
    ("accelerator", "weights", "activations", "path"),
    [
        ("h100-sxm", "bf16", "bf16", "bf16"),
        ("h100-sxm", "fp8_block", "fp8_block", "fp8_block"),
        ("h100-sxm", "mxfp8", "mxfp8", "fp8_block"),
        ("h100-sxm", "nvfp4", "nvfp4", "fp8_block"),
        ("h100-sxm", "mxfp4", "mxfp4", "fp8_block"),
        ("h100-sxm", "fp16", "fp16", "bf16"),
        ("h100-sxm", "fp32", "fp32", "bf16"),
        ("h100-sxm", "int8", "int8", "fp8"),  # both operands: not the weight-only kernel of the sheet
        ("h100-sxm", "int4", "bf16", "bf16"),  # its sheet has no int4: as wide as its activations
        ("a100-80-sxm", "int4", "bf16", "int4"),
        ("a100-80-sxm", "int8", "bf16", "int8"),  # weight-only
        ("a100-80-sxm", "fp8", "fp8", "bf16"),
        ("b300-hgx", "nvfp4", "nvfp4", "nvfp4"),
        ("b300-hgx", "mxfp4", "mxfp4", "nvfp4"),
        ("b300-hgx", "mxfp4", "bf16", "bf16"),  # dequantised: the kernel is that of the activations
        ("b300-hgx", "int8", "int8", "fp8"),
    ],
)
def test_efficiencies_fall_back_to_the_nearest_format(
    accelerator: str, weights: str, activations: str, path: str
) -> None:
    record, plans = kit_of(accelerator, recipe(attention={"weights": weights, "activations": activations}))
    assert plans["attn"].efficiency_path == f"operations.gemm.{path}"
    entry = part(accelerator).efficiency.operations.gemm[path]  # type: ignore[index]
    for name in ("eta_compute", "eta_memory", "fixed_s"):
        assert record["attn"][name] == getattr(entry, name)


def test_a_table_of_one_format_serves_all() -> None:
    only = {"mxfp8": {"eta_compute": 0.5, "eta_memory": 0.6, "fixed_s": 1e-6}}
    accelerator = part("h100-sxm").replace(efficiency__operations__gemm=only)
    kit = pack_kit(rl.Recipe.load("fp8"), accelerator, "kernel")
    assert {plan.efficiency_path for plan in kit.plans if plan.kit_field in ("attn", "ffn", "head")} == {
        "operations.gemm.mxfp8"
    }


def test_attention_is_looked_up_by_its_cache_and_by_its_arithmetic() -> None:
    record, plans = kit_of("h100-sxm", rl.Recipe.load("fp8"))
    assert plans["decode_core"].efficiency_path == "operations.decode_attention.fp8"
    assert plans["context_core"].efficiency_path == "operations.context_attention.bf16"
    assert record["decode_core"]["flop_per_s"] == part("h100-sxm").dense_flop_per_s["bf16"]
    assert (record["decode_core"]["w_weight"], record["decode_core"]["w_act"]) == (1.0, 2.0)
    _, plans = kit_of("a100-80-sxm", rl.Recipe.load("fp8"))
    assert plans["decode_core"].efficiency_path == "operations.decode_attention.bf16"


@pytest.mark.parametrize(
    ("name", "weight", "activation"),
    [
        ("bf16", 2.0, 2.0),
        ("fp8", 1.0, 1.0),
        ("fp8_block", 1 + 4 / 16384, 1 + 4 / 128),
        ("mxfp8", 1.03125, 1.03125),
        ("int8", 1.0, 1.0),
        ("nvfp4", 0.5625, 0.5625),
        ("mxfp4", 0.53125, 0.53125),
        ("int4", 0.515625, 0.515625),
        ("fp32", 4.0, 4.0),
    ],
)
def test_bytes_per_element_with_their_scales(name: str, weight: float, activation: float) -> None:
    made = recipe(experts={"weights": name, "activations": name}, embedding=name, kv_cache=name, dispatch=name,
                  collectives=name)  # fmt: skip
    for fidelity in ("kernel", "ideal"):
        record, _ = kit_of("b300-hgx", made, fidelity)
        assert record["expert"]["w_weight"] == weight
        assert record["expert"]["w_act"] == (activation if fidelity == "kernel" else 0.0)
        assert record["expert"]["w_out"] == (2.0 if fidelity == "kernel" else 0.0)
        assert record["decode_core"]["w_weight"] == record["context_core"]["w_weight"] == weight
        assert record["w_embed"] == weight
        assert record["w_dispatch"] == record["w_reduce"] == activation
        assert record["w_combine"] == 2.0


def test_bare_formats_take_the_wider_activations() -> None:
    made = recipe(dense_ffn="nvfp4", activations="fp8")
    assert made.parts.dense_ffn.activations == "fp8"
    record, plans = kit_of("b300-hgx", made)
    assert (record["ffn"]["w_weight"], record["ffn"]["w_act"]) == (0.5625, 1.0)
    assert plans["ffn"].math == "fp8"


@pytest.mark.parametrize("name", ["bf16", "fp8-block", "nvfp4", "mxfp4", "int4"])
def test_ideal_is_a_bound(name: str) -> None:
    """Every share 1, no fixed time, no activations; the peaks and the weights of `kernel`."""
    ideal, _ = kit_of("b200-hgx", rl.Recipe.load(name), "ideal")
    kernel, _ = kit_of("b200-hgx", rl.Recipe.load(name), "kernel")
    for field in (*GEMMS, *CORES):
        one, other = ideal[field], kernel[field]
        assert (one["eta_compute"], one["eta_memory"], one["fixed_s"], one["w_act"], one["w_out"]) == (1, 1, 0, 0, 0)
        assert (one["flop_per_s"], one["w_weight"]) == (other["flop_per_s"], other["w_weight"])
        assert 0 < other["eta_compute"] <= 1
        assert 0 < other["eta_memory"] <= 1
        assert other["fixed_s"] > 0
    zero = ("w_expand", "w_hidden", "w_logit", "w_gather_logit", "w_permute", "elementwise_fixed_s", "fullest_rank")
    assert all(ideal[field] == 0 < kernel[field] for field in zero)
    assert ideal["elementwise_eta_memory"] == ideal["permute_eta_memory"] == ideal["expert_skew"] == 1.0
    assert (ideal["bound"], kernel["bound"]) == (1, 0)
    for field in ("w_embed", "w_reduce", "w_dispatch", "w_combine"):
        assert ideal[field] == kernel[field] > 0


def test_an_ideal_machine_has_no_fixed_times_and_all_its_memory() -> None:
    system = rl.System.load("dgx-h100")
    ideal, kernel = pack_machine(system, "ideal"), pack_machine(system, "kernel")
    times = [name for name in ideal.dtype.names if name.endswith("_s") and "per_s" not in name]
    assert times == [
        "up_hop_s", "out_hop_s", "one_shot_s", "two_shot_s", "gather_s", "exchange_s", "p2p_s", "out_s",
    ]  # fmt: skip
    shares = [name for name in ideal.dtype.names if name.startswith("eta_")]
    assert all(ideal[name] == 0.0 < kernel[name] for name in times)
    assert all(ideal[name] == 1.0 >= kernel[name] > 0 for name in shares)
    assert (ideal["memory_fraction"], ideal["reserve_bytes"]) == (1.0, 0.0)
    assert (kernel["memory_fraction"], kernel["reserve_bytes"]) == (0.9, 1e9)
    for name in set(ideal.dtype.names) - {*times, *shares, "memory_fraction", "reserve_bytes"}:
        assert ideal[name] == kernel[name], name
    assert (kernel["accelerators"], kernel["max_accelerators"], kernel["domain"]) == (8, 128, 8)
    assert (kernel["up_bytes_per_s"], kernel["out_bytes_per_s"]) == (450e9, 50e9)
    assert (kernel["mesh"], kernel["in_switch"]) == (Topology.SWITCHED, 1)
    assert (kernel["tdp_w"], kernel["idle_w"], kernel["power_a"], kernel["power_b"]) == (700, 74.9, 4.76, 0.602)
    assert pack_machine(rl.System.load("mi300x-8"), "kernel")["mesh"] == Topology.FULL_MESH


def test_no_network_outside_is_a_rate_of_zero() -> None:
    alone = rl.System.load("dgx-h100").replace(scale_out=None, max_systems=1)
    machine = pack_machine(alone, "kernel")
    assert (machine["out_bytes_per_s"], machine["out_hop_s"], machine["max_accelerators"]) == (0.0, 0.0, 8)
    faster = rl.System.load("dgx-h100").replace(scale_up__bytes_per_s=1e12)
    assert pack_machine(faster, "kernel")["up_bytes_per_s"] == 1e12


def test_layers_of_models() -> None:
    models = [rl.Model.load(name) for name in ("gpt-oss-120b", "deepseek-v3", "gemma-3-27b")]
    packed, layers = pack_models(models)
    assert packed["first_layer"].tolist() == [0, *packed["last_draft"][:-1].tolist()]
    assert packed["last_draft"][-1] == layers.size
    assert (packed["last_layer"] == packed["first_draft"]).all()
    assert (packed["last_draft"] - packed["first_draft"]).tolist() == [0, 1, 0]
    assert packed["draft_modules"].tolist() == [0, 1, 0]
    for record, model in zip(packed, models, strict=True):
        rows = layers[record["first_layer"] : record["last_layer"]]
        assert record["layers"] == rows["count"].sum() == model.layer_count
        assert (record["hidden"], record["vocab"], record["max_context"]) == (
            model.hidden, model.vocab, model.max_context,
        )  # fmt: skip
        for row, sheet in zip(rows, model.layers, strict=True):
            assert row["other_params"] == sheet.other_params(model.hidden)
    oss = layers[packed[0]["first_layer"] : packed[0]["last_layer"]]
    assert sorted(set(oss["window"].tolist())) == [128, NO_WINDOW]
    v3 = layers[packed[1]["first_layer"] : packed[1]["last_layer"]]
    assert v3["attention"].tolist() == [Attention.MLA] * 2
    assert v3["count"].tolist() == [3, 58]
    assert v3["ffn_inner"].tolist() == [18432, 0]
    moe = v3[1]
    assert (moe["experts"], moe["top_k"], moe["expert_inner"], moe["shared_inner"]) == (256, 8, 2048, 2048)
    assert (moe["expert_hidden"], moe["kv_lora"], moe["q_lora"]) == (7168, 512, 1536)
    assert (moe["qk_nope"], moe["qk_rope"], moe["v_head"], moe["window"]) == (128, 64, 128, NO_WINDOW)
    assert packed[1]["route_groups"] == 4
    assert (packed["tied"] == [model.tied_embeddings for model in models]).all()


def test_a_pack_holds_a_kit_for_each_pair_that_can_run() -> None:
    models = [rl.Model.load(name) for name in ("llama-3.1-8b", "mixtral-8x7b", "llama-3.1-70b")]
    wide = rl.System.load("dgx-h100").replace(accelerator__dense_flop_per_s={"fp8": 1e15})
    recipes = [recipe(), rl.Recipe.load("fp8")]
    packed = pack(models, [rl.System.load("dgx-h100"), wide], recipes, "kernel")
    assert packed.kits.dtype == KIT
    assert (packed.kit_index[:, 1] == -1).all()
    assert (packed.kit_index[:, 0] >= 0).all()
    assert (packed.kit_index[0] == packed.kit_index[2]).all()  # dense models share a kit
    assert len(set(packed.kit_index[:, 0].ravel().tolist())) == 4
    for key, kit in packed.plans.items():
        runs = packed.kit_index[key] >= 0
        assert runs == (kit.record is not None) == (not kit.reason)
        assert not runs or packed.kits[packed.kit_index[key]].tobytes() == kit.record.tobytes()  # type: ignore[union-attr]
    with pytest.raises(rl.InputError, match="fidelity 'serving': expected one of ideal, kernel"):
        pack(models, [wide], recipes, "serving")  # type: ignore[arg-type]
    nothing = pack(models, [wide], recipes, "kernel")
    assert (nothing.kit_index == -1).all()
    assert nothing.kits.size == 1  # kernels take no empty array


def test_deployments_in_the_order_of_their_fields() -> None:
    (record,) = pack_deployments([(1, 2, 3, 4, 5)])
    assert {name: int(record[name]) for name in record.dtype.names} == {
        "tp": 1, "pp": 2, "dp": 3, "ep": 4, "moe_tp": 5,
    }  # fmt: skip


def test_sheets_given_as_mappings_run() -> None:
    """A model, a system and a recipe of one's own, without a file; the same numbers as the sheet they copy."""
    model = {
        "name": "Mine", "hidden": 4096, "vocab": 128256, "tied_embeddings": False, "max_context": 131072,
        "recipes": ["bf16"],
        "layers": [{
            "count": 32, "attention": {"kind": "gqa", "heads": 32, "kv_heads": 8, "head_dim": 128},
            "ffn": {"matrices": 3, "inner": 14336},
        }],
    }  # fmt: skip
    system = {
        "name": "My box", "kind": "box", "accelerator": "h100-sxm", "accelerators": 4,
        "scale_up": {"domain": 4, "topology": "switched", "hop_s": 0.5e-6, "in_switch_reduction": True},
        "power": {
            "host_dc_w": {"host": 700}, "max_w": 5000,
            "psu": {"rated_w": 6000, "load": [0.5, 1.0], "efficiency": [0.96, 0.95]},
        },
        "cooling": "air", "facility": "air",
    }  # fmt: skip
    made = {"name": "My recipe", "description": "All in sixteen bits.", "parts": ALL_BF16}
    mine = rl.decode(model, system, made, tp=4, batch=[1, 64], context=4096)
    shipped = rl.decode("llama-3.1-8b", "dgx-h100", "bf16", tp=4, batch=[1, 64], context=4096)
    assert np.array_equal(mine["step_time"], shipped["step_time"])
    assert [mine[dim].item() for dim in ("model", "system", "recipe")] == ["mine", "my-box", "my-recipe"]
    assert mine["host_w"].item() == 700
    assert {"model/mine", "system/my-box", "recipe/my-recipe"} <= {
        pair.split("=")[0] for pair in mine.attrs["sheets"].split()
    }
    with pytest.raises(rl.InputError, match="kv_heads"):
        rl.decode(model | {"layers": [{"count": 1, "attention": {"kind": "gqa", "heads": 5, "kv_heads": 2,
                                                                "head_dim": 8}}]}, system, made)  # fmt: skip


def test_rows_of_every_kind_of_mixer() -> None:
    names = ("nemotron-h-56b", "qwen3-next-80b-a3b", "deepseek-v3.2", "llama-4-scout", "nemotron-3-super-120b-a12b")
    packed, layers = pack_models([rl.Model.load(name) for name in names])
    rows = [layers[record["first_layer"] : record["last_layer"]] for record in packed]
    mamba = rows[0][rows[0]["attention"] == Attention.LINEAR][0]
    assert (mamba["heads"], mamba["kv_heads"], mamba["head_dim"], mamba["v_head"]) == (256, 8, 256, 64)
    assert (mamba["gates"], mamba["conv"], mamba["state_flop"]) == (1, 4, 4)
    assert mamba["chunk_flop"] == 2 * 128 * (256 * 8 // 256 + 64)
    delta = rows[1][rows[1]["attention"] == Attention.LINEAR][0]
    assert (delta["heads"], delta["kv_heads"], delta["head_dim"], delta["v_head"]) == (32, 16, 128, 128)
    assert (delta["gates"], delta["state_flop"]) == (2, 6)
    gated = rows[1][rows[1]["attention"] == Attention.GQA][0]
    assert (gated["gated"], gated["head_dim"], gated["v_head"]) == (1, 256, 256)
    assert (rows[2]["selected"] == 2048).all()
    assert (rows[2]["index_heads"] == 64).all()
    assert (rows[2]["index_dim"] == 128).all()
    assert sorted({(int(row["window"]), int(row["chunked"])) for row in rows[3]}) == [(8192, 1), (NO_WINDOW, 0)]
    assert {int(row["expert_hidden"]) for row in rows[4] if row["experts"]} == {1024}
    assert packed["draft_modules"].tolist() == [0, 0, 1, 0, 1]


def test_parts_that_new_kinds_of_layers_need() -> None:
    needs = {name: used_parts(rl.Model.load(name)) for name in ("nemotron-h-56b", "deepseek-v3.2")}
    assert needs["nemotron-h-56b"] == {"attn", "ffn", "head", "scan"}
    assert needs["deepseek-v3.2"] == {"attn", "ffn", "head", "expert", "router", "shared", "index"}
    only_eight_bits = part("h100-sxm").replace(dense_flop_per_s={"fp8": 1e15})
    kit = pack_kit(
        recipe(
            **{name: "fp8" for name in ALL_BF16 if name not in ("attention_math", "kv_cache")}, attention_math="fp8"
        ),
        only_eight_bits,
        "kernel",
        frozenset({"attn", "head", "scan"}),
    )
    assert kit.reason == "NVIDIA H100 SXM5 80GB has no arithmetic for linear attention in bf16"


def test_formats_of_state_and_index() -> None:
    kits = {fidelity: pack_kit(recipe(), part("h100-sxm"), fidelity).record for fidelity in ("ideal", "kernel")}
    for kit in kits.values():
        assert kit["scan"]["w_weight"] == 4.0
        assert kit["index"]["w_weight"] == 1 + 4 / 128
        assert kit["index"]["flop_per_s"] == 1978.9e12
        assert kit["w_conv"] == 2.0
    assert [kits["ideal"][name] for name in ("w_score", "chunk_work", "top_k_fixed_s", "top_k_eta_memory")] == [
        0,
        0,
        0,
        1,
    ]
    assert kits["kernel"]["w_score"] == 4.0
    assert kits["kernel"]["top_k_fixed_s"] > 0
