"""A held answer is the answer: as the sheets stand every figure is that of the public function."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import roofline as rl
from roofline.insight.cells import given_load, given_pass
from roofline.insight.held import HELD
from roofline.insight.holding import held_plan

PLANS: list[tuple[str, str, dict[str, Any]]] = [
    ("llama-3.1-70b", "dgx-h100", {"modes": "aggregated"}),
    ("llama-3.1-70b", "dgx-h100", {"modes": "static", "slo": rl.SLO(tpot_s=0.03, percentile=90)}),
    ("llama-3.1-70b", "dgx-h100", {"modes": "disaggregated", "slo": rl.SLO(ttft_s=4, percentile=90)}),
    ("llama-3.1-70b", "dgx-h200", {"modes": "disaggregated", "prefill_systems": "dgx-b200"}),
    ("llama-3.1-70b", "dgx-h100", {"basis": "provisioned"}),
    ("llama-3.1-70b", "dgx-h100", {"basis": "provisioned", "boundary": "accelerator", "modes": "static"}),
    ("llama-3.1-70b", "dgx-h100", {"basis": "provisioned", "vintage": "semianalysis-2026"}),
    ("llama-3.1-70b", "dgx-h100", {"boundary": "accelerator", "workload": rl.Workload.of("chat", load=0.5)}),
    ("llama-3.1-70b", "dgx-h100", {"boundary": "rack", "stack": "trtllm", "facility": "liquid"}),
    ("deepseek-r1", "gb300-nvl72", {"modes": "aggregated", "acceptance": [0.8, 0.6]}),
    ("qwen3-next-80b", "dgx-h100", {"modes": "disaggregated"}),
]


@pytest.mark.parametrize(("model", "system", "options"), PLANS, ids=lambda x: str(x)[:60])
def test_a_held_plan_has_the_figures_of_the_plan(model: str, system: str, options: dict[str, Any]) -> None:
    held = held_plan(model, system, **({"workload": "1k/1k"} | options))
    found = held.figures(held.numbers.base(2))
    assert set(found) == set(HELD) == set(held.about)
    for name in HELD:
        expected = float(held.chosen[name])
        np.testing.assert_allclose(found[name], expected, rtol=1e-12, err_msg=name)


def test_a_pipeline_is_held_too() -> None:
    """Steps are averaged over contexts before its slowest stage is sought there, after it here."""
    row = {"tp": 4, "pp": 2, "dp": 1, "ep": 1, "moe_tp": 4}
    held = held_plan("llama-3.1-70b", "dgx-h100", workload="1k/1k", modes="aggregated", deployments=[row])
    found = held.figures(held.numbers.base())
    for name in HELD:
        np.testing.assert_allclose(found[name], float(held.chosen[name]), rtol=1e-3, err_msg=name)


def test_pools_stay_matched() -> None:
    """More of what one pool needs gives more, though whole numbers of replicas were matched to what it had."""
    held = held_plan("llama-3.1-70b", "dgx-h100", workload="1k/1k", modes="disaggregated")
    numbers = held.numbers
    paths = [one.path for one in numbers.parameters]
    for path in ("accelerator.memory.bytes_per_s", "accelerator.dense_flop_per_s.fp8"):
        factors = np.ones((2, len(paths)))
        factors[1, paths.index(path)] = 1.1
        rates = held.figures(numbers.vary(factors))["tokens_per_s_per_gpu"]
        assert rates[1] > 1.005 * rates[0]


@pytest.mark.parametrize("fidelity", ["ideal", "kernel"])
@pytest.mark.parametrize("boundary", ["accelerator", "facility"])
def test_a_pass_has_the_figures_of_its_function(fidelity: Any, boundary: Any) -> None:
    where = ("deepseek-r1", "dgx-h200", "fp8-block-kv8")
    degrees = {"tp": 8, "ep": 8}
    pass_ = given_pass(*where, batch=32, context=4096, fidelity=fidelity, boundary=boundary, **degrees)  # type: ignore[arg-type]
    ds = rl.rollup(rl.decode(*where, batch=32, context=4096, fidelity=fidelity, **degrees), boundary=boundary).squeeze()
    _same(pass_.figures(pass_.numbers.base()), ds)
    if fidelity == "kernel":
        drafted = given_pass(*where, batch=32, context=4096, drafts=1, acceptance=0.8, boundary=boundary, **degrees)  # type: ignore[arg-type]
        expected = rl.decode(*where, batch=32, context=4096, drafts=1, acceptance=0.8, **degrees)
        _same(drafted.figures(drafted.numbers.base()), rl.rollup(expected, boundary=boundary).squeeze())
    prompt = given_pass(*where, batch=2, isl=3000, fidelity=fidelity, boundary=boundary, **degrees)  # type: ignore[arg-type]
    ds = rl.rollup(rl.prefill(*where, batch=2, isl=3000, fidelity=fidelity, **degrees), boundary=boundary).squeeze()
    _same(prompt.figures(prompt.numbers.base()), ds)


@pytest.mark.parametrize("load", [{"concurrency": 50}, {"concurrency": 3}, {"rate": 2.0, "slots": 64}])
def test_a_load_has_the_figures_of_serve(load: dict[str, Any]) -> None:
    given = {"workload": rl.Workload.of("1k/1k", isl_cv=0.3, osl_cv=0.3), "stack": "trtllm", "tp": 8, **load}
    held = given_load("llama-3.1-70b", "dgx-h100", "fp8", **given)
    ds = rl.rollup(rl.serve("llama-3.1-70b", "dgx-h100", "fp8", **given)).squeeze()
    _same(held.figures(held.numbers.base()), ds)


def _same(found: dict[str, Any], ds: Any) -> None:
    compared = [name for name in found if name in ds]
    assert {"tokens_per_mwh", "joules_per_token_at_boundary", "power", "tokens_per_s_per_gpu"} <= set(compared)
    for name in compared:
        np.testing.assert_allclose(found[name], float(ds[name]), rtol=1e-12, err_msg=name)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: held_plan("llama-3.1-70b", "dgx-h100", workload="1k/1k", slo=rl.SLO(tpot_s=1e-6)), "over the limit"),
        (lambda: held_plan("llama-3.1-70b", ["dgx-h100", "dgx-b200"], workload="1k/1k"), "system: 2 given; give one"),
        (lambda: held_plan("llama-3.1-70b", "dgx-h100", workload=["1k/1k", "8k/1k"]), "one model, system, workload"),
        (lambda: held_plan("llama-3.1-8b", "groq3-lpx", workload="1k/1k"), "nothing to hold: the power of the part"),
        (
            lambda: held_plan(
                "deepseek-r1",
                "vr-nvl72",
                workload="1k/1k",
                modes="attention_ffn",
                ffn_systems="vr-nvl72",
                objective="tokens_per_s_per_gpu",
            ),
            "attention_ffn cannot be held",
        ),
        (lambda: given_pass("llama-3.1-70b", "dgx-h100", tp=1, context=2048), "do not fit in memory"),
        (lambda: given_pass("llama-3.1-70b", "dgx-h100", tp=8), "give either context"),
        (lambda: given_pass("llama-3.1-70b", "dgx-h100", tp=8, isl=100, drafts=1), "drafts belong to a decode step"),
        (lambda: given_pass("deepseek-r1", "dgx-h200", tp=8, context=1, drafts=1, acceptance=0.5), "holds no 2 new"),
        (lambda: given_pass("llama-3.1-70b", "dgx-h100", tp=8, context=9, colour=1), "colour: no option"),
        (lambda: given_pass("llama-3.1-70b", "dgx-h100", tp=8, context=9, duty=0.0), "duty 0.0"),
        (lambda: given_load("llama-3.1-70b", "dgx-h100", tp=8, workload="1k/1k"), "give either concurrency"),
        (
            lambda: given_load("llama-3.1-70b", "dgx-h100", tp=1, workload="1k/1k", concurrency=4),
            "do not fit in memory",
        ),
    ],
)
def test_what_cannot_be_held_says_why(call: Any, said: str) -> None:
    with pytest.raises(rl.InputError, match=said):
        call()
