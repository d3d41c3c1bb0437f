"""A cap of watts: its laws, its draw by an oracle in plain Python, and that without one nothing changes."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import roofline as rl
from roofline.insight.capped import Capped
from roofline.insight.clock import BANDS, Clock, Work, fastest
from roofline.insight.held import HELD, Held
from roofline.insight.holding import held_plan
from roofline.insight.power_cap import power_cap, sentence
from roofline.specs import System

PLANS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "aggregated": ("llama-3.1-70b", "dgx-h100", {"modes": "aggregated", "slo": rl.SLO(tpot_s=0.03)}),
    "percentile": ("llama-3.1-70b", "dgx-h100", {"modes": "aggregated", "slo": rl.SLO(ttft_s=2, percentile=90)}),
    "static": ("llama-3.1-70b", "dgx-h100", {"modes": "static", "slo": rl.SLO(tpot_s=0.03, percentile=90)}),
    "pools": ("llama-3.1-70b", "dgx-h100", {"modes": "disaggregated", "slo": rl.SLO(ttft_s=4, percentile=90)}),
    "two systems": ("llama-3.1-70b", "dgx-h200", {"modes": "disaggregated", "prefill_systems": "dgx-b200"}),
    "drafts": ("deepseek-r1", "gb300-nvl72", {"modes": "aggregated", "acceptance": [0.8, 0.6]}),
    "stack": ("llama-3.1-70b", "dgx-h100", {"modes": "aggregated", "stack": "trtllm", "boundary": "rack"}),
    "duty": ("llama-3.1-70b", "dgx-h100", {"workload": rl.Workload.of("chat", load=0.5), "boundary": "accelerator"}),
    "provisioned": ("llama-3.1-70b", "dgx-h100", {"basis": "provisioned", "modes": "aggregated"}),
    "pipeline": (
        "llama-3.1-70b", "dgx-h100",
        {"modes": "aggregated", "deployments": [{"tp": 4, "pp": 2, "dp": 1, "ep": 1, "moe_tp": 4}]},
    ),
}  # fmt: skip


@cache
def plan_of(name: str) -> Held:
    model, system, options = PLANS[name]
    return held_plan(model, system, **({"workload": "1k/1k"} | options))


@pytest.mark.parametrize("name", PLANS)
def test_a_cap_above_the_draw_changes_nothing(name: str) -> None:
    held = plan_of(name)
    tdp = max(float(side.machine["tdp_w"]) for side in held.numbers.sides)
    caps = np.array([tdp, 2.0 * tdp, np.inf])
    capped = Capped.of(held, caps, Clock())
    found, expected = capped.capped(), held.figures(held.numbers.base())
    assert set(found) == set(HELD)
    for figure in HELD:
        np.testing.assert_allclose(found[figure], expected[figure][0], rtol=1e-12, err_msg=figure)
    for phase in capped.phases.values():
        assert (phase.clock == 1.0).all()
        np.testing.assert_array_equal(phase.watts, phase.rated_w)


clocks = st.builds(
    Clock,
    slope=st.floats(0.0, 1.0),
    least_voltage=st.floats(0.3, 1.0),
    least_clock=st.floats(0.1, 0.9),
    static_share=st.floats(0.0, 1.0),
    hbm_pj_per_bit=st.floats(0.0, 50.0),
)


@settings(max_examples=40, deadline=None)
@given(name=st.sampled_from(sorted(PLANS)), clock=clocks, caps=st.lists(st.floats(1.0, 1500.0), min_size=1, max_size=8))
def test_laws_of_a_cap(name: str, clock: Clock, caps: list[float]) -> None:
    held = plan_of(name)
    caps_w = np.unique(np.array([*caps, 5000.0]))
    capped = Capped.of(held, caps_w, clock)
    found = capped.capped()
    runs = np.isfinite(found["tokens_per_s_per_gpu"])
    least = np.max([phase.least_w for phase in capped.phases.values()], axis=0)
    np.testing.assert_array_equal(runs, caps_w >= least)  # below the draw at the least clock nothing runs
    for phase in capped.phases.values():
        held_back = ~np.isnan(phase.clock)
        assert (phase.watts[held_back] <= caps_w[held_back]).all()
        assert ((phase.clock >= clock.least_clock) | ~held_back).all()
        assert (np.diff(phase.clock[held_back]) >= 0.0).all()
        stretch = (phase.time_s / phase.rated_s)[held_back]
        assert (stretch >= 1.0 - 1e-12).all()
        assert (stretch <= (1.0 + 1e-9) / phase.clock[held_back]).all()  # time is never more than all compute
    assert (found["power"][runs] <= caps_w[runs] * (1.0 + 1e-12)).all()
    slack = 1.0 + 1e-12
    for figure, sign in (("tokens_per_s_per_gpu", 1), ("ttft", -1), ("tpot", -1), ("request_latency", -1)):
        values = found[figure][runs]
        less, more = (values[:-1], values[1:]) if sign > 0 else (values[1:], values[:-1])
        assert (less <= more * slack).all(), figure  # a looser cap is never slower
    idle = min(float(side.machine["idle_w"]) for side in held.numbers.sides)
    rate, energy = found["tokens_per_s_per_gpu"][runs], found["joules_per_token"][runs]
    assert (energy * rate >= idle * (1.0 - 1e-12)).all()
    np.testing.assert_allclose(
        found["tokens_per_mwh"][runs] * found["joules_per_token_at_boundary"][runs], 3.6e9, rtol=1e-12
    )


@settings(max_examples=200, deadline=None)
@given(
    clock=clocks, memory_s=st.floats(1e-4, 1.0), compute_s=st.floats(1e-4, 1.0), other_s=st.floats(0.0, 0.1),
    idle=st.floats(10.0, 200.0), dynamic=st.floats(0.0, 1000.0), memory=st.floats(0.0, 300.0),
    cap=st.floats(1.0, 1500.0),
)  # fmt: skip
def test_the_draw_is_that_of_an_oracle(
    clock: Clock, memory_s: float, compute_s: float, other_s: float, idle: float, dynamic: float, memory: float,
    cap: float,
) -> None:  # fmt: skip
    """A roof with a fixed time: energies of a run in plain numbers, and the clock by a scan of the interval."""

    def time_s(phi: float) -> float:
        return other_s + max(memory_s, compute_s / phi)

    moved_j = min(memory, dynamic) * time_s(1.0)
    logic_j = dynamic * time_s(1.0) - moved_j

    def watts(phi: float) -> float:
        a, b = 1.0 - clock.slope, clock.slope
        v = max(clock.least_voltage, a + b * phi)
        leaked_w = clock.static_share * logic_j / time_s(1.0) * v
        return idle + leaked_w + ((1.0 - clock.static_share) * logic_j * v**2 + moved_j) / time_s(phi)

    one = np.ones(1)
    work = Work(time_s(1.0) * one, (idle + dynamic) * one, memory * one, idle * one)
    phase = fastest(work, lambda phi: other_s + np.maximum(memory_s, compute_s / phi), cap * one, clock)
    np.testing.assert_allclose(phase.least_w[0], watts(clock.least_clock), rtol=1e-9)
    if np.isnan(phase.clock[0]):
        assert watts(clock.least_clock) > cap * (1.0 - 1e-9)
        return
    found = float(phase.clock[0])
    np.testing.assert_allclose(phase.watts[0], watts(found), rtol=1e-9)
    np.testing.assert_allclose(phase.time_s[0], time_s(found), rtol=1e-12)
    meets = [phi for phi in np.linspace(clock.least_clock, 1.0, 300) if watts(phi) <= cap * (1.0 - 1e-9)]
    assert not meets or found >= max(meets) - 1e-9


def test_steps_at_clocks_of_their_own_add_up() -> None:
    """Prompts of whole chunks: the time of a request's steps is so many without a chunk and so many with one."""
    held = plan_of("aggregated")
    capped = Capped.of(held, np.array([380.0, 450.0, 560.0]), Clock())
    found, table, b = capped.capped(), held._table, held._per_rank()
    assert table.fill == table.chunks  # no part of a chunk is empty
    decode, prompt = capped.phases["decode"], capped.phases["prompt"]
    assert (decode.clock != prompt.clock).all()
    with_chunk = b * table.chunks
    total_s = (table.steps - with_chunk) * decode.time_s + with_chunk * prompt.time_s
    energy = (table.steps - with_chunk) * decode.time_s * decode.watts + with_chunk * prompt.time_s * prompt.watts
    dp = held._degrees()[2]
    np.testing.assert_allclose(found["request_rate"], dp * b / total_s, rtol=1e-12)
    np.testing.assert_allclose(found["power"], energy / total_s, rtol=1e-12)


