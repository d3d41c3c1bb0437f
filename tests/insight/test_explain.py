"""An explanation adds up to the cell it explains, names its sources, and says what would fit."""

from __future__ import annotations

from collections.abc import Iterator
from math import isnan
from typing import Any

import pytest

import roofline as rl
from roofline.insight import Explanation
from roofline.layout import OPERATION_COMPONENT, Component, Operation
from roofline.specs import list_specs

CASES: dict[str, tuple[str, str, str, dict[str, int]]] = {
    "gqa": ("llama-3.1-70b", "dgx-h100", "bf16", {"tp": 8}),
    "gqa fp8": ("llama-3.1-8b", "dgx-h200", "fp8", {}),
    "windows": ("gemma-3-27b", "dgx-h100", "bf16", {"tp": 4}),
    "windows and experts": ("gpt-oss-120b", "dgx-b200", "mxfp4", {"tp": 2}),
    "experts": ("mixtral-8x7b", "dgx-h100", "fp8", {"tp": 4}),
    "experts spread": ("qwen3-235b-a22b", "dgx-b200", "nvfp4", {"dp": 8, "ep": 8}),
    "latent": ("deepseek-v3", "dgx-h200", "fp8-block", {"tp": 8}),
    "latent, spread": ("deepseek-r1", "gb300-nvl72", "nvfp4-experts", {"dp": 16, "ep": 16}),
    "latent, sliced and spread": ("deepseek-v3", "dgx-b200", "fp8-block", {"tp": 2, "dp": 4, "ep": 4}),
    "gathered experts": ("mixtral-8x7b", "mi300x-8", "bf16", {"tp": 2, "dp": 2}),
    "across boxes": ("deepseek-v3", "dgx-h100", "fp8-block", {"dp": 32, "ep": 32}),
}
PASSES: dict[str, dict[str, int]] = {
    "decode": {"batch": 37, "context": 3000},
    "decode of one": {"batch": 1, "context": 20_000},
    "a draft": {"batch": 8, "context": 5000, "new_tokens": 4},
    "prefill": {"batch": 2, "isl": 2500},
}


@pytest.fixture(params=[(case, work) for case in CASES for work in PASSES], ids=lambda p: f"{p[0]}, {p[1]}")
def found(request: pytest.FixtureRequest) -> Explanation:
    case, work = request.param
    model, system, recipe, degrees = CASES[case]
    return rl.explain(model, system, recipe, **degrees, **PASSES[work])


def time_of(found: Explanation) -> float:
    return found.cell["step_time" if "step_time" in found.cell else "prefill_time"].item()


def test_operations_add_up_to_the_time_and_its_components(found: Explanation) -> None:
    assert sum(row.total_s for row in found.operations) == pytest.approx(time_of(found), rel=1e-12)
    assert found.totals["time_s"] == time_of(found)
    assert found.totals["sum_of_operations_s"] == pytest.approx(time_of(found), rel=1e-12)
    for component in Component:
        name = component.name.lower()
        total = sum(row.total_s for row in found.operations if row.component == name)
        assert total == pytest.approx(found.cell["component_time"].sel(component=name).item(), rel=1e-11, abs=1e-15)


def test_work_adds_up_to_mfu_and_mbu(found: Explanation) -> None:
    busy = sum(row.count * row.flop / row.peak_flop_per_s for row in found.operations if row.math)
    assert busy / time_of(found) == pytest.approx(found.cell["mfu"].item(), rel=1e-12)
    moved = sum(row.count * row.bytes for row in found.operations)
    assert moved / found.bytes_per_s / time_of(found) == pytest.approx(found.cell["mbu"].item(), rel=1e-12)
    assert found.totals["bytes"] == pytest.approx(moved, rel=1e-14)
    assert found.totals["flop"] == pytest.approx(sum(row.count * row.flop for row in found.operations), rel=1e-14)


def test_each_operation_obeys_the_roofline(found: Explanation) -> None:
    for row in found.operations:
        assert row.total_s == row.count * row.time_s
        assert row.time_s > 0
        assert row.component == OPERATION_COMPONENT[Operation[row.operation.upper()]].name.lower()
        if row.bytes:
            assert row.intensity == row.flop / row.bytes
        else:
            assert isnan(row.intensity)
            assert row.component in ("collectives", "pipeline")
            assert row.bound in ("network", "latency")
            continue
        memory = row.bytes / (row.eta_memory * found.bytes_per_s)
        compute = row.flop / (row.eta_compute * row.peak_flop_per_s) if row.math else 0.0
        assert row.time_s == pytest.approx(row.fixed_s + max(memory, compute), rel=1e-12)
        larger = "memory" if memory > compute else "compute"
        assert row.bound == ("latency" if row.fixed_s > max(memory, compute) else larger)
        if row.math:
            assert row.peak_flop_per_s / found.bytes_per_s == found.ridges[row.math]


