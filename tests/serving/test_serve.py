"""Serving from a deployment: steps are those of the kernels with the stack's cost, figures those of the loops."""

from __future__ import annotations

import numpy as np
import pytest

import roofline as rl
from roofline.grid import axes
from roofline.grid.evaluate import Grid
from roofline.layout import Limit
from roofline.serving import Closed, Lognormal, Open, Requests, Workload, simulate
from roofline.serving.deployed import chunk_contexts, deployed, draw_w, mean_context
from roofline.serving.under_load import _split_cv
from roofline.specs.stack import Stack

WHERE = ("llama-3.1-8b", "dgx-h100", "fp8")
LENGTHS = {"isl": Lognormal(1024, 0.5), "osl": Lognormal(256, 0.5)}
WORK = {"workload": Workload(**LENGTHS)}


def replica(requests, chunk=2048, slots=64, model="llama-3.1-8b", recipe="fp8", stack="default", **degrees):
    grid = Grid(model, "dgx-h100", recipe, axes.deployments(**degrees), "kernel")
    return deployed(grid, grid.records(), 0, requests, Stack.load(stack), chunk, slots)


def test_mean_context_by_counting() -> None:
    """Every decoded token of every request at its own context."""
    isl, osl = np.array([10, 200, 37]), np.array([1, 50, 400])
    counted = [i + j for i, o in zip(isl, osl, strict=True) for j in range(1, o + 1)]
    assert mean_context(Requests(isl, osl)) == pytest.approx(np.mean(counted))
    assert mean_context(Requests(1000, 200)) == pytest.approx(1000 + 100.5)


def test_chunks_of_a_prompt_end_where_they_end() -> None:
    assert chunk_contexts(Requests(8192, 10), 2048).tolist() == [2048, 4096, 6144, 8192]
    assert chunk_contexts(Requests(5000, 10, cached=1000), 2048).tolist() == [3048, 5000]
    assert chunk_contexts(Requests(100, 10), 2048).tolist() == [2048]
    assert chunk_contexts(Requests(100_000, 10), 1000).size == 8


def test_steps_are_those_of_the_kernels_and_the_stack() -> None:
    requests, stack = Requests(1000, 200), Stack.load("default")
    made = replica(requests)
    alone = rl.decode(*WHERE, batch=[1, 7, 64], context=made.context).tpot.squeeze().values
    own = np.array([stack.step_s + stack.sequence_s * b for b in (1, 7, 64)])
    np.testing.assert_allclose(made.service.decode_s[[1, 7, 64]], alone + own, rtol=1e-12)
    prompt = rl.prefill(*WHERE, batch=1, isl=2048).prefill_time.item()
    assert made.service.mixed_s[0] == pytest.approx(prompt + stack.step_s, rel=1e-12)
    assert (made.service.mixed_s > made.service.decode_s).all()
    assert (
        made.service.mixed_s[1:] < made.service.decode_s[1:] + made.service.mixed_s[0]
    ).all()  # weights are read once
    assert (np.diff(made.service.mixed_s[1:]) > 0).all()


def test_draw_lies_between_idle_and_tdp() -> None:
    part = rl.Accelerator.load("h100-sxm").power
    made = replica(Requests(1000, 200))
    for watts in (made.decode_w[1:], made.mixed_w):
        assert (watts > part.idle_w).all()
        assert (watts < part.tdp_w).all()
    assert (made.mixed_w[1:] > made.decode_w[1:]).all()  # a prompt computes


def test_draw_is_that_of_the_kernels() -> None:
    """Equation (16) stands in the kernels, which Python cannot call in parts, and here: the same bits."""
    systems = ["dgx-h100", "gb300-nvl72", "mi355x-8"]
    ds = rl.decode("llama-3.1-70b", systems, "fp8", tp=8, batch=[1, 64], context=4096)
    machines = Grid("llama-3.1-70b", systems, "fp8", axes.deployments(8), "kernel").packed.machines
    for machine, cell in zip(machines, (ds.isel(system=i) for i in range(3)), strict=True):
        np.testing.assert_array_equal(draw_w(machine, np.stack([cell.mfu.values, cell.mbu.values])), cell.power.values)


@pytest.mark.parametrize("pp", [1, 2])
def test_ranks_without_experts_are_replicas_of_one_rank(pp: int) -> None:
    """Times and watts with b sequences on each rank are those of one with b, from as many as a pipeline has stages."""
    alone, ranks = (replica(Requests(5000, 200), slots=dp * 32, pp=pp, dp=dp) for dp in (1, 3))
    assert (alone.ranks, ranks.ranks) == (1, 3)
    assert alone.service.slots == ranks.service.slots == 32
    assert ranks.slots_memory == 3 * alone.slots_memory
    for name in ("decode_s", "mixed_s"):
        for at in (slice(0, 1), slice(pp, None, pp)):
            np.testing.assert_allclose(getattr(ranks.service, name)[at], getattr(alone.service, name)[at], rtol=1e-12)
    for name in ("decode_w", "mixed_w"):
        for at in (slice(0, 1), slice(pp, None, pp)):
            np.testing.assert_allclose(getattr(ranks, name)[at], getattr(alone, name)[at], rtol=1e-12)