def test_decode_bound_by_memory_loses_less_than_prompts() -> None:
    """A TPOT of 8 ms takes small batches, which wait for memory: no cap that both can meet slows them by more."""
    options: dict[str, Any] = {"workload": "4k/1k", "slo": rl.SLO(tpot_s=0.008), "modes": "disaggregated"}
    capped = Capped.of(held_plan("llama-3.1-70b", "dgx-h100", **options), np.arange(300.0, 640.0, 20.0), Clock())
    capped.capped()
    decode, prompt = (capped.phases[name].time_s / capped.phases[name].rated_s for name in ("decode", "prompt"))
    both = np.isfinite(decode) & np.isfinite(prompt)
    assert both.sum() > 10
    assert (decode[both] <= prompt[both]).all()
    assert decode[both].max() < 1.1 < 1.3 < prompt[both].max()


def test_the_dataset_says_what_is_best() -> None:
    caps = [200.0, 350.0, 450.0, 550.0, 650.0, 700.0]
    given: dict[str, Any] = {"workload": "1k/1k", "slo": rl.SLO(tpot_s=0.03)}
    ds = power_cap("llama-3.1-70b", "dgx-h100", caps=caps, replan=True, **given)
    plan = rl.plan("llama-3.1-70b", "dgx-h100", **given).squeeze()
    for name in ("tokens_per_mwh", "tpot", "tokens_per_s_per_gpu", "power"):
        assert float(ds[f"uncapped_{name}"]) == pytest.approx(float(plan[name]), rel=1e-12)
    held, again = ds.sel(choice="held"), ds.sel(choice="replanned")
    assert ds["cap"].values.tolist() == caps
    for one in (held, again):
        assert "at the least clock" in str(one["reason"].values[0])
        assert np.isnan(one["tokens_per_mwh"].values[0])
        assert (one["reason"].values[1:] == "").all()
        meets = one["meets_slo"].values == 1
        best = np.nanargmax(np.where(meets, one["tokens_per_mwh"].values, np.nan))
        assert float(one["best_cap"]) == caps[best]
        assert float(one["best_tpot_ratio"]) == float(one["tpot_ratio"].values[best])
        assert (one["tpot"].values[meets] <= 0.03).all()
    kept = held["meets_slo"].values == 1
    assert not kept.all()
    assert (again["meets_slo"].values[1:] == 1).all()
    assert (again["tokens_per_mwh"].values[kept] >= held["tokens_per_mwh"].values[kept]).all()
    assert float(again["best_tokens_per_mwh_ratio"]) > float(held["best_tokens_per_mwh_ratio"]) > 1.0
    assert sentence(ds).startswith("held: best at 550 W: ")
    assert (ds.attrs["boundary"], ds.attrs["basis"], ds.attrs["token_basis"]) == ("facility", "metered", "output")
    assert "estimated" in ds.attrs["clock"]


