"""Predictions of many points together: the same as one by one, in any order, and reasons where there are none."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import roofline as rl
from roofline.errors import InputError
from roofline.specs import Model, Recipe, System
from roofline.specs.folders import ENVIRONMENT
from roofline.validation import lengths, names
from roofline.validation.conditions import Case, Pool, case_of
from roofline.validation.measured import read
from roofline.validation.predict import Predictions, evaluate, predict, prepare

DATA = Path(__file__).parents[1] / "data" / "measured_points.csv"
ARRAYS = tuple(name for name in Predictions.__dataclass_fields__ if name != "reason")

POINTS = read(DATA).points
CASES = [case_of(point) for point in POINTS]


def made(
    kind: Any = "closed",
    model: str = "llama-3.1-8b",
    system: str = "dgx-h100",
    recipe: str = "fp8",
    degrees: tuple[int, int, int, int, int] = (1, 1, 1, 1, 1),
    load: float = 16,
    isl: float = 900,
    osl: float = 900,
    **other: Any,
) -> Case:
    """A case without a row, of vLLM on Hopper unless told."""
    return Case(
        row_id="",
        kind=kind,
        model=Model.load(model),
        system=System.load(system),
        recipe=Recipe.load(recipe),
        pool=Pool(degrees),
        load=load,
        isl=isl,
        osl=osl,
        **{"framework": "vllm", "generation": "hopper", "stack": "vllm", **other},
    )


def served(case: Case) -> dict[str, float]:
    """The same by `roofline.serve`, one at a time."""
    isl, osl = lengths.pairs(case.isl, case.osl, case.spread)
    workload = rl.Workload(isl=isl.astype(int).tolist(), osl=osl.astype(int).tolist())
    degrees = dict(zip(("tp", "pp", "dp", "ep", "moe_tp"), case.pool.degrees, strict=True))
    ds = rl.serve(
        case.model,
        case.system,
        case.recipe,
        workload=workload,
        concurrency=int(case.load),
        deployments=[degrees],
        chunk=lengths.of_case(case).chunk,
        stack=case.stack,
    ).squeeze()
    names = ("ttft", "tpot", "output_tokens_per_s", "power", "joules_per_token")
    return {name: float(ds[name]) for name in names}


CLOSED = {
    "one client": made(load=1),
    "spread lengths": made(load=48, spread=0.2),
    "long prompts": made(load=32, isl=7400, osl=920, spread=0.2),
    "few steps": made(load=64, isl=1900, osl=115, spread=0.2),
    "tensor parallel": made(model="llama-3.3-70b", degrees=(8, 1, 1, 1, 8), load=24, spread=0.2),
    "more clients than slots": made(model="llama-3.3-70b", degrees=(1, 1, 1, 1, 1), system="dgx-h200", load=400),
    "ranks that share unevenly": made(
        model="deepseek-r1", system="dgx-b200", recipe="nvfp4-experts", degrees=(1, 1, 8, 8, 1), load=70, spread=0.2
    ),
    "fewer clients than ranks": made(
        model="deepseek-r1", system="dgx-b200", recipe="nvfp4-experts", degrees=(1, 1, 8, 8, 1), load=3
    ),
}


@pytest.fixture(scope="module")
def together() -> dict[str, int]:
    """Places of the closed loops among those predicted together."""
    return {name: i for i, name in enumerate(CLOSED)}


@pytest.fixture(scope="module")
def bulk() -> Predictions:
    """All closed loops at once."""
    return predict(list(CLOSED.values()))


@pytest.mark.parametrize("case_name", list(CLOSED))
def test_closed_loops_are_those_of_serve(case_name: str, together: dict[str, int], bulk: Predictions) -> None:
    i, alone = together[case_name], served(CLOSED[case_name])
    assert bulk.reason[i] == ""
    found = {
        "ttft": bulk.ttft_s[i],
        "tpot": bulk.tpot_s[i],
        "output_tokens_per_s": bulk.output_tok_s[i],
        "power": bulk.power_w[i],
        "joules_per_token": bulk.joules_per_token[i],
    }
    # `serve` takes the draw at the mean batch of unequal ranks, which is not quite the mean of their draws.
    watts = {name: found.pop(name) for name in ("power", "joules_per_token")}
    assert watts == pytest.approx(
        {name: alone.pop(name) for name in watts}, rel=1e-4 if CLOSED[case_name].pool.degrees[2] > 1 else 1e-6
    )
    assert found == pytest.approx(alone, rel=1e-6)


def test_steady_decoding_is_a_decode_step_and_its_stack() -> None:
    case = made("steady", load=64, isl=0, osl=2000)
    found = predict([case])
    ds = rl.decode(case.model, case.system, case.recipe, tp=1, batch=64, context=2000).squeeze()
    stack = rl.Stack.load("vllm")
    step_s = float(ds.tpot) + stack.step_s + 64 * stack.sequence_s
    assert found.tpot_s[0] == pytest.approx(step_s, rel=1e-12)
    assert found.power_at(np.array([float(ds.tpot)]))[0] == pytest.approx(float(ds.power), rel=1e-9)


def test_a_static_batch_is_its_prompts_and_its_steps() -> None:
    case = made("static", load=32, isl=512, osl=255)
    found = predict([case, replace(case, counts="decode")])
    stack = rl.Stack.load("vllm")
    own_s = stack.step_s + 32 * stack.sequence_s
    prompt = rl.prefill(case.model, case.system, case.recipe, tp=1, batch=32, isl=512).squeeze()
    step = rl.decode(case.model, case.system, case.recipe, tp=1, batch=32, context=512 + 128).squeeze()
    ttft_s, tpot_s = float(prompt.prefill_time) + own_s, float(step.tpot) + own_s
    assert found.ttft_s[0] == pytest.approx(ttft_s, rel=1e-12)
    assert found.tpot_s[0] == pytest.approx(tpot_s, rel=1e-12)
    assert found.output_tok_s[0] == pytest.approx(32 * 255 / (ttft_s + 255 * tpot_s), rel=1e-12)
    assert found.output_tok_s[1] == pytest.approx(32 / tpot_s, rel=1e-12)


def test_the_wall_sees_hosts_and_supplies_of_whole_systems() -> None:
    case = made("steady", load=512, isl=0, osl=2000)
    eight = replace(case, pool=replace(case.pool, replicas=8.0))
    one, whole = predict([case]), predict([eight])
    assert np.isnan(one.wall_w[0])  # seven of the box's accelerators do something that the row does not say
    power = case.system.power
    dc_w = 8 * whole.power_w[0] + sum(power.host_dc_w.values())
    rated_w, load, efficiency = power.supplies
    wall_w = dc_w / np.interp(dc_w / rated_w, load, efficiency)
    assert whole.wall_w[0] == pytest.approx(wall_w, rel=1e-12)
    assert whole.wall_joules_per_token[0] == pytest.approx(wall_w / whole.output_tok_s[0], rel=1e-12)


def test_every_row_is_predicted_or_has_a_reason() -> None:
    found = predict(CASES)
    for i, case in enumerate(CASES):
        if isinstance(case, str):
            assert found.reason[i] == case
        values = [getattr(found, name)[i] for name in ("tpot_s", "output_tok_s", "total_tok_s")]
        assert (found.reason[i] == "") == any(math.isfinite(value) for value in values)
    kinds = {case.kind for case, why in zip(CASES, found.reason, strict=True) if isinstance(case, Case) and not why}
    assert kinds == {"closed", "open", "apart", "static", "offline", "steady", "prompts"}


def test_predictions_are_within_a_factor_of_three_of_what_was_measured() -> None:
    found = predict(CASES)
    seen = 0
    for i, point in enumerate(POINTS):
        pairs = (
            (point.tpot_s, found.tpot_s[i]),
            (point.output_tok_s, found.output_tok_s[i]),
            (point.total_tok_s, found.total_tok_s[i]),
            (point.joules_per_token, found.joules_per_token[i]),
            (point.power_w, found.power_w[i]),
            (point.wall_w, found.wall_w[i]),
            (point.wall_joules_per_token, found.wall_joules_per_token[i]),
        )
        for measured, predicted in pairs:
            if measured is not None and math.isfinite(predicted):
                seen += 1
                assert 1 / 3 < predicted / measured < 3, (point.row_id, measured, predicted)
    assert seen >= 30


def test_order_does_not_matter() -> None:
    forwards, order = predict(CASES), np.random.default_rng(0).permutation(len(CASES))
    shuffled = predict([CASES[i] for i in order])
    for name in ARRAYS:
        np.testing.assert_allclose(getattr(shuffled, name), getattr(forwards, name)[order], rtol=1e-12)
    assert list(shuffled.reason) == list(forwards.reason[order])


def test_a_limit_of_the_kernels_is_the_reason() -> None:
    too_large = made(model="llama-3.3-70b", recipe="bf16")
    odd_heads = made(model="llama-3.3-70b", degrees=(3, 1, 1, 1, 3))
    odd_experts = made("steady", "deepseek-v3", recipe="fp8-block", degrees=(1, 1, 72, 72, 1), isl=0, osl=2000, load=72)
    too_long = made("static", "llama-2-70b", degrees=(8, 1, 1, 1, 8), isl=4096, osl=512)
    odd_prompts = made("apart", degrees=(1, 1, 1, 1, 1), prompt_pool=Pool((3, 1, 1, 1, 3)))
    found = predict([too_large, odd_heads, odd_experts, too_long, odd_prompts])
    for reason, part in zip(
        found.reason, ("fit in memory", "query heads", "experts do not", "context", "query heads"), strict=True
    ):
        assert part in reason
    assert np.isnan(found.tpot_s).all()


def test_nothing_to_predict_is_nothing_predicted() -> None:
    found = predict(["because", "so"])
    assert list(found.reason) == ["because", "so"]
    assert np.isnan(found.tpot_s).all()
    assert predict([]).tpot_s.size == 0


def test_drafts_make_tokens_faster_and_steps_slower() -> None:
    plain = made(model="deepseek-r1", system="dgx-h200", recipe="fp8-block", degrees=(8, 1, 1, 1, 8), load=8)
    drafted = replace(plain, drafts=2, acceptance=(0.85, 0.65))
    useless = replace(plain, drafts=2, acceptance=(0.0, 0.0))
    found = predict([plain, drafted, useless])
    assert found.tpot_s[1] < found.tpot_s[0] < found.tpot_s[2]
    assert found.output_tok_s[1] > found.output_tok_s[0]


def test_medians_leave_out_the_slow_start_of_a_run() -> None:
    mean = made(model="llama-3.3-70b", degrees=(4, 1, 1, 1, 4), load=128, spread=0.2, requests=1280)
    found = predict([mean, replace(mean, requests=None), replace(mean, ttft="median", tpot="median")])
    assert found.ttft_s[0] > 1.2 * found.ttft_s[1]
    assert found.ttft_s[2] < found.ttft_s[0]
    assert found.tpot_s[2] == pytest.approx(found.tpot_s[0], rel=0.05)
    assert 0.9 * found.output_tok_s[1] < found.output_tok_s[0] < found.output_tok_s[1]


def test_pools_apart_decode_without_prompts_beside_them() -> None:
    whole = made(model="llama-3.3-70b", degrees=(4, 1, 1, 1, 4), load=64, isl=7400, osl=920)
    apart = replace(whole, kind="apart", prompt_pool=Pool((4, 1, 1, 1, 4), 4))
    starved = replace(apart, prompt_pool=Pool((4, 1, 1, 1, 4), 1), load=512)
    found = predict([whole, apart, starved])
    assert found.tpot_s[1] < found.tpot_s[0]
    prompt_s = float(rl.prefill("llama-3.3-70b", "dgx-h100", "fp8", tp=4, isl=7400, chunk=8192).prefill_time.squeeze())
    assert found.total_tok_s[2] == pytest.approx((7400 + 920) / prompt_s, rel=0.05)
    assert found.ttft_s[2] > 10 * found.ttft_s[1]


def test_open_arrivals_come_through_until_they_are_too_many() -> None:
    light = made("open", load=2.0, isl=467, osl=256)
    found = predict([light, replace(light, load=20.0), replace(light, load=4000.0)])
    assert found.output_tok_s[:2] == pytest.approx([2.0 * 256, 20.0 * 256], rel=1e-6)
    assert found.tpot_s[0] < found.tpot_s[1] < found.tpot_s[2]
    assert found.output_tok_s[2] < 4000.0 * 256
    assert math.isnan(found.ttft_s[2])


def test_a_queue_is_worked_off_slower_where_it_is_short() -> None:
    steady = made("offline", load=256, isl=1000, osl=1000)
    found = predict([steady, replace(steady, requests=3000), replace(steady, requests=512)])
    assert found.output_tok_s[0] > found.output_tok_s[1] > found.output_tok_s[2] > 0.5 * found.output_tok_s[0]


TUNED = {
    "hopper.gemm.eta_memory": 1.1,
    "hopper/fp8.gemm.eta_compute": 1.1,
    "all.decode_attention.fixed_s": 0.5,
    "h100-sxm.collectives.fixed_s": 0.5,
}


@pytest.mark.parametrize("name", list(TUNED))
def test_better_constants_make_all_faster(name: str) -> None:
    ready = prepare([CLOSED["tensor parallel"], made("steady", degrees=(8, 1, 1, 1, 8), load=256, osl=256)])
    plain, tuned = evaluate(ready), evaluate(ready, {name: TUNED[name]})
    assert (tuned.tpot_s < plain.tpot_s).all()
    assert (tuned.output_tok_s > plain.output_tok_s).all()


@pytest.mark.parametrize("name", ["ampere.gemm.eta_memory", "hopper/bf16.gemm.eta_memory", "trtllm.stack.step_s"])
def test_constants_of_others_change_nothing(name: str) -> None:
    ready = prepare([CLOSED["tensor parallel"]])
    np.testing.assert_array_equal(evaluate(ready, {name: 0.5}).tpot_s, evaluate(ready).tpot_s)


def test_evaluating_leaves_what_was_prepared() -> None:
    ready = prepare([CLOSED["spread lengths"]])
    before = evaluate(ready).tpot_s
    evaluate(ready, {"all.gemm.eta_memory": 0.5, "vllm.stack.step_s": 1.0})
    np.testing.assert_array_equal(evaluate(ready).tpot_s, before)


def test_a_tuned_stack_is_that_stack() -> None:
    case = CLOSED["spread lengths"]
    stack = rl.Stack.load("trtllm")
    tuned = {f"vllm.stack.{name}": getattr(stack, name) for name in ("step_s", "sequence_s", "ttft_s")}
    as_other = evaluate(prepare([case]), tuned)
    other = predict([replace(case, stack="trtllm")])
    for name in ("ttft_s", "tpot_s", "output_tok_s"):
        assert getattr(as_other, name) == pytest.approx(getattr(other, name), rel=1e-4)


@pytest.mark.parametrize(
    ("family", "generation", "sheet"),
    [
        ("vllm", "hopper", "vllm-hopper"),
        ("vllm", "blackwell", "vllm-blackwell"),
        ("vllm", "ampere", "vllm-hopper"),
        ("sglang", "cdna3", "sglang-cdna4"),
        ("sglang", "ada", "sglang-hopper"),
        ("trtllm", "blackwell", "trtllm-blackwell"),
        ("default", "blackwell", "default"),
    ],
)
def test_a_server_has_the_sheet_of_its_generation_or_hoppers(family: str, generation: str, sheet: str) -> None:
    assert names.stack(family, generation) == sheet
    assert names.family_of(sheet) == family


def test_a_sheet_of_ones_own_stands_for_its_generation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "stacks").mkdir()
    text = "name: Acme\nframework: Acme\nstep_s: 1e-3\nsequence_s: 1e-6\nttft_s: 1e-3\n"
    for name, lines in (("acme", text), ("acme-cdna3", text), ("acme-ada", text.replace("1e-3", "1000"))):
        (tmp_path / "stacks" / f"{name}.yaml").write_text(lines, encoding="utf-8")
    monkeypatch.setenv(ENVIRONMENT, str(tmp_path))
    assert (names.stack("acme", "cdna3"), names.stack("acme", "hopper")) == ("acme-cdna3", "acme")
    with pytest.raises(InputError, match=r"acme-ada\.yaml"):  # not passed over for another
        names.stack("acme", "ada")
    assert [names.family_of(name) for name in ("acme-cdna3", "acme-v2", "acme")] == ["acme", "acme-v2", "acme"]


@pytest.fixture
def stacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """Two sheets that differ in one thing: prompts are mixed into steps, or run first."""
    folder = tmp_path / "stacks"
    folder.mkdir()
    for prompts in ("mixed", "first"):
        text = f"name: Acme {prompts}\nframework: Acme\nprompts: {prompts}\n"
        text += "step_s: 1e-3\nsequence_s: 10e-6\nttft_s: 20e-3\n"
        (folder / f"acme-{prompts}.yaml").write_text(text, encoding="utf-8")
    monkeypatch.setenv(ENVIRONMENT, str(tmp_path))
    return "acme-mixed", "acme-first"


@pytest.mark.parametrize(("load", "isl", "osl"), [(8, 4096, 256), (32, 1024, 1024), (128, 1024, 512)])
def test_prompts_that_run_first_are_waited_for(stacks: tuple[str, str], load: int, isl: int, osl: int) -> None:
    alike = made(load=load, isl=isl, osl=osl, requests=10 * load)
    found = predict([replace(alike, stack=stack) for stack in stacks])
    request_s = found.ttft_s + (osl - 1) * found.tpot_s
    assert found.tpot_s[1] < found.tpot_s[0]
    assert found.ttft_s[1] > 1.3 * found.ttft_s[0]
    assert request_s[0] < request_s[1] < 1.1 * request_s[0]  # prompts alone do not hide the weights of decoding
    np.testing.assert_allclose(found.output_tok_s * request_s, load * osl, rtol=0.02)  # what is not seen is waited for


def test_equal_lengths_wait_for_others_where_random_ones_do_not(stacks: tuple[str, str]) -> None:
    alike = made(load=32, isl=4096, osl=256, requests=320, stack=stacks[0])
    found = predict([alike, replace(alike, spread=0.02), replace(alike, requests=None)])
    assert found.tpot_s[0] < min(found.tpot_s[1:])
    assert found.ttft_s[0] > 2.0 * found.ttft_s[2]


def test_steps_that_a_request_waits_add_to_its_first_token() -> None:
    ready = prepare([CLOSED["spread lengths"]])
    plain, later = evaluate(ready), evaluate(ready, {"vllm/hopper.stack.wait_steps": 10.0})
    assert later.ttft_s[0] - plain.ttft_s[0] == pytest.approx(10 * plain.tpot_s[0], rel=0.1)
    other = evaluate(ready, {"vllm/blackwell.stack.wait_steps": 10.0, "vllm/dp.stack.wait_steps": 10.0})
    assert other.ttft_s[0] == plain.ttft_s[0]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("gemm.eta_memory", 1.0, "give GROUP.CLASS.FIELD"),
        ("hopper.gem.eta_memory", 1.0, "did you mean gemm"),
        ("hopper.gemm.eta_memry", 1.0, "did you mean eta_memory"),
        ("hopper.gemm.eta_memory", math.nan, "give a finite number >= 0"),
        ("hopper.gemm.eta_memory", -1.0, "give a finite number >= 0"),
    ],
)
def test_constants_that_are_not_known_are_refused(name: str, value: float, message: str) -> None:
    with pytest.raises(InputError, match=message):
        evaluate(prepare([CLOSED["one client"]]), {name: value})