def test_ranks_share_their_experts() -> None:
    """A step with b sequences a rank is the replica's at 8 b; graphs are captured, and the stack pays, for b."""
    stack = Stack.load("default").replace(captured_batches=(1, 2, 4, 8, 16))
    made = replica(Requests(1000, 200), slots=8 * 12, model="qwen3-30b-a3b", stack=stack, dp=8, ep=8)
    assert made.service.slots == 12
    asked = {"batch": [8, 32, 64], "context": made.context, "dp": 8, "ep": 8}
    alone = rl.decode("qwen3-30b-a3b", "dgx-h100", "fp8", **asked).tpot.squeeze().values
    own = np.array([stack.step_s + stack.sequence_s * b for b in (1, 3, 7)])
    np.testing.assert_allclose(made.service.decode_s[[1, 3, 7]], alone + own, rtol=1e-12)
    prompts = rl.prefill("qwen3-30b-a3b", "dgx-h100", "fp8", batch=8, isl=2048, dp=8, ep=8).prefill_time.item()
    assert made.service.mixed_s[0] == pytest.approx(prompts + stack.step_s, rel=1e-12)


@pytest.mark.parametrize(("slots", "of_a_rank"), [(1, 1), (3, 1), (11, 5), (12, 6)])
def test_slots_are_whole_ones_of_each_rank(slots: int, of_a_rank: int) -> None:
    assert replica(Requests(1000, 200), slots=slots, dp=2).service.slots == of_a_rank


def test_clients_are_shared_by_the_ranks() -> None:
    """Without experts: dp ranks are dp replicas with a share of the clients; between whole numbers it is linear."""
    many = rl.serve(*WHERE, **WORK, concurrency=[1, 3, 4, 8, 10, 12], slots=4 * 32, dp=4).squeeze()
    one = rl.serve(*WHERE, **WORK, concurrency=[1, 2, 3], slots=32).squeeze()
    of_a_rank = ("ttft", "tpot", "request_latency", "tokens_per_s_per_user", "power", "joules_per_token")
    of_all = ("batch", "request_rate", "output_tokens_per_s")
    for name in (*of_a_rank, *of_all):
        times = 4 if name in of_all else 1
        np.testing.assert_allclose(many[name].sel(concurrency=[4, 8, 12]), times * one[name], rtol=1e-12)
    for name in ("ttft", "tpot", *of_all):
        between = many[name].sel(concurrency=[8, 12]).mean().item()
        assert many[name].sel(concurrency=10).item() == pytest.approx(between, rel=1e-12)
    few, full = many.sel(concurrency=[1, 3]), many.sel(concurrency=4)
    for name in ("ttft", "tpot"):
        assert (few[name] == full[name]).all()
    for name in of_all:
        np.testing.assert_allclose(few[name], full[name].item() * np.array([1, 3]) / 4, rtol=1e-12)
    assert few["reason"].values.tolist() == ["fewer clients than attention ranks"] * 2
    assert (many["reason"].sel(concurrency=[4, 8, 10, 12]) == "").all()


def test_a_rate_is_split_over_the_ranks() -> None:
    many = rl.serve(*WHERE, **WORK, rate=[20.0, 3e4], slots=3 * 64, dp=3).squeeze()
    one = rl.serve(*WHERE, **WORK, rate=20 / 3, slots=64).squeeze()
    for name in ("ttft", "ttft_p50", "ttft_p99", "tpot", "tpot_p99", "load", "tokens_per_s_per_gpu", "power"):
        assert many[name][0].item() == pytest.approx(one[name].item(), rel=1e-9), name
    assert many["request_rate"][0].item() == pytest.approx(20.0)
    assert many["batch"][0].item() == pytest.approx(3 * one["batch"].item(), rel=1e-9)
    assert many["reason"].values[1].startswith("on each of 3 attention ranks: unstable: 10000 requests/s")


@pytest.mark.parametrize("cv", [0.0, 0.5, 1.0, 3.0])
def test_a_stream_split_at_random_comes_nearer_to_poisson(cv: float) -> None:
    """Gaps of every third arrival on the mean, counted."""
    generator = np.random.default_rng(5)
    arrivals = Open(1.0, cv).draw(600_000, generator)
    gaps = np.diff(arrivals[generator.integers(3, size=arrivals.size) == 0])
    assert gaps.std() / gaps.mean() == pytest.approx(_split_cv(cv, 3), rel=0.01)
    assert _split_cv(cv, 1) == cv


def test_one_client_waits_for_nobody() -> None:
    ds = rl.serve(*WHERE, **WORK, concurrency=1).squeeze()
    made = replica(Requests(**LENGTHS), slots=None)
    assert ds["tpot"].item() == pytest.approx(made.service.decode_s[1], rel=0.05)
    assert ds["ttft"].item() < Stack.load("default").ttft_s + 2 * made.service.mixed_s[1]


