"""What rows mean: cases of every kind, and a reason for every row that is none."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from roofline.specs import Model
from roofline.validation import names, sources
from roofline.validation.conditions import Case, Pool, case_of
from roofline.validation.measured import Point, read
from roofline.validation.predict import predict

POINTS = read(Path(__file__).parents[1] / "data" / "measured_points.csv").points


def first(source: str, **fields: object) -> Point:
    """The first row of a source whose fields are these."""
    for point in POINTS:
        if point.source == source and all(getattr(point, name) == value for name, value in fields.items()):
            return point
    raise AssertionError(f"no row of {source} with {fields}")


def case(point: Point) -> Case:
    """Its case."""
    found = case_of(point)
    assert isinstance(found, Case), found
    return found


def test_a_closed_loop_has_mean_lengths_nine_tenths_of_the_nominal() -> None:
    point = first("aiconfigurator_silicon_sample", model="Llama-3.1-70B", framework="vLLM")
    found = case(point)
    assert found.kind == "closed"
    assert found.load == point.concurrency_or_batch
    assert (found.isl, found.osl, found.spread) == (0.9 * point.isl, 0.9 * point.osl, 0.2)  # type: ignore[operator]
    assert found.pool.degrees == (int(point.tp), 1, 1, 1, int(point.tp))  # type: ignore[arg-type]
    assert (found.ttft, found.tpot) == ("mean", "mean")
    assert found.requests == 10 * found.load


def test_the_fixture_has_medians_and_its_ranks_share_the_group() -> None:
    point = first("inferencex_fixture", dp=8.0)
    found = case(point)
    assert (found.ttft, found.tpot) == ("median", "median")
    assert point.tp == 8
    assert found.pool.degrees == (1, 1, 8, 8, 1)
    assert found.accelerators == point.num_gpus


def test_speculative_rows_have_drafts_with_an_acceptance_for_each() -> None:
    point = next(p for p in POINTS if "spec=mtp" in p.notes and p.source == "inferencex_fixture")
    found = case(point)
    assert found.drafts == len(found.acceptance) == sources.MTP_DRAFTS[found.framework]
    assert all(later < sooner for sooner, later in zip(found.acceptance, found.acceptance[1:], strict=False))


def test_two_pools_come_from_columns_or_from_notes() -> None:
    listed = case(first("aiconfigurator_silicon_sample", disagg=1.0, model="DeepSeek-V3"))
    assert listed.kind == "apart"
    assert listed.prompt_pool is not None
    noted = case(next(p for p in POINTS if "decode 16 GPUs (x2)" in p.notes))
    assert noted.pool.replicas == 2
    assert noted.pool.group == 8
    assert noted.prompt_pool is not None
    assert noted.prompt_pool.degrees == (8, 1, 1, 1, 8)
    assert noted.energy == "decode"
    assert noted.accelerators == 24


def test_static_batches_say_what_their_rate_counts() -> None:
    assert case(first("splitwise_perf_model", gpu="H100")).counts == "decode"
    assert case(first("trtllm_docs_v0.9_static")).counts == "run"


def test_queues_fill_memory_and_are_of_the_documented_size() -> None:
    found = case(first("trtllm_docs_v0.17"))
    assert found.kind == "offline"
    assert math.isinf(found.load)
    assert found.memory_fraction == sources.OFFLINE_FRACTION
    assert found.requests == sources.REQUESTS[int(found.isl), int(found.osl)]


def test_models_with_experts_ran_attention_data_parallel_in_one_source() -> None:
    point = first("trtllm_docs_v1.0", model="Llama-4-Maverick")
    assert point.tp == 8
    assert case(point).pool.degrees == (1, 1, 8, 8, 1)


def test_arrivals_are_those_that_came_and_all_at_once_is_a_queue() -> None:
    found = case(first("trtllm_docs_online_v0.14", model="Llama-3.1-8B"))
    assert (found.kind, found.load) == ("open", 4.0)
    assert case(first("trtllm_docs_online_v0.14", model="Llama-3.1-70B")).kind == "offline"


def test_prompts_alone_fill_each_accelerator() -> None:
    found = case(first("lmsys_large_scale_ep_h100", total_tok_s=201208.0))
    assert found.kind == "prompts"
    assert found.load * found.isl == 32 * sources.DEEPEP_TOKENS


@pytest.mark.parametrize(
    ("source", "fields", "reason"),
    [
        ("aiconfigurator_silicon_sample", {"model": "DeepSeek-R1-0528"}, "number of prefill and decode workers"),
        ("deepseek_open_infra_day6", {}, "average over a day of production"),
        ("mlperf_inference_v5.1", {}, "rate of arrivals is not stated"),
        ("mlenergy_leaderboard_v3", {"model": "Qwen3-Coder-30B-A3B-Instruct"}, "prompts of sourcegraph-fim"),
        ("inferencex_experimental_token_position", {}, "holds prompts of other requests"),
        ("inferencex_blog", {"model": "DeepSeek-V4-Pro"}, "no sheet of the model DeepSeek-V4-Pro"),
        ("splitwise_perf_model", {"gpu": "H100-powercapped"}, "derived by its source"),
    ],
)
def test_rows_that_are_not_predicted_have_their_reason(source: str, fields: dict[str, object], reason: str) -> None:
    found = case_of(first(source, **fields))
    assert isinstance(found, str)
    assert reason in found


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"concurrency_or_batch": None}, "concurrency_or_batch is not stated"),
        ({"isl": None}, "isl is not stated"),
        ({"num_gpus": None}, "num_gpus is not stated"),
        ({"tp": 2.0, "num_gpus": 8.0}, "tp = 2 and pp = 1 do not make num_gpus = 8"),
        ({"dp": 3.0, "num_gpus": 8.0}, "dp = 3 and pp = 1 do not divide num_gpus = 8"),
        ({"tp": 1.5}, "tp = 1.5 is no whole number"),
        ({"weight_dtype": "fp3"}, "no recipe for weights in fp3"),
        ({"gpu": "Abacus"}, "no sheet of the accelerator Abacus"),
        ({"disagg": 1.0}, "layout of the prefill and decode pools"),
    ],
)
def test_what_a_row_lacks_is_its_reason(changes: dict[str, object], reason: str) -> None:
    point = replace(first("aiconfigurator_silicon_sample", model="Llama-3.1-70B"), **changes)  # type: ignore[arg-type]
    found = case_of(point)
    assert isinstance(found, str)
    assert reason in found


def mlperf(**changes: object) -> Point:
    """An Offline row of MLPerf."""
    point = first("mlperf_inference_v5.1", model="Llama-3.1-8B")
    return replace(point, metric_kind="offline_throughput", ttft_ms=None, tpot_ms=None, **changes)  # type: ignore[arg-type]


def test_offline_rows_of_mlperf_have_the_lengths_of_their_data_sets() -> None:
    found = case(mlperf())
    assert (found.kind, found.isl, found.osl) == ("offline", *sources.DATA_SETS["Llama-3.1-8B"])
    assert math.isinf(found.load)
    assert found.pool == Pool((1, 1, 1, 1, 1), 8)
    assert case(mlperf(model="LLaMA-2-70B", osl=290.0)).osl == 290.0
    assert "osl is not stated" in str(case_of(mlperf(model="LLaMA-2-70B")))


@pytest.mark.parametrize(
    ("changes", "pool", "recipe", "accelerator"),
    [
        ({"gpu": "H100"}, Pool((2, 1, 1, 1, 2), 4), "fp8", "h100-sxm"),
        ({"gpu": "H200"}, Pool((1, 1, 1, 1, 1), 8), "fp8", "h200-sxm"),
        ({"gpu": "B200"}, Pool((1, 1, 1, 1, 1), 8), "nvfp4", "b200-hgx"),
        ({"gpu": "GH200", "num_gpus": 1.0, "notes": "GH200 144GB"}, Pool((1, 1, 1, 1, 1), 1), "fp8", "gh200-144"),
        ({"gpu": "MI355X", "num_gpus": 87.0, "weight_dtype": "fp4"}, Pool((1,) * 5, 87), "mxfp4-linear", "mi355x"),
    ],
)
def test_replicas_of_mlperf_rows_hold_weights_with_as_much_room(
    changes: dict[str, object], pool: Pool, recipe: str, accelerator: str
) -> None:
    found = case(mlperf(**{"model": "LLaMA-2-70B", "osl": 290.0, "weight_dtype": "", **changes}))
    assert (found.pool, found.recipe.id, found.system.accelerator.id) == (pool, recipe, accelerator)


def test_experts_of_mlperf_rows_are_parallel_over_eight() -> None:
    found = case(mlperf(model="DeepSeek-R1", gpu="GB300", num_gpus=72.0, osl=3700.0))
    assert found.pool == Pool((1, 1, 8, 8, 1), 9)
    assert "no multiple of the 8" in str(case_of(mlperf(model="DeepSeek-R1", num_gpus=87.0, osl=3700.0)))


def test_a_data_set_whose_prompts_are_unknown_is_not_guessed() -> None:
    assert "data set for Falcon-40B" in str(case_of(mlperf(model="Falcon-40B", weight_dtype="bf16")))


def test_a_dual_card_is_two_accelerators() -> None:
    point = first("mlperf_inference_v6.0", gpu="MS-Intel Arc Pro B60 Dual 48G Turbo")
    found = case(point)
    assert point.num_gpus == 4
    assert found.accelerators == 8
    assert (found.system.accelerator.id, found.recipe.id) == ("arc-pro-b60", "int8")


def test_a_context_that_was_measured_is_allowed() -> None:
    point = first("splitwise_perf_model", gpu="H100")
    found = case(replace(point, isl=8192.0))
    assert found.isl + found.osl > Model.load("llama-2-70b").max_context
    assert found.model.max_context >= found.isl + found.osl
    assert "fit" not in predict([found]).reason[0]
    assert predict([found]).tpot_s[0] > predict([case(point)]).tpot_s[0]


def test_degrees_that_are_sums_over_workers_are_taken_apart() -> None:
    point = first("inferencex_blog", num_gpus=44.0)
    notes = "spec=mtp; prefill [12 GPU, TP=12] decode [32 GPU, EP=8]"
    found = case(replace(point, notes=notes))
    assert found.prompt_pool == Pool((4, 1, 1, 1, 4), 3)
    assert found.pool == Pool((8, 1, 1, 8, 1), 4)
    assert case(point).prompt_pool == Pool((4, 1, 1, 1, 4), 1)


def test_chats_are_free_in_length_and_their_batch_fitted() -> None:
    found = case(first("mlenergy_leaderboard_v3"))
    assert (found.kind, found.spread, found.memory_fraction) == ("steady", sources.FREE_SPREAD, 1.0)
    assert found.isl == sources.TASK_ISL["lm-arena-chat"]


@pytest.mark.parametrize(
    ("name", "sheet"),
    [
        ("Qwen3-Coder-30B-A3B-Instruct", "qwen3-30b-a3b-2507"),
        ("Qwen3-30B-A3B-Instruct-2507", "qwen3-30b-a3b-2507"),
        ("Qwen3-235B-A22B-Thinking-2507-FP8", "qwen3-235b-a22b-2507"),
        ("GPT-J-6B", "gpt-j-6b"),
        ("MiniMaxAI/MiniMax-M2.5", "minimax-m2"),
        ("GLM-5-FP8", "glm-5"),
        ("nvidia/Llama-3.3-70B-Instruct-FP4", "llama-3.3-70b"),
    ],
)
def test_names_of_models_are_sheets(name: str, sheet: str) -> None:
    found = names.model(name)
    assert found is not None
    assert found.id == sheet


def test_expert_parallelism_must_divide_its_stage() -> None:
    found = case_of(replace(first("aiconfigurator_silicon_sample", model="DeepSeek-V3"), ep=3.0))
    assert isinstance(found, str)
    assert "ep = 3 does not divide" in found


def test_an_unknown_source_is_read_by_its_kind() -> None:
    point = replace(
        first("aiconfigurator_silicon_sample", model="Llama-3.1-70B"), source="mine", output_tok_s_total=1.0
    )
    kinds = {kind: case(replace(point, metric_kind=kind)).kind for kind in ("offline_throughput", "steady_decode")}
    assert kinds == {"offline_throughput": "offline", "steady_decode": "static"}
    found = case(replace(point, metric_kind="online_serving"))
    assert (found.kind, found.spread, found.isl, found.requests) == ("closed", 0.0, point.isl, None)


@pytest.mark.parametrize(
    ("name", "family", "stack"),
    [
        ("TensorRT-LLM", "trtllm", "trtllm"),
        ("dynamo-trt", "trtllm", "trtllm"),
        ("mori-sglang", "sglang", "sglang"),
        ("PyTorch vLLM", "vllm", "vllm"),
        ("atom", "atom", "sglang"),
        ("", "other", "default"),
    ],
)
def test_servers_belong_to_families(name: str, family: str, stack: str) -> None:
    assert names.framework(name) == names.Framework(family, stack)


def test_formats_are_recipes_by_model_and_part() -> None:
    llama, deepseek = names.model("Llama-3.1-70B"), names.model("DeepSeek-R1-0528")
    assert llama is not None
    assert deepseek is not None
    assert names.recipe(llama, "fp8", "", "hopper", "vllm") == "fp8"
    assert names.recipe(deepseek, "fp8", "", "hopper", "sglang") == "fp8-block"
    assert names.recipe(deepseek, "fp8", "", "hopper", "trtllm") == "fp8-block-kv8"
    assert names.recipe(deepseek, "fp4", "", "blackwell", "trtllm") == "nvfp4-experts"
    assert str(names.recipe(deepseek, "fp4", "", "cdna4", "sglang")).startswith("mxfp4")
    assert names.recipe(llama, "fp16", "", "ampere", "trtllm") == "bf16"


def test_every_system_that_is_named_has_a_sheet() -> None:
    for gpu in names._SYSTEMS:
        found = names.system(gpu)
        assert found is not None
        assert found[1] in names.GENERATIONS