def test_operations_come_in_the_order_a_token_meets_them(found: Explanation) -> None:
    names = [row.operation for row in found.operations]
    assert (names[0], found.operations[0].layer) == ("embedding", "ends")
    ends = [name for row, name in zip(found.operations, names, strict=True) if row.layer == "ends"]
    assert ends in (["embedding", "lm_head"], ["embedding", "lm_head", "gather_logits"])
    assert names[-len(ends) + 1 :] == ends[1:]
    inside = found.operations[1 : len(names) - len(ends) + 1]
    model = rl.Model.load(found.cell["model"].item())
    runs = list(per_layer([(row.layer, Operation[row.operation.upper()]) for row in inside]))
    assert len(runs) == len(model.layers)
    assert [next(row.count for row in inside[start:]) for start, _ in runs] == [row.count for row in model.layers]
    for _, numbers in runs:
        assert numbers == sorted(set(numbers))


def per_layer(steps: list[tuple[str, Operation]]) -> Iterator[tuple[int, list[int]]]:
    """(place, operations) of each run of layers: a new one begins where the order starts again."""
    start = 0
    for place in range(1, len(steps) + 1):
        if place == len(steps) or steps[place][1] <= steps[place - 1][1]:
            yield start, [int(operation) for _, operation in steps[start:place]]
            start = place


def test_every_number_has_a_source_and_a_grade(found: Explanation) -> None:
    for row in found.operations:
        assert len(row.source) > 10, row.operation
        assert row.grade in ("published", "measured", "estimated")


@pytest.mark.parametrize("system", list_specs("system"))
def test_sources_on_every_system(system: str) -> None:
    model, degrees = "mixtral-8x7b", {"dp": 2, "tp": 2, "ep": 2, "pp": 2}
    if rl.System.load(system).accelerator.memory.kind == "SRAM":  # weights are spread over a whole rack
        model, degrees = "qwen3-30b-a3b", {"dp": 8, "tp": 4, "ep": 32, "pp": 8}
    for recipe in ("bf16", "fp8", "nvfp4", "mxfp4", "int4"):
        found = rl.explain(model, system, recipe, **degrees, batch=16, context=1024)
        kinds = {row.operation for row in found.operations}
        assert {"hand_over", "dispatch", "combine", "reduce_attention", "gather_logits", "experts"} <= kinds
        assert all(len(row.source) > 10 and row.grade for row in found.operations)


def test_a_source_is_that_of_the_number_that_binds() -> None:
    """The sheet's most precise source: of the share, of the entry, else of the table."""
    entry = {"eta_compute": 0.5, "eta_memory": 0.5, "fixed_s": 1e-6}
    own = {"ref": "a bench of our own", "grade": "measured"}
    part = rl.Accelerator.load("h100-sxm")
    gemm = {"bf16": entry | {"source": own}}
    sources = {"operations": {"ref": "the whole sheet", "grade": "estimated"},
               "operations.gemm.bf16.eta_memory": {"ref": "a stream test", "grade": "measured"}}  # fmt: skip
    made = part.efficiency.replace(operations__gemm=gemm).model_copy(update={"sources": {}})
    made = rl.Efficiency.load(made.model_dump() | {"sources": sources})
    system = rl.System.load("dgx-h100").replace(accelerator=part.replace(efficiency=made))
    found = rl.explain("llama-3.1-8b", system, "bf16", batch=1, context=1024)
    by_name = {row.operation: row for row in found.operations}
    assert (by_name["ffn_up"].bound, by_name["ffn_up"].source) == ("memory", "a stream test")
    assert (by_name["core"].source, by_name["core"].grade) == ("the whole sheet", "estimated")
    prompt = rl.explain("llama-3.1-8b", system, "bf16", batch=1, isl=8192)
    up = next(row for row in prompt.operations if row.operation == "ffn_up")
    assert (up.bound, up.source) == ("compute", "a bench of our own")


def test_a_pipeline_shows_its_hand_overs() -> None:
    found = rl.explain("llama-3.1-70b", "dgx-h100", "fp8", tp=2, pp=4, batch=16, context=4096)
    last = found.operations[-1]
    assert (last.layer, last.operation, last.count) == ("pipeline", "hand_over", 3)
    micro = found.totals["sum_of_operations_s"]  # one micro-batch of four through all stages
    assert found.totals["time_s"] > micro
    moved = sum(row.count * row.bytes for row in found.operations)
    assert moved / found.bytes_per_s / time_of(found) == pytest.approx(found.cell["mbu"].item(), rel=1e-12)