def test_what_cannot_be_met_says_so() -> None:
    given: dict[str, Any] = {"workload": "1k/1k", "slo": rl.SLO(tpot_s=0.0073), "modes": "aggregated", "replan": True}
    ds = power_cap("llama-3.1-70b", "dgx-h100", caps=[100.0, 257.0, 260.0], **given)
    again = ds.sel(choice="replanned")
    assert np.isnan(ds["best_cap"].values).all()
    assert "at the least clock" in again["reason"].values[0]
    assert "no plan meets the SLO" in again["reason"].values[-1]
    assert sentence(ds, "replanned").startswith("replanned: no cap can be met")
    default = power_cap("llama-3.1-70b", "dgx-h100", workload="1k/1k")
    assert (default["cap"].values[0], default["cap"].values[-1]) == (210.0, 700.0)


def test_idle_time_is_charged_and_the_boundary_is_the_one_asked_for() -> None:
    given: dict[str, Any] = {"workload": rl.Workload.of("1k/1k", load=0.4), "modes": "aggregated", "caps": [450.0]}
    part = power_cap("llama-3.1-70b", "dgx-h100", boundary="accelerator", **given).squeeze()
    idle = System.load("dgx-h100").accelerator.power.idle_w or np.nan
    mean = 0.4 * float(part["power"]) + 0.6 * idle
    assert float(part["power_at_boundary"]) == pytest.approx(mean)
    expected = mean / (0.4 * float(part["tokens_per_s_per_gpu"]))
    assert float(part["joules_per_token_at_boundary"]) == pytest.approx(expected)
    rack, hall = (
        power_cap("llama-3.1-70b", "dgx-h100", boundary=boundary, **given).squeeze()
        for boundary in ("rack", "facility")
    )
    assert hall["power_at_boundary"] > rack["power_at_boundary"] > part["power_at_boundary"]