def test_load_buys_throughput_with_time() -> None:
    ds = rl.serve(*WHERE, **WORK, concurrency=[1, 8, 64, 256], slots=128).squeeze()
    for name in ("tpot", "ttft", "request_latency", "batch"):
        assert (ds[name].diff("concurrency") > 0).all() or name == "tpot"
    assert (ds["output_tokens_per_s"].diff("concurrency") > 0).all()
    assert (ds["joules_per_token"].diff("concurrency") < 0).all()
    assert ds["batch"].max() <= 128
    served = ds["concurrency"] * 256 / ds["request_latency"]  # Little's law, mean lengths
    np.testing.assert_allclose(ds["output_tokens_per_s"], served, rtol=0.15)


@pytest.mark.parametrize("clients", [4, 48])
def test_closed_loop_agrees_with_the_simulator(clients: int) -> None:
    requests = Requests(**LENGTHS)
    made = replica(requests)
    seen = simulate(made.service, requests, Closed(clients), count=20_000, seed=3)
    said = rl.serve(*WHERE, **WORK, concurrency=clients, slots=64).squeeze()
    assert said["tpot"].item() == pytest.approx(seen.tpot_s[np.isfinite(seen.tpot_s)].mean(), rel=0.1)
    assert said["ttft"].item() == pytest.approx(seen.ttft_s.mean(), rel=0.15)


def test_open_arrivals_have_percentiles_and_an_end() -> None:
    ds = rl.serve(*WHERE, **WORK, rate=[2.0, 10.0, 1e4], slots=64).squeeze()
    assert (ds["ttft_p99"][:2] > ds["ttft_p50"][:2]).all()
    assert ds["load"][0] < ds["load"][1] < 1 < ds["load"][2]
    assert np.isnan(ds["ttft"][2])
    assert "unstable" in ds["reason"].values[2]
    np.testing.assert_allclose(ds["output_tokens_per_s"][:2], ds["rate"][:2] * 256, rtol=0.02)


def test_a_workload_brings_its_own_load() -> None:
    own = rl.serve(*WHERE, workload=Workload(1000, 200, concurrency=8)).squeeze()
    given = rl.serve(*WHERE, workload="1000/200", concurrency=8).squeeze()
    assert own["tpot"].item() == given["tpot"].item()
    assert own.attrs["mean_isl"] == "1000"
    preset = rl.serve(*WHERE, workload="chat", rate=1.0)
    assert "rate" in preset.dims


def test_energy_at_the_meter() -> None:
    ds = rl.rollup(rl.serve(*WHERE, **WORK, concurrency=[4, 64], tp=[1, 8]), "facility")
    np.testing.assert_allclose(ds["tokens_per_mwh"] * ds["joules_per_token_at_boundary"], 3.6e9, rtol=1e-12)
    assert ds.attrs["fidelity"] == "serving"
    assert ds.attrs["stack"] == "default"
    assert "stack/default=" in ds.attrs["sheets"]


def test_what_does_not_run_says_why() -> None:
    ds = rl.serve("llama-3.1-405b", "dgx-h100", ["bf16", "fp8"], workload="1k/128", concurrency=4, tp=[1, 8])
    assert (ds["limit"].sel(deployment="tp1") == Limit.MEMORY).all()
    assert ds["tpot"].sel(deployment="tp1").isnull().all()
    far = rl.serve("gemma-2-27b", "dgx-h100", "bf16", workload="9000/128", concurrency=4)
    assert far["limit"].item() == Limit.CONTEXT


def test_undisclosed_watts_leave_the_times() -> None:
    ds = rl.serve("llama-3.1-8b", "helios-mi455x", "fp8", **WORK, concurrency=8).squeeze()
    assert np.isfinite(ds["tpot"])
    assert np.isnan(ds["power"])
    assert np.isnan(ds["joules_per_token"])


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({}, "give either concurrency"),
        ({"concurrency": 1, "rate": 1.0}, "give either concurrency"),
        ({"rate": -1.0}, r"rate\[0\] = -1.0"),
        ({"rate": [1.0, float("nan")]}, r"rate\[1\] = nan"),
        ({"rate": []}, "rate: none given"),
        ({"concurrency": 0}, "concurrency: 0"),
        ({"concurrency": 1, "chunk": 0}, "chunk: 0"),
        ({"concurrency": 1, "slots": 0}, "slots: 0"),
        ({"concurrency": 1, "stack": "trtlm"}, "no stack named 'trtlm'"),
        ({"concurrency": 1, "workload": "0/10"}, "isl"),
        ({"concurrency": 1, "workload": "chatt"}, "chat"),
        ({"rate": 1.0, "cv": -1.0}, "cv = -1.0"),
    ],
)
def test_bad_input_is_named(bad, said) -> None:
    with pytest.raises(rl.InputError, match=said):
        rl.serve(*WHERE, **({"workload": "1000/100"} | bad))