def test_ideal_explains_the_bound() -> None:
    found = rl.explain("llama-3.1-70b", "dgx-h100", "fp8", tp=8, batch=64, context=4096, fidelity="ideal")
    assert found.totals["sum_of_operations_s"] >= found.totals["time_s"]
    for row in found.operations:
        assert row.fixed_s == 0
        assert row.source.startswith("ideal")
        assert isnan(row.eta_compute) or row.eta_compute == 1
        assert row.eta_memory == 1
    busy = sum(row.count * row.flop / row.peak_flop_per_s for row in found.operations if row.math)
    assert busy / time_of(found) == pytest.approx(found.cell["mfu"].item(), rel=1e-12)


def test_widened_operands_are_flagged() -> None:
    flags = {
        (system, row.operation): row.weight_only
        for system in ("dgx-h100", "dgx-b200")
        for row in rl.explain("llama-3.1-8b", system, "nvfp4", batch=4, context=1024).operations
    }
    assert flags["dgx-h100", "ffn_up"]
    assert flags["dgx-h100", "project_in"]
    assert not flags["dgx-h100", "lm_head"]
    assert not flags["dgx-h100", "core"]
    assert not any(flag for (system, _), flag in flags.items() if system == "dgx-b200")
    row = next(r for r in rl.explain("llama-3.1-8b", "dgx-h100", "nvfp4", batch=4, context=1024).operations if r.math)
    assert row.math == "fp8"
    assert row.peak_flop_per_s == rl.Accelerator.load("h100-sxm").dense_flop_per_s["fp8"]


@pytest.mark.parametrize("fidelity", ["kernel", "ideal"])
def test_latent_attention_takes_the_cheaper_form(fidelity: Any) -> None:
    """Absorbed in decode, expanded in a long prompt; never both, and no slower than the other could be."""
    absorbed, expanded = {"absorb_query", "absorb_value"}, {"expand_cache"}
    cases: dict[str, dict[str, int]] = {
        "absorbed": {"batch": 32, "context": 8192}, "expanded": {"batch": 1, "isl": 8192},
    }  # fmt: skip
    for form, work in cases.items():
        found = rl.explain("deepseek-v3", "dgx-h200", "fp8-block", tp=8, **work, fidelity=fidelity)
        names = {row.operation for row in found.operations}
        assert names & (absorbed | expanded) == (absorbed if form == "absorbed" else expanded)
        if fidelity == "ideal":
            continue
        core = [row for row in found.operations if row.component == "attention_core"]
        spent = sum(row.total_s for row in core) / 61  # a layer
        rows = work.get("isl", 1) * work["batch"]
        length = work.get("isl", work.get("context", 0))
        pairs = work["batch"] * (length * (length + 1) / 2 if "isl" in work else length)
        widths = (512 + 64 + 512) if form == "expanded" else (128 + 64 + 128)  # of the form not taken
        row = next(r for r in core if r.operation == "core")
        other = 2 * pairs * 16 * widths / (row.eta_compute * row.peak_flop_per_s)
        if form == "absorbed":  # the cache has to be expanded first
            other += 2 * work["batch"] * length * 512 * 16 * 256 / (1978.9e12 * 1.0)
        else:
            other += 2 * rows * 16 * 512 * 256 / (1978.9e12 * 1.0)
        assert spent < other


def reported_largest(message: str) -> int:
    """The batch that an error says fits."""
    assert "the largest batch that fits is " in message, message
    return int(message.split("the largest batch that fits is ")[1].rstrip(")"))


@pytest.mark.parametrize(
    ("model", "recipe", "degrees", "work"),
    [
        ("llama-3.1-8b", "bf16", {}, {"context": 131_072}),
        ("llama-3.1-8b", "bf16", {}, {"isl": 131_072}),
        ("llama-3.1-70b", "fp8", {"tp": 8}, {"isl": 8192}),
        ("mixtral-8x7b", "fp8", {"dp": 4, "ep": 4}, {"context": 32_768}),
        ("mixtral-8x7b", "fp8", {"dp": 4, "ep": 4}, {"isl": 32_768}),
        ("llama-3.1-70b", "fp8", {"tp": 2, "pp": 3}, {"context": 60_000, "new_tokens": 4}),
    ],
)
def test_too_large_a_batch_is_told_the_largest_that_fits(
    model: str, recipe: str, degrees: dict[str, int], work: dict[str, int]
) -> None:
    with pytest.raises(rl.InputError) as error:
        rl.explain(model, "dgx-h100", recipe, **degrees, **work, batch=5000)
    assert "batch 5000: weights, KV cache and activations do not fit in memory (" in str(error.value)
    largest = reported_largest(str(error.value))
    assert 0 < largest < 5000
    assert rl.explain(model, "dgx-h100", recipe, **degrees, **work, batch=largest).totals["time_s"] > 0
    with pytest.raises(rl.InputError) as error:
        rl.explain(model, "dgx-h100", recipe, **degrees, **work, batch=largest + 1)
    assert reported_largest(str(error.value)) == largest


