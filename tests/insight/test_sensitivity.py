"""Elasticities: against power laws by hand, against differences of the public functions, and by their laws."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, reject, settings
from hypothesis import strategies as st

import roofline as rl
from roofline.insight import parameters as kinds
from roofline.insight import sensitivity as insight
from roofline.insight.parameters import Parameter
from roofline.insight.research import changed
from roofline.insight.sensitivity import elasticities, ranked, sensitivity, sentence, sum_of_rates
from roofline.insight.subjects import subject
from roofline.specs import System
from tests.insight.fakes import BANDWIDTH, PUE, TDP, Written

PLAN: dict[str, Any] = {"workload": "1k/1k", "slo": rl.SLO(tpot_s=0.03)}


def test_a_power_law_has_its_powers_and_an_edge_is_said() -> None:
    held = Written()
    found = elasticities(held, change=0.1)  # type: ignore[arg-type]
    paths = [one.path for one in held.numbers.parameters]
    expected = {BANDWIDTH: (2.0, 0.5, 0.0), TDP: (-0.5, 0.5, 0.0), PUE: (1.0, 0.0, 0.0)}
    for p, path in enumerate(paths):
        np.testing.assert_allclose(found["elasticity"][p], expected.get(path, (0.0,) * 3), atol=1e-9, err_msg=path)
        edge = path in (BANDWIDTH, TDP)
        assert found["kink"][p].tolist() == [0.0, float(edge), 0.0]  # one roof moves up alone, or down
    row = paths.index(BANDWIDTH)
    np.testing.assert_allclose(found["ratio_more"][row], (1.21, 1.0, 1.0))
    np.testing.assert_allclose(found["ratio_less"][row], (1 / 1.21, 1 / 1.1, 1.0))
    np.testing.assert_allclose(found["value"], (1.0, 1.0, 7.0))
    assert found["elasticity_error"].max() < 1e-7


def test_a_number_at_its_bound_has_the_slope_to_its_one_side() -> None:
    """No expert rank is less full than the mean: what the figures would do below 1 is no part of the elasticity."""
    system, step = System.load("mi355x-8"), 1e-5
    options: dict[str, Any] = {"workload": "8k/1k", "slo": rl.SLO(tpot_s=0.02)}
    ds = sensitivity("qwen3-next-80b-a3b", system, **options)
    skew = ds.sel(parameter="efficiency.experts_skew")
    assert float(skew["parameter_value"]) == 1.0
    assert not skew["kink"].any()
    assert np.isnan(skew["ratio_less"]).all()
    held = subject("plan", "qwen3-next-80b-a3b", system, None, options)
    numbers = held.numbers
    factors = np.ones((2, len(numbers.parameters)))
    factors[1, [one.path for one in numbers.parameters].index("efficiency.experts_skew")] = np.exp(step)
    found = held.figures(numbers.vary(factors))
    for figure in ("tokens_per_mwh", "ttft", "tpot", "power"):
        expected = np.log(found[figure][1] / found[figure][0]) / step
        assert float(skew["elasticity"].sel(figure=figure)) == pytest.approx(expected, abs=1e-5), figure
    assert float(skew["elasticity"].sel(figure="ttft")) == pytest.approx(0.0, abs=1e-9)


def test_slopes_at_an_upper_bound_are_those_below_it() -> None:
    """f = min(x, 1)^2 of a share that is 1: 2 from below, 0 from above, where it cannot be."""
    step = 1e-4
    logs = np.array([step, -step, 2.0 * step, -2.0 * step, 0.1, -0.1])
    moved = (2.0 * np.minimum(logs, 0.0)).reshape(1, 6, 1)
    free, bound = (np.array([[up, True, up, True, up, True]]) for up in (True, False))
    at_bound = insight._slopes(moved, bound, step)
    assert at_bound["elasticity"].item() == pytest.approx(2.0, abs=1e-9)
    assert at_bound["kink"].item() == 0.0
    between = insight._slopes(moved, free, step)
    assert (between["elasticity"].item(), between["kink"].item()) == (pytest.approx(1.0), 1.0)


def test_of_a_load_at_a_rate_the_arrivals_have_the_rest_of_the_sum() -> None:
    where, step = ("llama-3.1-8b", "dgx-h100", "bf16"), 1e-3
    given: dict[str, Any] = {"workload": "1k/200", "tp": 1, "slots": 8}
    ds = sensitivity(*where, of="serve", rate=2.0, **given)
    more, less = (rl.rollup(rl.serve(*where, rate=2.0 * np.exp(s * step), **given)).squeeze() for s in (1.0, -1.0))
    for figure, power in (("tokens_per_mwh", 1.0), ("tpot", -1.0), ("power", 0.0)):
        arrivals = (np.log(float(more[figure])) - np.log(float(less[figure]))) / (2.0 * step)
        assert float(ds["sum_of_rates"].sel(figure=figure)) + arrivals == pytest.approx(power, abs=1e-4), figure


def test_figures_of_a_load_are_named_as_serve_names_them() -> None:
    ds = sensitivity("llama-3.1-8b", "dgx-h100", "bf16", of="serve", workload="1k/200", concurrency=2, tp=2)
    assert ds["figure_meaning"].sel(figure="ttft").item() == "mean time to first token (TTFT)"


def test_the_duty_of_a_load_is_counted() -> None:
    where, given = ("llama-3.1-8b", "dgx-h100", "bf16"), {"concurrency": 2, "tp": 2}
    half = rl.Workload.of("1k/200", load=0.5)
    got = sensitivity(*where, of="serve", workload=half, **given)["value"].sel(figure="tokens_per_mwh")
    expected = rl.rollup(rl.serve(*where, workload=half, **given), duty=0.5)["tokens_per_mwh"].squeeze()
    assert float(got) == pytest.approx(float(expected), rel=1e-12)


CELLS: list[tuple[str, dict[str, Any]]] = [
    ("decode", {"tp": 8, "batch": 64, "context": 4096}),
    ("prefill", {"tp": 4, "batch": 1, "isl": 4000}),
    ("serve", {"tp": 8, "concurrency": 40, "workload": "2k/500", "chunk": 1024}),
]


@pytest.mark.parametrize(("of", "options"), CELLS, ids=[of for of, _ in CELLS])
def test_elasticities_are_differences_of_the_public_functions(of: str, options: dict[str, Any]) -> None:
    """Of sheets that are changed, validated, packed and evaluated as anybody would: rtol 1e-4 at a step of 1e-3."""
    where, system, step = ("llama-3.1-70b", "fp8"), System.load("dgx-h100"), 1e-3
    evaluate = {"decode": rl.decode, "prefill": rl.prefill, "serve": rl.serve}[of]

    def public(box: System) -> xr.Dataset:
        return rl.rollup(evaluate(where[0], box, where[1], **options)).squeeze()  # type: ignore[operator]

    ds = sensitivity(where[0], system, where[1], of=of, **options)
    asked = [
        *("accelerator.memory.bytes_per_s", "accelerator.dense_flop_per_s.fp8", "accelerator.scale_up_bytes_per_s"),
        *("accelerator.power.tdp_w", "accelerator.power.draw_a", "facility.pue", "system.power.host_dc_w.host"),
        *("efficiency.operations.gemm.fp8.fixed_s", "efficiency.collectives.eta_reduce", "system.scale_up.hop_s"),
        *("system.power.psu.efficiency", "accelerator.power.idle_w"),
    ]
    for path in asked:
        more, less = (public(changed(system, path, np.exp(sign * step))) for sign in (1.0, -1.0))
        for figure in ("tokens_per_mwh", "tokens_per_s_per_gpu", "power"):
            expected = (np.log(float(more[figure])) - np.log(float(less[figure]))) / (2.0 * step)
            got = float(ds["elasticity"].sel(parameter=path, figure=figure))
            assert got == pytest.approx(expected, rel=1e-4, abs=1e-6), (path, figure)


def test_of_a_plan_they_are_differences_of_plans_that_choose_the_same() -> None:
    """Without limits the batch is what memory holds, which no rate moves: a plan of changed sheets chooses the same."""
    system, step = System.load("dgx-h100"), 1e-4
    options: dict[str, Any] = {"workload": "1k/1k", "modes": "aggregated"}
    ds = sensitivity("llama-3.1-70b", system, **options)
    chosen = rl.plan("llama-3.1-70b", system, **options).squeeze()
    for path in ("accelerator.memory.bytes_per_s", "accelerator.dense_flop_per_s.fp8", "facility.pue"):
        more, less = (
            rl.plan("llama-3.1-70b", changed(system, path, np.exp(sign * step)), **options).squeeze()
            for sign in (1.0, -1.0)
        )
        assert all(
            (one["deployment"] == chosen["deployment"]) & (one["batch"] == chosen["batch"]) for one in (more, less)
        )
        for figure in ("tokens_per_mwh", "ttft", "tpot", "power"):
            expected = (np.log(float(more[figure])) - np.log(float(less[figure]))) / (2.0 * step)
            got = float(ds["elasticity"].sel(parameter=path, figure=figure))
            assert got == pytest.approx(expected, rel=1e-4, abs=1e-6), (path, figure)


SHAPES = [
    ("llama-3.1-70b", "dgx-h100", "fp8"),
    ("deepseek-r1", "dgx-h200", "fp8-block-kv8"),
    ("gpt-oss-120b", "dgx-b200", None),
]


@settings(max_examples=20, deadline=None)
@given(
    shape=st.sampled_from(SHAPES),
    fidelity=st.sampled_from(["ideal", "kernel"]),
    batch=st.integers(1, 100),
    length=st.integers(64, 20_000),
    prompt=st.booleans(),
    spread=st.booleans(),
)
def test_rates_add_up(shape: Any, fidelity: str, batch: int, length: int, prompt: bool, spread: bool) -> None:
    """In `ideal` all rates times k divide time by k: their elasticities sum to 1; elsewhere with all times divided too.

    Energy a token divides alike, and all watts times k multiply it by k. No number is missed, or one sum is short.
    """
    degrees = {"tp": 8} if shape[0].startswith("llama") or not spread else {"tp": 1, "dp": 8, "ep": 8}
    cell = {"batch": 1, "isl": length} if prompt else {"batch": batch, "context": length}
    try:
        held = subject("decode", *shape, {"fidelity": fidelity, **degrees, **cell})
    except rl.InputError as error:
        if "memory" not in str(error):
            raise
        reject()
    found, listed = elasticities(held), held.numbers.parameters
    powers = sum_of_rates(listed, found["elasticity"])
    expected = {
        "tokens_per_s_per_gpu": 1.0, "tokens_per_s_per_user": 1.0, "tokens_per_mwh": 1.0, "joules_per_token": -1.0,
        "joules_per_token_at_boundary": -1.0, "power": 0.0, "power_at_boundary": 0.0, "memory_share": 0.0,
    }  # fmt: skip
    expected |= dict.fromkeys(("prefill_time",) if prompt else ("step_time", "tpot"), -1.0)
    at = {name: f for f, name in enumerate(held.about)}
    for name, power in expected.items():
        if name in at and not found["kink"][:, at[name]].any():
            assert powers[at[name]] == pytest.approx(power, abs=1e-7), name
    rates = np.array([one.kind == kinds.RATE for one in listed])
    if fidelity == "ideal" and not found["kink"].any():
        assert found["elasticity"][rates, at["tokens_per_s_per_gpu"]].sum() == pytest.approx(1.0, abs=1e-7)
        shares = np.array([one.kind in (kinds.SHARE, kinds.TIME) for one in listed])
        assert not found["elasticity"][shares].any()
    watts = np.array([one.kind == kinds.WATTS for one in listed])
    assert found["elasticity"][watts, at["tokens_per_mwh"]].sum() == pytest.approx(-1.0, abs=1e-7)
    assert found["elasticity"][watts, at["power"]].sum() == pytest.approx(1.0, abs=1e-7)


@pytest.mark.parametrize("modes", ["aggregated", "static", "disaggregated"])
def test_of_a_plan_rates_less_times_add_up_too(modes: str) -> None:
    ds = sensitivity("llama-3.1-70b", "dgx-h100", **PLAN, modes=modes)
    assert not ds["kink"].any()
    found = ds["sum_of_rates"].to_series()
    for name in ("tokens_per_mwh", "tokens_per_s_per_gpu", "request_rate"):
        assert found[name] == pytest.approx(1.0, abs=1e-8)
    for name in ("ttft", "tpot", "request_latency", "joules_per_token"):
        assert found[name] == pytest.approx(-1.0, abs=1e-8)


def test_what_is_not_used_moves_nothing() -> None:
    ds = sensitivity("llama-3.1-70b", "dgx-h100", **PLAN, modes="aggregated")
    for path in (
        *("accelerator.dense_flop_per_s.int8", "efficiency.operations.experts.fp8.eta_memory", "system.power.max_w"),
        *("efficiency.collectives.exchange_s", "system.scale_out.bytes_per_s", "efficiency.operations.index.fixed_s"),
    ):
        assert (ds["elasticity"].sel(parameter=path) == 0.0).all(), path
    held_only = ds["elasticity"].sel(parameter="accelerator.memory.bytes")
    assert (held_only.drop_sel(figure="memory_share") == 0.0).all()
    assert float(held_only.sel(figure="memory_share")) < -1.0  # the reserve does not grow with it


def test_provisioned_power_rests_on_the_figure_of_its_vintage() -> None:
    given = PLAN | {"basis": "provisioned", "vintage": "semianalysis-2026", "modes": "aggregated"}
    ds = sensitivity("llama-3.1-70b", "dgx-h100", **given)
    path = "system.power.provisioned_w_per_accelerator.semianalysis"
    assert float(ds["elasticity"].sel(parameter=f"{path}-2026", figure="tokens_per_mwh")) == pytest.approx(-1.0)
    assert float(ds["elasticity"].sel(parameter=f"{path}-v1", figure="tokens_per_mwh")) == 0.0
    assert float(ds["elasticity"].sel(parameter="facility.pue", figure="tokens_per_mwh")) == 0.0


def test_chosen_again_is_no_worse_than_held() -> None:
    """Where a change breaks no limit the held choice is still among those searched."""
    ds = sensitivity("llama-3.1-70b", "dgx-h100", **PLAN, searched=8)
    asked = np.isfinite(ds["searched_more"].values)
    assert 8 <= asked.sum() <= 10
    name = str(ds.attrs["figure"])
    faster = [one for one in ds["parameter"].values[asked] if "eta" in one or "per_s" in one]
    assert len(faster) >= 4
    for path in faster:
        one = ds.sel(parameter=path)
        assert (
            float(one["searched_more"]) >= float(one["ratio_more"].sel(figure=name)) - 2e-3
        )  # replicas are whole there
    assert float(ds["searched_more"].sel(parameter="accelerator.memory.bytes")) >= 1.0 - 1e-9
    assert np.isnan(ds["searched_more"].sel(parameter="stack.ttft_s"))
    bandwidth = sentence(ds, "accelerator.memory.bytes_per_s")
    bought = 100.0 * (float(ds["ratio_more"].sel(parameter="accelerator.memory.bytes_per_s", figure=name)) - 1.0)
    assert bandwidth.startswith(f"10 % more memory bandwidth: {bought:.2g} % more tokens_per_mwh, ")
    assert bandwidth.endswith("with everything chosen again")


def test_research_changes_the_sheets_asked_for() -> None:
    system = System.load("dgx-h100")
    assert changed(system, "facility.pue", 1.1).facility.pue == pytest.approx(1.43)
    assert changed(system, "efficiency.collectives.eta_gather", 1.1).accelerator.efficiency.collectives.eta_gather == (
        pytest.approx(1.1 * system.accelerator.efficiency.collectives.eta_gather)
    )
    cooler = changed(system, "accelerator.power.tdp_w", 0.9).accelerator.power
    assert (cooler.tdp_w, cooler.idle_w) == (pytest.approx(630.0), system.accelerator.power.idle_w)
    again = changed(system, "system.power.psu.efficiency", 1.03).power.psu
    assert again is not None
    assert max(again.efficiency) <= 1.0
    with pytest.raises(rl.InputError):
        changed(system, "accelerator.power.idle_w", 100.0)


def test_ranked_and_sentences() -> None:
    ds = sensitivity("llama-3.1-70b", "dgx-h100", "fp8", of="decode", tp=8, batch=64, context=4096)
    found = ranked(ds, "tpot", 5)
    size = np.abs(found["elasticity"].sel(figure="tpot").values)
    assert (np.diff(size) <= 0.0).all()
    assert found.sizes["parameter"] == 5
    assert not any(path.startswith("facility") for path in ranked(ds, "tpot")["parameter"].values)
    assert sentence(ds, "facility.pue", "tpot") == "10 % more PUE: no change of tpot"
    assert sentence(ds, "system.power.psu.efficiency") == (
        "9.09 % less efficiency of power supplies: 8.4 % less tokens_per_mwh"
    )
    with pytest.raises(rl.InputError, match="tpott"):
        ranked(ds, "tpott")


def test_a_part_without_known_watts_is_ranked_by_what_is_known() -> None:
    ds = sensitivity("llama-3.1-8b", "groq3-lpx", of="decode", tp=8, pp=8, batch=1, context=512)
    assert ds.attrs["figure"] == "step_time"
    assert np.isnan(ds["value"].sel(figure="tokens_per_mwh"))
    assert float(ds["sum_of_rates"].sel(figure="step_time")) == pytest.approx(-1.0)
    plan = sensitivity("llama-3.1-8b", "groq3-lpx", workload="1k/1k", objective="tokens_per_s_per_gpu")
    assert plan.attrs["figure"] == plan["figure"].values[0] == "tokens_per_s_per_gpu"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"change": 0.0}, "change = 0.0"),
        ({"change": 1.5}, "change = 1.5"),
        ({"change": "x"}, "change = 'x'"),
        ({"change": None}, "change = None"),
        ({"searched": 0}, "searched = 0"),
        ({"searched": "3"}, "searched = '3'"),
        ({"searched": 2.5}, "searched = 2.5"),
        ({"workload": None}, "workload: plan is of requests; give their lengths"),
        ({"of": "decode", "context": 9, "tp": 8, "fidelity": "best"}, "fidelity 'best': expected one of ideal, kernel"),
        ({"of": "decode", "context": 9, "tp": 8, "duty": "x"}, "duty 'x'"),
        ({"of": "decode", "context": 9, "tp": 8, "basis": "provisioned", "vintage": "2031"}, "vintage '2031': none of"),
        ({"of": "decode", "searched": True, "context": 9, "tp": 8}, "only a plan can be chosen again"),
        ({"of": "bill"}, "'bill'"),
        ({"objective": "best"}, "best"),
    ],
)
def test_bad_input(options: dict[str, Any], said: str) -> None:
    given = options if options.get("of") == "decode" else PLAN | options
    with pytest.raises(rl.InputError, match=said):
        sensitivity("llama-3.1-70b", "dgx-h100", **given)


def test_powers_of_time_are_of_kinds() -> None:
    def one(kind: str) -> Parameter:
        return Parameter("x", 1.0, "1", kind, "measured", "x y z")

    listed = [one(kinds.RATE), one(kinds.TIME), one(kinds.HOST), one(kinds.SHARE)]
    found = insight.sum_of_rates(listed, np.array([[0.5], [-0.25], [-0.25], [0.4]]))
    assert found[0] == pytest.approx(1.0)
