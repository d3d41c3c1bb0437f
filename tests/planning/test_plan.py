"""Plans against brute force: every candidate of a few deployments by the public grids, one after another."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import xarray as xr

import roofline as rl
from roofline.grid import axes
from roofline.grid.evaluate import Grid
from roofline.layout import Limit
from roofline.planning import plan
from roofline.planning.match import Terms
from roofline.planning.question import batch_grid, question
from roofline.serving import Lognormal, closed_loop
from roofline.serving.deployed import Deployed, deployed
from tests.planning.by_hand import AGGREGATED, DECODE, PREFILL, STATIC, ByHand, Candidate, as_pools, nearest
from tests.planning.test_match import every_try, together

Plain = dict[str, Any]

RTOL = 1e-9
OBJECTIVES = ("tokens_per_mwh", "joules_per_token", "tokens_per_s_per_gpu", "min_gpus")
DISAGGREGATED = "disaggregated"

CASES: dict[str, Plain] = {
    "dense": {
        "where": ("llama-3.1-8b", "dgx-h100", "fp8"),
        "deployments": [{"tp": 1}, {"tp": 2}, {"pp": 2}],
        "workload": rl.Workload.of("1k/128", rate=300.0),
        "chunk": [256, 1024],
        "slos": {"none": {}, "met": {"ttft_s": 1.0, "tpot_s": 0.02}, "missed": {"ttft_s": 0.03, "tpot_s": 0.004}},
    },
    "experts": {
        "where": ("qwen3-30b-a3b", "dgx-h200", "fp8-block"),
        "deployments": [{"tp": 4, "ep": 4}, {"dp": 8, "ep": 8}, {"tp": 2, "dp": 2, "ep": 1, "moe_tp": 4}],
        "workload": rl.Workload(Lognormal(3000, 0.7), Lognormal(250, 0.6), cached_share=0.3, rate=40.0, load=0.6),
        "chunk": [2048],
        "boundary": "rack",
        "slos": {
            "none": {},
            "met": {"ttft_s": 3.0, "tpot_s": 0.03, "percentile": {"ttft": 95, "tpot": 90}},
            "latency": {"latency_s": 8.0, "percentile": 90},
            "missed": {"latency_s": 0.3, "percentile": 99},
        },
    },
    "little memory": {
        "where": ("llama-3.1-70b", "dgx-h100", "fp8"),
        "deployments": [{"tp": 2}, {"tp": 2, "pp": 2}, {"tp": 8}],
        "workload": rl.Workload(Lognormal(6000, 0.3), 400, cached=1000, rate=25.0, load=0.4),
        "chunk": [512, 4096],
        "boundary": "accelerator",
        "captured": (1, 2, 4, 8, 24, 48),
        "slos": {"none": {}, "met": {"tpot_s": 0.05}, "missed": {"tpot_s": 0.001}},
    },
}
PARAMS = [(case, slo) for case, facts in CASES.items() for slo in facts["slos"]]


def figures(ds: xr.Dataset) -> Plain:
    """The one cell of a plan."""
    cell = ds.squeeze()
    return {str(name): cell[name].item() for name in cell.data_vars}


class Checked:
    """One case under one SLO: what plans find, held against all candidates."""

    def __init__(self, name: str, slo: str) -> None:
        self.case = CASES[name]
        self.boundary: Any = self.case.get("boundary", "facility")
        stack = rl.Stack.load("default").replace(name="captured", captured_batches=self.case.get("captured", ()))
        self.given: Plain = {
            "workload": self.case["workload"],
            "slo": rl.SLO(**self.case["slos"][slo]),
            "stack": stack,
        }
        self.asked = question(**self.given, chunks=self.case["chunk"])
        self.slo = self.asked.slos[0]
        model, system, recipe = self.case["where"]
        box = rl.System.load(system)
        self.replicas = [ByHand(model, box, recipe, row, self.asked) for row in self.case["deployments"]]
        self.grid = set(batch_grid(self.asked.most_batch).tolist())

    def plan(self, objective: str, modes: Any) -> Plain:
        given = self.given | {"deployments": self.case["deployments"], "chunk": self.case["chunk"]}
        return figures(plan(*self.case["where"], **given, objective=objective, modes=modes, boundary=self.boundary))

    def on_grid(self, replica: ByHand, kind: str) -> list[Candidate]:
        """Batches of the grid, and the largest that decodes, with each chunk if any."""
        listed = replica.candidates[kind]
        largest = {one.chunk: one.b for one in replica.candidates[DECODE if kind == STATIC else kind]}  # they rise
        return [one for one in listed if one.b in self.grid or one.b == largest[one.chunk]]

    def best(self, mode: str, objective: str, on_grid: bool) -> tuple[float, ByHand, Candidate] | None:
        found: tuple[float, ByHand, Candidate] | None = None
        for replica in self.replicas:
            for one in self.on_grid(replica, mode) if on_grid else replica.candidates[mode]:
                price = replica.price(one, objective, self.boundary)
                if one.meets(self.slo) and (found is None or price < found[0]):
                    found = price, replica, one
        return found

    def terms(self, objective: str) -> Terms:
        workload = self.case["workload"]
        after = self.replicas[0].table(self.case["chunk"][0]).osl_at[self.slo.percentile_of("latency")] - 1
        by_energy = objective in ("tokens_per_mwh", "joules_per_token")
        return Terms(
            *((0.0, 1.0) if by_energy else (1.0, 0.0)), workload.mean_osl, workload.duty, self.boundary, "metered",
            None, workload.rate if objective == "min_gpus" else 0.0, self.slo.latency_s, after,
        )  # fmt: skip

    def best_pair(self, objective: str) -> float:
        """Over all pairs of pools, each the best of its deployment, and all replicas; inf where there is none.

        A limit of latency is split between the pools in sixteenths.
        """
        if math.isinf(self.slo.latency_s):
            return self._best_pair(objective, self.slo)
        after, most = self.terms(objective).tokens_after, self.slo.latency_s
        return min(
            self._best_pair(
                objective,
                rl.SLO(min(self.slo.ttft_s, n / 16 * most), min(self.slo.tpot_s, (1 - n / 16) * most / after)),
            )
            for n in range(1, 16)
        )

    def _best_pair(self, objective: str, slo: rl.SLO) -> float:
        sides = []
        for kind in (PREFILL, DECODE):
            chosen = []
            for replica in self.replicas:
                listed = [one for one in self.on_grid(replica, kind) if one.meets(slo)]
                price = {id(one): replica.price(one, objective, self.boundary) for one in listed}
                if listed:
                    chosen.append((replica, min(listed, key=lambda one: price[id(one)])))
            if not chosen:
                return math.inf
            sides.append(as_pools(*(list(column) for column in zip(*chosen, strict=True))))
        return min(every_try(*sides, self.terms(objective)))[0]

    def same(self, found: Plain, mode: str) -> None:
        """The figures of a choice without pools are those of that candidate."""
        replica, one = self.candidate(found, mode, "")
        workload = self.case["workload"]
        expected = {
            "ttft": one.ttft, "tpot": one.tpot, "request_latency": one.latency, "request_rate": one.rate,
            "power": one.watts, "concurrency": one.sequences, "accelerators": replica.group,
            "joules_per_token": one.watts * replica.group / (one.rate * workload.mean_osl),
            "joules_per_token_at_boundary": replica.price(one, "joules_per_token", self.boundary),
            "tokens_per_s_per_gpu": 1.0 / replica.price(one, "tokens_per_s_per_gpu", self.boundary),
            "output_tokens_per_s": one.rate * workload.mean_osl,
            "replicas": math.ceil(workload.rate / one.rate),
            "prefill_replicas": 0, "decode_replicas": 1,
        }  # fmt: skip
        for name, value in expected.items():
            assert found[name] == pytest.approx(value, rel=RTOL), name
        assert one.meets(self.slo)

    def candidate(self, found: Plain, kind: str, prefix: str) -> tuple[ByHand, Candidate]:
        """The candidate that a choice names."""
        for replica in self.replicas:
            degrees = {name: found[f"{prefix}{name}"] for name in ("tp", "pp", "dp", "ep", "moe_tp")}
            if degrees != {name: replica.deployment[name] for name in degrees}:
                continue
            for one in replica.candidates[kind]:
                same = one.b * replica.dp == found[f"{prefix}batch"]
                same = same and (kind in (STATIC, DECODE) or one.chunk == found["chunk"])
                if same and (kind != PREFILL or one.load == found["prefill_load"]):
                    return replica, one
        raise AssertionError(f"no such candidate: {found}")

    def same_pair(self, found: Plain, objective: str) -> None:
        (first, prompts), (then, decode) = (self.candidate(found, *of) for of in ((PREFILL, "prefill_"), (DECODE, "")))
        pools = as_pools([first], [prompts]), as_pools([then], [decode])
        x, y = int(found["prefill_replicas"]), int(found["decode_replicas"])
        price, rate = together(pools[0], 0, pools[1], 0, x, y, self.terms(objective))
        terms = self.terms("joules_per_token")
        after = terms.tokens_after
        expected = {
            "ttft": prompts.ttft, "tpot": decode.tpot, "request_latency": prompts.ttft + after * decode.tpot,
            "request_rate": rate, "concurrency": y * decode.sequences, "accelerators": x * first.group + y * then.group,
            "prefill_accelerators": x * first.group,
            "joules_per_token_at_boundary": together(pools[0], 0, pools[1], 0, x, y, terms)[0],
            "tokens_per_s_per_gpu": rate * terms.osl / (x * first.group + y * then.group),
        }  # fmt: skip
        for name, value in expected.items():
            assert found[name] == pytest.approx(value, rel=RTOL), name
        assert price == pytest.approx(self.cost(found, objective), rel=RTOL)

    def cost(self, found: Plain, objective: str) -> float:
        if objective == "min_gpus":
            share = self.case["workload"].rate / found["request_rate"]
            return float(found["accelerators"] * (math.ceil(share * (1 - 1e-12)) + 1e-6 * share))
        if objective == "tokens_per_s_per_gpu":
            return float(1.0 / found["tokens_per_s_per_gpu"])
        return float(found["joules_per_token_at_boundary"])


@pytest.mark.parametrize(("name", "slo"), PARAMS)
def test_the_choice_is_that_of_brute_force(name: str, slo: str) -> None:
    """Each mode by itself and all together, for each objective.

    A search may look at more batches than its grid, never at better ones than there are.
    """
    checked = Checked(name, slo)
    for objective in OBJECTIVES:
        least: list[float] = []
        for mode in (AGGREGATED, STATIC):
            found, best = checked.plan(objective, mode), checked.best(mode, objective, on_grid=True)
            if best is None:
                assert slo == "missed"
                missed(checked, found, mode)
                continue
            assert found["mode"] == mode
            checked.same(found, mode)
            cost = checked.cost(found, objective)
            every = checked.best(mode, objective, on_grid=False)
            assert every is not None
            assert every[0] * (1 - RTOL) <= cost <= best[0] * (1 + RTOL)
            least.append(cost)
        found, pair = checked.plan(objective, DISAGGREGATED), checked.best_pair(objective)
        if math.isfinite(pair):
            assert found["mode"] == DISAGGREGATED
            checked.same_pair(found, objective)
            assert checked.cost(found, objective) == pytest.approx(pair, rel=RTOL)
            least.append(pair)
        else:
            assert found["mode"] == ""
            missed_by_pools(checked, found)
        found = checked.plan(objective, (STATIC, DISAGGREGATED, AGGREGATED))
        if least:
            assert checked.cost(found, objective) == pytest.approx(min(least), rel=1e-12)
        else:
            assert found["mode"] == ""
            assert found["nearest_factor"] > 1.0


def missed(checked: Checked, found: Plain, mode: str) -> None:
    """Nothing is chosen, and the nearest candidate is named with what it misses."""
    listed = [one for replica in checked.replicas for one in replica.candidates[mode]]
    near = nearest(listed, checked.slo)
    assert near is not None
    assert (found["mode"], found["recipe"], found["limit"]) == ("", "", Limit.NONE)
    assert math.isnan(found["tokens_per_mwh"])
    assert found["nearest_factor"] == pytest.approx(near[0], rel=RTOL)
    assert found["nearest_miss"] == near[1]


def missed_by_pools(checked: Checked, found: Plain) -> None:
    """A pair is as far from its limits as the worse of its pools."""
    near = []
    for kind in (PREFILL, DECODE):
        one = nearest([one for replica in checked.replicas for one in replica.candidates[kind]], checked.slo)
        assert one is not None
        near.append(one)
    factor, limit = max(near)
    if math.isfinite(checked.slo.latency_s) and factor > 1.0:  # shares of it are tried, and one may be missed by more
        assert factor * (1 - RTOL) <= found["nearest_factor"] <= 1.2 * factor
        assert found["nearest_miss"] in (limit, "latency")
    elif factor > 1.0:
        assert found["nearest_factor"] == pytest.approx(factor, rel=RTOL)
        assert found["nearest_miss"] == limit
    else:  # each by itself is within the latency that both together miss
        assert found["nearest_miss"] == "latency"
        assert found["nearest_factor"] > 1.0


RNG = np.random.default_rng(0)
SEEN = (RNG.integers(200, 6000, 400), RNG.integers(2, 600, 400))
SERVED = [
    ("llama-3.1-8b", "dgx-h100", "fp8", {"tp": 1}, rl.Workload(1000, Lognormal(300, 0.6)), 1024, {"tpot_s": 0.02}),
    ("llama-3.1-70b", "dgx-h200", "fp8", {"tp": 4}, rl.Workload(Lognormal(4000, 0.5), 500), 2048, {"tpot_s": 0.04}),
    ("llama-3.1-70b", "dgx-h200", "fp8", {"tp": 4, "pp": 2}, rl.Workload(4000, 500, cached=1500), 512, {}),
    ("llama-3.1-8b", "dgx-h100", "fp8", {"tp": 1}, rl.Workload(Lognormal(1000, 0.7), Lognormal(300, 0.6)), 1024, {}),
    ("llama-3.1-70b", "dgx-h200", "fp8", {"tp": 4}, rl.Workload(4000, 500, cached_share=0.5), 512, {}),
    ("qwen3-30b-a3b", "mi300x-8", "fp8-block", {"tp": 4, "ep": 4}, rl.Workload(*SEEN), 2048, {"tpot_s": 0.015}),
    ("deepseek-r1", "dgx-b200", "fp8-block", {"tp": 8, "ep": 8}, rl.Workload(SEEN[0], SEEN[1]), 2048, {"ttft_s": 1.0}),
]


@pytest.mark.parametrize("percentile", [50, 90])
@pytest.mark.parametrize(("model", "system", "recipe", "row", "workload", "chunk", "limits"), SERVED)
def test_a_choice_of_one_attention_rank_is_what_serve_says(
    model: str, system: str, recipe: str, row: Plain, workload: rl.Workload, chunk: int, limits: Plain, percentile: int
) -> None:
    """The closed loop of `rl.serve` with as many clients as the choice has sequences.

    Both count the same steps. TPOT and tokens/s are within 1 %: the constant keeps some clients away, and those left
    keep not quite the whole batch decoding that a plan starts from. Watts are within 2 %: a loop has all steps at one
    mean context, and what draws is not linear in it. TTFT differs by up to the step that a request waits for besides: a
    plan counts whole steps, a loop with a constant parts of them.
    """
    where, slo = (model, system, recipe), rl.SLO(**limits, percentile=percentile)
    asked = {"workload": workload, "deployments": [row], "chunk": chunk}
    found = figures(plan(*where, **asked, slo=slo, modes=AGGREGATED))
    stack = rl.Stack.load("default")
    held = int(found["concurrency"])
    served = rl.serve(*where, **asked, concurrency=held, slots=held).squeeze()
    for name in ("output_tokens_per_s", "tokens_per_s_per_gpu", "request_rate", "batch"):
        assert found[name] == pytest.approx(served[name].item(), rel=0.01), name
    for name in ("power", "joules_per_token"):
        assert found[name] == pytest.approx(served[name].item(), rel=0.02), name
    grid = Grid(*where, axes.deployments(rows=[row]), "kernel")
    prefix = workload.mean_isl - workload.mean_computed if workload.cached_share else 0.0
    replica = deployed(grid, grid.records(), 0, workload.requests, stack, chunk, held, prefix)
    assert isinstance(replica, Deployed)
    loop = closed_loop(replica.service, workload.requests, held)
    assert found["tpot"] == pytest.approx(loop.tpot_percentile(percentile).value, rel=0.01)
    step = float(replica.service.mixed_s[int(found["batch"])])
    assert found["ttft"] == pytest.approx(loop.ttft_percentile(percentile).value, rel=0.02, abs=step)