def test_where_no_batch_fits() -> None:
    for work in ({"context": 1024}, {"isl": 1024}):
        with pytest.raises(
            rl.InputError, match=r"405B on HGX H100, tp1, batch 1: .*not even one sequence fits; use more"
        ):
            rl.explain("llama-3.1-405b", "dgx-h100", "bf16", **work)


@pytest.mark.parametrize(
    ("degrees", "told"),
    [
        ({"tp": 3}, "tp3, batch 1: query heads do not divide by tp"),
        ({"pp": 33}, "pp33, batch 1: more pipeline stages than layers"),
        ({"ep": 2}, "ep2, batch 1: experts do not divide by ep, or ep > 1 without experts"),
        ({"dp": 999}, "dp999, batch 1: the replica needs more accelerators than the system can join"),
        ({"context": 131_073}, "tp1, batch 1: context beyond what the model was trained for"),
    ],
)
def test_what_cannot_run_says_why(degrees: dict[str, int], told: str) -> None:
    with pytest.raises(rl.InputError) as error:
        rl.explain("llama-3.1-8b", "dgx-h100", "bf16", **({"context": 1024} | degrees))
    assert str(error.value) == f"Llama 3.1 8B on HGX H100, {told}"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, "explain: give either context"),
        ({"context": 1024, "isl": 1024}, "explain: give either context"),
        ({"context": 0}, "context: 0 "),
        ({"isl": 0}, "isl: 0 "),
        ({"context": 1024, "new_tokens": 0}, "new_tokens: 0 "),
        ({"context": 2, "new_tokens": 4}, "context: 2 is less than new_tokens = 4"),
        ({"isl": 1024, "new_tokens": 4}, "explain: new_tokens and drafts belong to a decode step"),
        ({"context": 1024, "batch": 0}, "batch: 0 "),
        ({"context": 1024, "batch": [1, 2]}, "batch: [1, 2] are 2 values; give one"),
        ({"context": [1, 2]}, "context: [1, 2] are 2 values; give one"),
        ({"context": 1024, "tp": [1, 2]}, "explain: one deployment at a time"),
        ({"context": 1024, "tp": 0}, "tp: 0 "),
        ({"context": 1024, "ep": 0}, "ep: 0 "),
        ({"context": 1024, "recipe": ["bf16", "fp8"]}, "explain: one system and one recipe at a time"),
        ({"context": 1024, "system": ["dgx-h100", "dgx-h200"]}, "explain: one system and one recipe at a time"),
        ({"context": 1024, "model": "llama"}, "no model named 'llama'; did you mean"),
    ],
)
def test_bad_input_is_named(given: dict[str, Any], told: str) -> None:
    options = {"model": "llama-3.1-8b", "system": "dgx-h100", "recipe": "bf16"} | given
    with pytest.raises(rl.InputError) as error:
        rl.explain(options.pop("model"), options.pop("system"), options.pop("recipe"), **options)
    assert str(error.value).startswith(told)


def test_the_recipe_defaults_to_the_first_the_model_ships_in() -> None:
    found = rl.explain("deepseek-r1", "dgx-h200", tp=8, context=1024)
    assert found.cell["recipe"].item() == rl.Model.load("deepseek-r1").recipes[0]


def test_rows_are_plain_and_the_cell_is_that_of_decode() -> None:
    found = rl.explain("llama-3.1-8b", "dgx-h100", "fp8", tp=2, batch=8, context=1024)
    rows = found.rows()
    assert [row["operation"] for row in rows] == [row.operation for row in found.operations]
    assert all(type(value) in (str, int, float, bool) for row in rows for value in row.values())
    cell = rl.decode("llama-3.1-8b", "dgx-h100", "fp8", tp=2, batch=8, context=1024).squeeze()
    for name in ("step_time", "power", "mfu", "mbu", "memory", "joules_per_token"):
        assert found.cell[name].item() == cell[name].item()
    assert found.totals["bound"] == "memory"
    assert found.totals["power"] == cell["power"].item()
