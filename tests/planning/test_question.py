"""What a search is asked: checked input, and the numbers a kernel takes of it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import roofline as rl
from roofline.kernels.candidates import TABLE, W_CV2, W_DUTY, W_ISL, W_LOAD, W_LONGEST, W_NEW, W_OSL, W_RESERVED
from roofline.planning import plan
from roofline.planning.objective import OBJECTIVES, Objective
from roofline.planning.plan import checked_modes, distinct, slo_label, workload_label
from roofline.planning.question import CHUNKS, LONGEST, MOST_BATCH, batch_grid, question
from roofline.rack.energy import PowerFacts
from roofline.serving import Lognormal, step_table

SMALL = 96
CHAT = rl.Workload(Lognormal(2000, 0.6), Lognormal(300, 0.5), load=0.5)


@pytest.mark.parametrize("most", [1, 2, 7, 16, 17, 100, 1000, MOST_BATCH, MOST_BATCH + 1])
def test_batches_are_eight_an_octave(most: int) -> None:
    grid = batch_grid(most)
    assert grid.dtype == np.int64
    assert grid[0] == 1
    assert grid[-1] == most
    assert (np.diff(grid) > 0).all()
    assert set(range(1, min(most, 16) + 1)) <= set(grid.tolist())
    assert {1 << n for n in range(most.bit_length())} <= set(grid.tolist())  # the search begins octaves with them
    for n in range(4, most.bit_length() - 1):
        assert ((grid >= 1 << n) & (grid < 2 << n)).sum() in (8, 9)  # nine with `most`


@st.composite
def workloads(draw: st.DrawFn) -> rl.Workload:
    mean = draw(st.integers(1, 20_000))
    isl = draw(st.sampled_from([mean, Lognormal(float(mean), 0.8)]))
    cached = draw(st.one_of(st.just({}), st.just({"cached_share": 0.4}), st.just({"cached": (mean - 1) // 3})))
    osl = draw(st.one_of(st.integers(2, 3000), st.floats(3.0, 3000.0).map(lambda m: Lognormal(m, 0.7))))
    return rl.Workload(isl, osl, **cached, load=draw(st.sampled_from([1.0, 0.3])), rate=draw(st.none() | st.just(7.0)))


@given(workloads(), st.sets(st.sampled_from([1, 64, 500, 4096]), min_size=1), st.booleans())
def test_facts_of_a_workload(workload: rl.Workload, chunks: set[int], loaded: bool) -> None:
    """I, N, V, O, cv^2, the duty, the load and the longest context, and where chunks of a mean prompt end."""
    asked = question(workload, chunks=sorted(chunks), most_batch=SMALL, loaded=loaded and workload.rate is not None)
    (facts,), isl, osl = asked.arrays()["facts"], workload.mean_isl, workload.mean_osl
    new = min(max(1, round(workload.mean_computed)), max(1, round(isl)))
    assert facts[[W_ISL, W_NEW]].tolist() == [max(1, round(isl)), new]
    assert facts[W_RESERVED] == round(isl + osl)
    assert facts[[W_OSL, W_DUTY]].tolist() == [osl, workload.duty]
    assert facts[W_LOAD] == (7.0 if asked.loaded else 0.0)
    drawn = workload.computed(workload.requests.points()[0])
    if not workload.cached_share:
        assert facts[W_CV2] == pytest.approx(drawn.var() / drawn.mean() ** 2, rel=1e-9, abs=1e-15)
    contexts = asked.contexts(workload)
    assert contexts.size == 4
    assert contexts.mean() == pytest.approx(max(workload.mean_context, 1.0), abs=0.5)
    assert facts[W_LONGEST] == max(facts[W_ISL], facts[W_RESERVED], contexts.max())
    for chunk in asked.chunks:
        ends = asked.prompt_ends(chunk)
        cached = int(facts[W_ISL]) - new
        every = [min(cached + n * chunk, cached + new) for n in range(1, math.ceil(new / chunk) + 1)]
        assert len(ends) == 8
        assert set(ends.tolist()) <= {max(end, chunk) for end in every}
        assert {ends[0], ends[-1]} == {max(every[0], chunk), max(every[-1], chunk)}
        if len(every) <= 8:
            assert set(ends.tolist()) == {max(end, chunk) for end in every}


def test_a_chunk_beyond_any_prompt_is_tried_once() -> None:
    """A prompt of 600 tokens is whole in 1024: 2048 would be the same again."""
    asked = question("600/100", chunks=[256, 1024, 2048], most_batch=SMALL)
    assert sorted(asked.steps) == [(0, 0, 0), (0, 1, 0)]
    arrays = asked.arrays()
    assert (arrays["filling"][0, 2] == 0).all()
    assert np.isnan(arrays["tables"][0, 0, 2]).all()
    assert arrays["filling"][0, :2, 1].tolist() == [3, 1]
    both = question(["600/100", "3000/100"], chunks=[1024, 2048], most_batch=SMALL)
    assert sorted(both.steps) == [(0, 0, 0), (1, 0, 0), (1, 1, 0)]


def test_tables_are_those_of_the_steps() -> None:
    """At the percentile of each limit, for each number of drafts."""
    slos = [{"ttft_s": 1.0, "percentile": {"ttft": 95, "latency": 80}}, None]
    asked = question(CHAT, slos, chunks=[512], acceptance=[0.8, 0.5], most_batch=SMALL)
    assert asked.percentiles == [50.0, 80.0, 95.0]
    assert [drafts.count for drafts in asked.drafts] == [0, 1, 2]
    arrays = asked.arrays()
    assert arrays["tables"].shape == (1, 2, 1, 3, SMALL + 1, TABLE)
    for g, tau in enumerate((1.0, 1.8, 2.2)):
        table = step_table(CHAT, 512, tau, SMALL, asked.percentiles)
        for s, (ttft, latency) in enumerate(((95.0, 80.0), (50.0, 50.0))):
            found = arrays["tables"][0, s, 0, g].T
            columns = (
                table.n, table.wait_steps_at[ttft], table.wait_fills_at[ttft], table.share_seen_at[50.0],
                table.wait_steps_at[latency], table.wait_fills_at[latency], table.share_seen_at[latency],
            )  # fmt: skip
            for column, expected in zip(found, columns, strict=True):
                np.testing.assert_array_equal(column, expected)
            assert arrays["quants"][0, s].tolist() == [ttft / 100, table.osl_at[latency] - 1]
        assert arrays["timing"][0, g].tolist() == [table.steps, table.kappa]
        assert arrays["longest"][0, g, [1, 40, LONGEST]].tolist() == table.longest_steps([1, 40, LONGEST]).tolist()
    assert arrays["filling"][0, 0].tolist() == [table.fill, table.chunks]
    assert arrays["limits"].tolist() == [[1.0, math.inf, math.inf], [math.inf] * 3]
    assert arrays["drafts"].tolist() == [0, 1, 2]


def test_a_stack_pads_and_takes_its_time() -> None:
    stack = rl.Stack.load("default").replace(name="two", captured_batches=(4, 32), step_s=1e-3)
    arrays = question("1k/1k", stack=stack, most_batch=40).arrays()
    assert arrays["padded"].tolist() == [0, *[4] * 4, *[32] * 28, *range(33, 41)]
    assert arrays["stack"].tolist() == [1e-3, stack.sequence_s, stack.ttft_s]


def test_contexts_hold_the_drafts() -> None:
    asked = question(rl.Workload(1, 2), acceptance=[0.9] * 4, most_batch=8)
    assert asked.contexts(asked.workloads[0]).min() == 5.0


def test_defaults() -> None:
    asked = question("8k/1k")
    assert (asked.chunks, asked.most_batch, asked.loaded) == (CHUNKS, MOST_BATCH, False)
    assert [drafts.count for drafts in asked.drafts] == [0]
    assert asked.slos == (rl.SLO(),)
    assert question("8k/1k", rate=3.0).workloads[0].rate == 3.0


def test_labels() -> None:
    assert workload_label(rl.Workload.of("8k/1k")) == "8k/1k"
    assert workload_label(rl.Workload(100, Lognormal(20.5, 1.0))) == "100/20.5"
    slo = rl.SLO(2.0, 0.02, percentile={"ttft": 99})
    assert slo_label(slo) == "ttft 2 s p99, tpot 0.02 s"
    assert slo_label(rl.SLO()) == "none"
    assert distinct(["a", "b", "a", "a"]) == ["a", "b", "a (2)", "a (3)"]


def test_watts_of_an_objective_are_the_systems() -> None:
    box = rl.System.load("dgx-h100")
    facts = PowerFacts.of(box)
    (record,) = Objective().powers([box])
    assert record["pue"] == facts.pue
    assert record["psu_load"][: len(facts.psu_load)].tolist() == list(facts.psu_load)
    assert Objective(boundary="rack").powers([box])[0]["pue"] == 1.0
    assert Objective(boundary="accelerator").powers([box])[0]["boundary"] == 0
    reserved = Objective(basis="provisioned", vintage="semianalysis-v1").powers([box])[0]
    share = box.power.provisioned_w_per_accelerator["semianalysis-v1"]
    assert reserved["reserved_part_w"] == 0.0
    assert reserved["reserved_system_w"] == pytest.approx(8 * share)


def test_costs_of_objectives() -> None:
    box = [rl.System.load("dgx-h100")] * 2
    for name in OBJECTIVES:
        aim = Objective(name)
        assert aim.prices(box).tolist() == [[0.0, 1.0] if aim.by_energy else [1.0, 0.0]] * 2
        assert aim.by_energy == (name in ("tokens_per_mwh", "joules_per_token"))
        assert aim.counts_accelerators == (name == "min_gpus")
    assert Objective(boundary="rack").where == "rack, metered"
    assert checked_modes(["static", "aggregated"], False) == ("aggregated", "static")
    assert checked_modes(None, False) == ("aggregated", "static", "disaggregated")


WHERE = ("llama-3.1-8b", "dgx-h100")
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"workload": "8k/1"}, r"osl = 1: nothing is decoded; `roofline.prefill`"),
    ({"workload": []}, "workload: none given"),
    ({"slo": []}, "slo: none given"),
    ({"slo": {"ttft": 2.0}}, "slo: 'ttft' is none of its fields; give ttft_s, tpot_s, latency_s, percentile"),
    ({"slo": {"ttft_s": -1.0}}, "ttft_s = -1.0: give a number above 0"),
    ({"slo": 0.5}, "slo = 0.5: give a roofline.SLO or a mapping"),
    ({"objective": "tokens_per_mhw"}, "objective.*tokens_per_mwh"),
    ({"modes": "agregated"}, "mode.*aggregated"),
    ({"modes": []}, "modes: none given; give at least one of aggregated"),
    ({"modes": "attention_ffn"}, "attention_ffn: give ffn_systems"),
    ({"objective": "min_gpus"}, "min_gpus: the workload has no rate; give requests a second"),
    ({"rate": 0}, "rate"),
    ({"vintage": "semianalysis-v1"}, "vintage 'semianalysis-v1' is a provisioned figure"),
    ({"vintage": "semianalysis-v1", "basis": "provisioned", "boundary": "rack"}, "all-in figure of the facility"),
    ({"vintage": "none", "basis": "provisioned"}, "vintage 'none': none of dgx-h100"),
    ({"boundary": "campus"}, "boundary 'campus': expected one of"),
    ({"basis": "guessed"}, "basis 'guessed': expected one of"),
    ({"most_accelerators": 0}, "most_accelerators: 0 is not a whole number from 1"),
    ({"most_accelerators": 2.5}, "most_accelerators: 2.5 is not a whole number from 1"),
    ({"chunk": 0}, "chunk: 0 is not a whole number from 1"),
    ({"chunk": []}, "chunk: no values; give at least one"),
    ({"chunk": [512, 512]}, "chunk: a value is given twice"),
    ({"acceptance": 1.5}, r"acceptance\[0\]: 1.5 is not a share from 0 to 1"),
    ({"acceptance": [0.5, -0.1]}, r"acceptance\[1\]: -0.1 is not a share from 0 to 1"),
    ({"acceptance": []}, "acceptance: none given"),
    ({"acceptance": "high"}, r"acceptance\[0\]: .h. is not a share"),
    ({"deployments": []}, "deployments: none given; give at least one"),
    ({"deployments": [{"tp": 0}]}, r"deployments\[0\].tp: 0 is not a whole number"),
    ({"deployments": {"tp": 1}}, "deployments: .* is not a list"),
    ({"recipes": []}, "recipes: none given; give at least one"),
    ({"prefill_systems": []}, "prefill_systems: none given; give at least one"),
    ({"prefill_systems": "dgx-h1000"}, "dgx-h1000"),
    ({"stack": "vlm"}, "vlm"),
    ({"workload": {"isl": 10, "osl": 20, "islcv": 1}}, "islcv"),
]


@pytest.mark.parametrize(("given_input", "text"), WRONG, ids=[str(wrong) for wrong, _ in WRONG])
def test_bad_input_is_named(given_input: dict[str, Any], text: str) -> None:
    with pytest.raises(rl.InputError, match=text):
        plan(*WHERE, **({"workload": "1k/128"} | given_input))


@pytest.mark.parametrize(("models", "systems"), [([], "dgx-h100"), ("llama-3.1-8b", []), ("llama-9", "dgx-h100")])
def test_bad_sheets_are_named(models: Any, systems: Any) -> None:
    with pytest.raises(rl.InputError, match=r"models: none|systems: none|llama-9"):
        plan(models, systems, workload="1k/128")