@pytest.mark.parametrize(("boundary", "rated"), [("accelerator", 700.0), ("rack", 10200.0 / 8)])
def test_what_is_provisioned_is_the_cap(boundary: Any, rated: float) -> None:
    options: dict[str, Any] = {"workload": "1k/1k", "basis": "provisioned", "boundary": boundary, "modes": "aggregated"}
    ds = power_cap("llama-3.1-70b", "dgx-h100", caps=[400.0, 600.0, 900.0], **options).squeeze()
    np.testing.assert_allclose(ds["power_at_boundary"], [rated - 300.0, rated - 100.0, rated])


def test_memory_keeps_its_watts_by_kind() -> None:
    clock, rate = Clock(), np.array([1e12])
    assert clock.memory_w("HBM3e", rate)[0] == pytest.approx(8 * BANDS["hbm_pj_per_bit"].value)
    assert clock.memory_w("GDDR7", rate)[0] == pytest.approx(8 * BANDS["gddr_pj_per_bit"].value)
    assert clock.memory_w("SRAM", rate)[0] == 0.0
    for name, band in BANDS.items():
        assert band.low < band.value < band.high, name
        assert getattr(clock, name) == band.value


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"caps": [0.0]}, "above 0"),
    ({"caps": [400.0, np.nan]}, "above 0"),
    ({"caps": [-5.0]}, "above 0"),
    ({"caps": []}, "1 to 2000 numbers"),
    ({"caps": [True]}, "1 to 2000 numbers"),
    ({"caps": "many"}, "give watts"),
    ({"clock": {"least_clock": 0.0}}, r"clock.least_clock = 0.0: give a number above 0"),
    ({"clock": {"slope": 1.5}}, r"clock.slope = 1.5"),
    ({"clock": {"slope": "x"}}, r"clock.slope = 'x'"),
    ({"clock": {"speed": 1.0}}, "speed"),
    ({"clock": 3}, r"clock = 3: give numbers by name, e.g. \{'slope': 0.5\}"),
    ({"clock": "slope=0.5"}, "clock = 'slope=0.5': give numbers by name"),
    ({"replan": True}, "SLO with a limit"),
    ({"basis": "provisioned", "vintage": "semianalysis-2026"}, "vintage"),
    ({"slo": rl.SLO(tpot_s=1e-6)}, "nothing to hold"),
]


@pytest.mark.parametrize(("options", "said"), WRONG, ids=lambda x: str(x)[:40])
def test_what_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(rl.InputError, match=said):
        power_cap("llama-3.1-70b", "dgx-h100", **({"workload": "1k/1k", "caps": [500.0]} | options))


def test_undisclosed_draw_cannot_be_capped() -> None:
    options: dict[str, Any] = {"workload": "1k/1k", "objective": "tokens_per_s_per_gpu"}
    with pytest.raises(rl.InputError, match="nothing to cap: undisclosed: TDP"):
        power_cap("llama-3.1-8b", "groq3-lpx", caps=[500.0], **options)


def test_a_cap_that_never_binds_is_not_called_the_best() -> None:
    ds = power_cap("llama-3.1-8b", "dgx-h100", caps=[900.0, 1200.0], workload="1k/1k")
    assert sentence(ds) == "held: no cap is better than none; at 900 W the cap no longer binds"
