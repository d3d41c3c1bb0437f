"""Laws of plans, on shipped models and systems: what more freedom, other limits and other orders do to a choice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import roofline as rl
from roofline.layout import Limit
from roofline.planning import plan
from roofline.planning.objective import OBJECTIVES
from roofline.serving import Lognormal

Plain = dict[str, Any]
Reach = Callable[[str], None]

ROUNDING = 1e-9
MODES = ("aggregated", "static", "disaggregated")
SINGLE = ("aggregated", "static")
MODELS = ["llama-3.1-8b", "gemma-3-27b", "qwen3-30b-a3b", "gpt-oss-20b", "nemotron-h-56b", "deepseek-v2-236b"]
SYSTEMS = ["dgx-h100", "dgx-h200", "gb200-nvl72", "mi300x-8", "rtx-pro-6000-8"]
MODES_DRAWN = st.sampled_from([*SINGLE, SINGLE, "disaggregated", MODES])
FEW = settings(max_examples=20)
DEGREES = ("tp", "pp", "dp", "ep", "moe_tp")
POWERLESS = ["groq3-lpx", "rubin-ultra-kyber"]


def cost(ds: xr.Dataset) -> np.ndarray:
    """What a plan keeps small, of every cell; inf where there is no choice."""
    found = {
        "tokens_per_mwh": 1.0 / ds["tokens_per_mwh"],
        "joules_per_token": ds["joules_per_token_at_boundary"],
        "tokens_per_s_per_gpu": 1.0 / ds["tokens_per_s_per_gpu"],
        "min_gpus": ds["total_accelerators"],
    }[ds.attrs["objective"]]
    return np.where(np.isnan(found.values), np.inf, found.values)


def chosen(ds: xr.Dataset) -> bool:
    return bool((ds["mode"] != "").any())


def no_dearer(freer: xr.Dataset, found: xr.Dataset) -> None:
    """The choice with more freedom costs no more, and is no further from limits that neither meets."""
    assert (cost(freer) <= cost(found) * (1 + ROUNDING)).all()
    near, other = freer["nearest_factor"].values, found["nearest_factor"].values
    both = ~np.isnan(near) & ~np.isnan(other)
    assert (near[both] <= other[both] * (1 + ROUNDING)).all()


@st.composite
def workloads(draw: st.DrawFn, **given_fields: Any) -> rl.Workload:
    """Prompts that take more than the smallest chunk."""
    isl, osl = draw(st.integers(1100, 12_000)), draw(st.integers(2, 1200))
    spread = draw(st.booleans())
    lengths = (Lognormal(isl, 0.5), Lognormal(osl, 0.6)) if spread else (isl, osl)
    fields = {"load": draw(st.sampled_from([1.0, 0.4])), "rate": draw(st.floats(0.5, 300.0))} | given_fields
    return rl.Workload(*lengths, **fields)


@st.composite
def slos(draw: st.DrawFn, latency: bool = False) -> rl.SLO:
    ttft = draw(st.one_of(st.none(), st.floats(0.1, 6.0)))
    tpot = draw(st.one_of(st.none(), st.floats(0.004, 0.08)))
    most = draw(st.floats(1.0, 60.0)) if latency else None
    return rl.SLO(ttft, tpot, most, percentile=draw(st.sampled_from([50, 90, 99])))


@st.composite
def asked(draw: st.DrawFn, modes: st.SearchStrategy[Any] = MODES_DRAWN, latency: bool = False) -> Plain:
    """Keywords of a plan of one model on one system."""
    return {
        "models": draw(st.sampled_from(MODELS)),
        "systems": draw(st.sampled_from(SYSTEMS)),
        "workload": draw(workloads()),
        "slo": draw(slos(latency)),
        "objective": draw(st.sampled_from([*OBJECTIVES])),
        "modes": draw(modes),
        "chunk": draw(st.sampled_from([[1024], [1024, 4096]])),
        "most_accelerators": draw(st.sampled_from([1, 2, 4, 8])),
        "boundary": draw(st.sampled_from(["accelerator", "rack", "facility"])),
    }


def looser_slo(slo: rl.SLO, factor: float) -> rl.SLO:
    return rl.SLO(slo.ttft_s * factor, slo.tpot_s * factor, slo.latency_s * factor, slo.percentile)


@pytest.mark.reaches("met", "missed by both", "met by the looser alone")
@settings(max_examples=40)
@given(asked(modes=st.sampled_from([*SINGLE, SINGLE]), latency=True), st.floats(1.0, 6.0))
def test_a_looser_slo_never_costs(reach: Reach, given_plan: Plain, factor: float) -> None:
    tight = plan(**given_plan)
    loose = plan(**given_plan | {"slo": looser_slo(given_plan["slo"], factor)})
    no_dearer(loose, tight)
    reach("met" if chosen(tight) else "met by the looser alone" if chosen(loose) else "missed by both")


@pytest.mark.reaches("met", "several replicas")
@FEW
@given(asked(modes=st.just("disaggregated")), st.floats(1.0, 6.0))
def test_a_looser_slo_never_costs_pools(reach: Reach, given_plan: Plain, factor: float) -> None:
    """Of units of any size: among few accelerators the cheapest pools may not fit together."""
    given_plan |= {"most_accelerators": None, "deployments": [{"tp": 1}, {"tp": 2}, {"tp": 4}]}
    tight = plan(**given_plan)
    loose = plan(**given_plan | {"slo": looser_slo(given_plan["slo"], factor)})
    no_dearer(loose, tight)
    if chosen(tight):
        reach("met")
    if (tight["decode_replicas"] > 1).any():
        reach("several replicas")


MORE: dict[str, tuple[Any, Any]] = {
    "chunk": ([1024], [1024, 2048, 8192]),
    "most_accelerators": (2, 8),
    "recipes": (["bf16"], ["bf16", "fp8"]),
    "deployments": ([{"tp": 2}], [{"tp": 1}, {"tp": 2}, {"tp": 4}, {"pp": 2}]),
    "modes": ("aggregated", MODES),
    "prefill_systems": (None, ["dgx-h200", "mi300x-8"]),
}


@pytest.mark.parametrize("what", [pytest.param(name, marks=pytest.mark.reaches("met")) for name in MORE])
@settings(max_examples=10)
@given(data=st.data())
def test_more_to_choose_from_never_costs(reach: Reach, what: str, data: st.DataObject) -> None:
    """Of pools, only more systems that compute prompts: those up to a quarter dearer than the cheapest are matched."""
    apart = what == "prefill_systems"
    modes = st.sampled_from(["disaggregated", MODES]) if apart else st.sampled_from([*SINGLE, SINGLE])
    given_plan = data.draw(asked(modes=modes))
    few, many = MORE[what]
    if apart:
        given_plan["most_accelerators"] = None
        given_plan["deployments"] = [{"tp": 1}, {"tp": 2}, {"tp": 4}]
    found, freer = plan(**given_plan | {what: few}), plan(**given_plan | {what: many})
    no_dearer(freer, found)
    if chosen(found):
        reach("met")


@pytest.mark.reaches("aggregated")
@settings(max_examples=40)
@given(asked(modes=st.just(MODES), latency=True), st.sampled_from([1.0, 1.0, 0.1]), st.booleans())
def test_all_modes_are_as_good_as_the_best_of_them(reach: Reach, given_plan: Plain, tighter: float, late: bool) -> None:
    slo = looser_slo(given_plan["slo"], tighter)
    given_plan["slo"] = slo if late else rl.SLO(slo.ttft_s, slo.tpot_s, percentile=slo.percentile)
    together = plan(**given_plan).squeeze()
    alone = {mode: plan(**given_plan | {"modes": mode}).squeeze() for mode in MODES}
    costs = {mode: float(cost(found)) for mode, found in alone.items()}
    least = min(costs.values())
    assert float(cost(together)) == pytest.approx(least, rel=1e-12)
    assert together.mode == "" if np.isinf(least) else costs[together.mode.item()] <= least * (1 + 1e-6)
    near = [found.nearest_factor.item() for found in alone.values() if found.nearest_miss != ""]
    if np.isinf(least) and near:
        assert together.nearest_factor == min(near)
    reach(together.mode.item() or "none")


@pytest.mark.reaches("met")
@FEW
@given(asked(), st.floats(0.05, 1.0), st.floats(1.0, 5.0))
def test_more_duty_never_costs_energy(reach: Reach, given_plan: Plain, duty: float, times: float) -> None:
    given_plan["objective"] = "tokens_per_mwh"
    loads = {}
    for load in (duty, min(1.0, duty * times)):
        workload = rl.Workload.of(given_plan["workload"], load=load)
        loads[load] = plan(**given_plan | {"workload": workload})
        assert loads[load].attrs["duty"] == f"{load:g}"
    idler, busier = (list(loads.values()) * 2)[:2]
    assert (cost(busier) <= cost(idler) * (1 + ROUNDING)).all()
    if chosen(idler):
        reach("met")


@pytest.mark.reaches("drafts", "met")
@settings(max_examples=12)
@given(asked(), st.sampled_from([[0.0], [0.0, 0.9], [0.85]]))
def test_drafts_that_are_never_kept_are_not_made(reach: Reach, given_plan: Plain, accepted: list[float]) -> None:
    """With a first draft that is never kept the choice is that without any; with good ones it is no dearer."""
    given_plan |= {"models": "deepseek-r1", "systems": "dgx-h200", "most_accelerators": None, "modes": SINGLE}
    given_plan |= {"deployments": [{"tp": 8, "ep": 8}, {"tp": 2, "dp": 4, "ep": 8}]}
    without, drafting = plan(**given_plan), plan(**given_plan | {"acceptance": accepted})
    no_dearer(drafting, without)
    if accepted[0] == 0.0:
        assert not (drafting["drafts"] > 0).any()
        xr.testing.assert_equal(drafting, without)
    elif (drafting["drafts"] > 0).any():
        reach("drafts")
    if chosen(without):
        reach("met")


@pytest.mark.reaches("met", "missed", *MODES)
@settings(max_examples=60)
@given(asked(latency=True), st.booleans())
def test_figures_of_a_choice_agree(reach: Reach, given_plan: Plain, latency: bool) -> None:
    """With each other, with the SLO, and with the workload; where nothing is chosen it is said why."""
    slo: rl.SLO = given_plan["slo"]
    if not latency:
        slo = given_plan["slo"] = rl.SLO(slo.ttft_s, slo.tpot_s, percentile=slo.percentile)
    ds = plan(**given_plan).squeeze()
    found = {name: ds[name].item() for name in ds.data_vars}
    workload: rl.Workload = given_plan["workload"]
    if not found["mode"]:
        assert np.isnan([found["tokens_per_mwh"], found["tpot"], found["tp"], found["memory"]]).all()
        if found["nearest_miss"]:
            assert found["nearest_factor"] > 1.0
            assert found["nearest_miss"] in slo.limits
        else:
            assert found["limit"] != Limit.NONE
        reach("missed")
        return
    reach("met")
    reach(found["mode"])
    assert (found["limit"], found["nearest_miss"]) == (Limit.NONE, "")
    for name, limit in slo.limits.items():
        value = found["request_latency" if name == "latency" else name]
        assert value <= limit * (1 + ROUNDING)
    assert found["tokens_per_mwh"] * found["joules_per_token_at_boundary"] == pytest.approx(3.6e9, rel=1e-12)
    rates = (found[f"{kind}tokens_per_s_per_gpu"] for kind in ("", "input_", "total_"))
    output, prompt, total = rates
    assert total == pytest.approx(output + prompt, rel=1e-12)
    assert prompt / output == pytest.approx(workload.mean_isl / workload.mean_osl, rel=1e-12)
    assert found["output_tokens_per_s"] == pytest.approx(found["request_rate"] * workload.mean_osl, rel=1e-12)
    assert output * found["accelerators"] == pytest.approx(found["output_tokens_per_s"], rel=1e-12)
    assert found["tokens_per_s_per_user"] == pytest.approx(1.0 / found["tpot"], rel=1e-12)
    watts = found["power_at_boundary"] * found["accelerators"]
    assert found["joules_per_token_at_boundary"] == pytest.approx(
        watts / (workload.duty * found["output_tokens_per_s"]), rel=1e-9
    )
    assert found["joules_per_token"] == pytest.approx(
        found["power"] * found["accelerators"] / found["output_tokens_per_s"], rel=1e-9
    )
    assert found["accelerators"] * found["replicas"] == found["total_accelerators"]
    assert found["replicas"] * found["request_rate"] >= workload.rate * (1 - 1e-12)
    assert 0.0 < found["memory"] <= found["memory_share"] * rl.System.load(ds.system.item()).accelerator.memory.bytes
    assert found["memory_share"] <= 1.0
    assert found["concurrency"] >= found["batch"]
    decoding = found["accelerators"] - (found["prefill_accelerators"] if found["mode"] == "disaggregated" else 0)
    group = found["tp"] * found["pp"] * found["dp"]
    assert decoding == found["decode_replicas"] * group
    if given_plan["objective"] != "min_gpus" or found["mode"] != "disaggregated":  # a fleet is one unit there
        assert found["accelerators"] <= given_plan["most_accelerators"]
    if found["mode"] == "disaggregated":
        assert found["prefill_system"] == ds.system.item()
        prompts = found["prefill_tp"] * found["prefill_pp"] * found["prefill_dp"]
        assert found["prefill_accelerators"] == found["prefill_replicas"] * prompts
    else:
        assert (found["prefill_replicas"], found["prefill_system"]) == (0, "")


@pytest.mark.reaches("met")
@FEW
@given(asked())
def test_what_stands_around_accelerators_only_costs(reach: Reach, given_plan: Plain) -> None:
    """Facility <= rack <= accelerators in tokens/MWh, each the best by its own."""
    given_plan["objective"] = "tokens_per_mwh"
    costs = [cost(plan(**given_plan | {"boundary": name})) for name in ("accelerator", "rack", "facility")]
    assert (costs[0] <= costs[1]).all()
    assert (costs[1] <= costs[2]).all()
    if np.isfinite(costs[0]).any():
        reach("met")


@settings(max_examples=6)
@given(asked(modes=st.sampled_from(["aggregated", "static", "disaggregated", MODES])), st.data())
def test_threads_and_order_change_nothing(given_plan: Plain, data: st.DataObject) -> None:
    """Of models, systems, workloads and SLOs: of each cell the same choice, alone or among others."""
    several = {
        "models": data.draw(st.lists(st.sampled_from(MODELS), min_size=2, max_size=2, unique=True)),
        "systems": data.draw(st.lists(st.sampled_from(SYSTEMS), min_size=2, max_size=2, unique=True)),
        "workload": [rl.Workload.of(data.draw(workloads()), name=name) for name in ("one", "other")],
        "slo": [rl.SLO(), rl.SLO(3.0, 0.05)],
    }
    given_plan |= several | {"most_accelerators": 4}
    whole = plan(**given_plan)
    xr.testing.assert_identical(whole.drop_attrs(), plan(**given_plan, parallel=False).drop_attrs())
    order = data.draw(st.sets(st.sampled_from(list(several)), min_size=1))
    turned = plan(**given_plan | {name: list(reversed(given_plan[name])) for name in order})
    dims = {"models": "model", "systems": "system", "workload": "workload", "slo": "slo"}
    back = turned.isel({dims[name]: slice(None, None, -1) for name in order})
    assert back["system"].values.tolist() == whole["system"].values.tolist()
    xr.testing.assert_equal(back.drop_attrs(), whole.drop_attrs())


@pytest.mark.parametrize("system", POWERLESS)
@pytest.mark.parametrize("modes", [*MODES, MODES])
def test_undisclosed_watts_leave_times(system: str, modes: Any) -> None:
    """Nothing is chosen by energy, and it is said why; by accelerators as anywhere, its energy unknown."""
    given_plan: Plain = {"models": "gpt-oss-20b", "systems": system, "workload": "1k/128", "modes": modes}
    given_plan |= {"rate": 50.0, "chunk": [1024], "recipes": ["fp8", "mxfp4"]}
    for objective in ("tokens_per_mwh", "joules_per_token"):
        ds = plan(**given_plan, objective=objective).squeeze()
        assert ds.limit == Limit.POWER
        assert ds.mode == ""
        assert np.isnan(ds.tokens_per_mwh)
        assert "undisclosed" in ds.power_unknown.item()
    for objective in ("tokens_per_s_per_gpu", "min_gpus"):
        ds = plan(**given_plan, objective=objective).squeeze()
        assert ds.limit == Limit.NONE
        assert ds.tokens_per_s_per_gpu > 0
        assert np.isnan([ds.tokens_per_mwh, ds.joules_per_token, ds.power]).all()


def test_token_bases_never_mix() -> None:
    """Energy and the plain rates count output tokens; input and total have names of their own that say so."""
    ds = plan("llama-3.1-8b", "dgx-h100", workload="1k/128", chunk=[1024], most_accelerators=1, modes="aggregated")
    assert ds.attrs["token_basis"] == "output"
    assert ds.attrs["fidelity"] == "serving"
    for name in ds.data_vars:
        text = ds[name].attrs["long_name"]
        if "token" in str(name) and "user" not in str(name):
            kind = str(name).split("_")[0] if str(name).startswith(("input", "total")) else "output"
            assert ("input and output" if kind == "total" else kind) in text, name
    for name in ("tokens_per_mwh", "joules_per_token_at_boundary", "power_at_boundary"):
        assert "(facility, metered)" in ds[name].attrs["long_name"]


def test_a_second_unit_where_one_is_not_enough() -> None:
    ds = plan(
        ["llama-3.1-8b"], ["dgx-h100", "dgx-h200"], workload="1k/128", rate=500.0, chunk=[1024], most_accelerators=2,
        slo=[None, {"ttft_s": 0.5, "tpot_s": 0.02}], objective="min_gpus", modes="aggregated",
    )  # fmt: skip
    units = np.ceil(500.0 / ds.request_rate)
    xr.testing.assert_allclose(ds.replicas, units)
    assert (ds.total_accelerators.sel(slo="none") <= ds.total_accelerators.isel(slo=1)).all()
    assert (ds.replicas > 1).all()


def test_two_pools_in_a_unit_of_few_accelerators() -> None:
    """A unit of more accelerators is never worse, and two are enough where a pool fits on one."""
    found = [
        plan("gpt-oss-120b", "dgx-h100", workload="4k/512", slo=rl.SLO(tpot_s=0.01), modes="disaggregated",
             most_accelerators=most).squeeze()
        for most in (1, 2, 4, 8)
    ]  # fmt: skip
    assert found[0].mode == ""
    assert found[0].limit == Limit.ACCELERATORS
    tokens = [float(one.tokens_per_mwh) for one in found[1:]]
    assert tokens == sorted(tokens)
    assert [float(one.accelerators) <= most for one, most in zip(found[1:], (2, 4, 8), strict=True)] == [True] * 3


def test_two_pools_share_a_limit_of_latency() -> None:
    """Met literally; a looser one is never worse nor farther from being met."""
    limits = [2.0, 4.0, 5.0, 8.0, 20.0]
    ds = plan(
        "llama-3.1-70b", "dgx-h100", workload="4k/512", slo=[rl.SLO(latency_s=limit) for limit in limits],
        modes="disaggregated",
    ).squeeze()  # fmt: skip
    runs = (ds["mode"] != "").values
    assert not runs[0]
    assert runs[-3:].all()
    assert (ds.request_latency.values[runs] <= np.array(limits)[runs]).all()
    assert (np.diff(ds.tokens_per_mwh.values[runs]) >= 0.0).all()
    assert set(ds.nearest_miss.values[~runs]) == {"latency"}
    assert (np.diff(ds.nearest_factor.values[~runs]) < 0.0).all()
