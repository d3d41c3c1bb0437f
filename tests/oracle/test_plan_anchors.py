"""The oracle's plan against arithmetic: one layer, next to no weights, all bound by memory of 1 TB/s.

A token's K and V are 256 B (two of 64 elements of 2 B), a layer's weights 256 B, the lm_head 1 B, a row of embedding
1 B. A step of n sequences at context L moves 257 + n + 256*n*(L + 1) bytes.
"""

from __future__ import annotations

import math
from typing import Any

import pytest

from tests.oracle.cases import TP8, dense_row, ideal_box, ideal_kit, model_of
from tests.oracle.plans import candidate
from tests.oracle.plans_power import best, cost, frontier, min_gpus_cost, rate_match

Plain = dict[str, Any]

W = 1e12
MODEL = model_of([dense_row(1, 1, 1, 64, 0)], 1, 1, max_context=500)
KIT = ideal_kit(1.0, 2.0, 1e30) | {"bound": 0}
BOX = ideal_box(W, 1e9) | {"power_a": 0.0, "power_b": 1.0, "out_bytes_per_s": W, "up_bytes_per_s": 1e30}
TWO_RANKS = TP8 | {"tp": 1, "dp": 2}
TWO_STAGES = TP8 | {"tp": 1, "pp": 2}
STACK: Plain = {"step_s": 1e-7, "sequence_s": 1e-8, "ttft_s": 1e-6, "captured": [1, 2, 4]}
TABLE: Plain = {"n": 4, "seen_tpot": 0.5, "wait_ttft": 7.0, "fills_ttft": 5.5}
TABLE |= {"seen_latency": 0.4, "wait_latency": 3.0, "fills_latency": 2.5}
ASKED: Plain = {"I": 128, "N": 96, "V": 178, "O": 51, "contexts": [100, 300], "ends": [96, 128]}
ASKED |= {"steps": 50, "fill": 1.5, "chunks": 2, "kappa": 1.1, "cv2": 2.0, "load": 0.5, "q": 0.9}
ASKED |= {"osl_q": 90, "longest": 80, "table": TABLE}
DECODE_B = 257 + 4 + 256 * 4 * (200 + 1)
"""Moved by a rank in a step of 3 sequences, 4 after padding, at the mean context of 200."""
CHUNK_B = 256 * (112 + 64) + 64
"""What a chunk of 64 adds: reads 112 tokens on the mean, writes 64, looks 64 up."""


def of(mode: str, b: int = 3, drafts: int = 0, at: Plain = TWO_RANKS, **changed: Any) -> Plain:
    """A candidate with chunks of 64; `changed`: model, machine, kit, or a field of what is asked."""
    model, machine, kit = changed.pop("model", MODEL), changed.pop("machine", BOX), changed.pop("kit", KIT)
    return candidate(model, machine, kit, at, ASKED | changed, STACK, mode, b, 64, drafts)


def watts(busy: float) -> float:
    """Equation (16) with x = u_m."""
    return 75 + 625 * (1 - 1 / (1 + busy + busy**2 / 2))


def test_aggregated_by_hand() -> None:
    found = of("aggregated")
    t, d = 1e-7 + 3e-8 + DECODE_B / W, CHUNK_B / W
    phi, r = 0.75, 3 * 2 / 50
    tpot, late_tpot = 1.1 * (t + 0.5 * phi * d), 1.1 * (t + 0.4 * phi * d)
    y = r * (t + phi * d) / (t + r * phi * d)
    constant = 1e-6 + ((1 - y) * t + (y - r) * (t + phi * d)) / 2
    busier, plain = (DECODE_B + CHUNK_B) / W / (t + d), DECODE_B / W / t
    rate = 2 * 3 / (50 * t + 3 * 1.5 * d)
    expected = {"runs": True, "memory": 258 + 4 * 256 * 178, "n": 4, "t": t, "d": d, "tpot": tpot, "rate": rate}
    expected["ttft"] = constant + 7 * t + 5.5 * d
    expected["latency"] = constant + 3 * t + 2.5 * d + 89 * late_tpot
    expected["watts"] = y * watts(busier) + (1 - y) * watts(plain)
    assert found == pytest.approx(expected | {"tokens_per_s": 51 * rate}, rel=1e-12)


@pytest.mark.parametrize(("b", "padded"), [(1, 1), (3, 4), (4, 4), (5, 5)])
def test_a_batch_is_computed_at_the_next_captured_size(b: int, padded: int) -> None:
    """At the edge and past the largest it stays; the host handles those that there are."""
    moved = 257 + padded + 256 * padded * 201
    assert of("decode", b)["t"] == pytest.approx(1e-7 + b * 1e-8 + moved / W, rel=1e-12)
    assert of("decode", b)["rate"] == pytest.approx(2 * b / (50 * of("decode", b)["t"]), rel=1e-12)


def test_prompts_in_every_step_are_the_most() -> None:
    """50 steps of a request and 2 chunks: 25 sequences decode beside one prompt, no more; nor where n is unknown."""
    assert of("aggregated", 25)["runs"]
    assert not of("aggregated", 26)["runs"]
    assert not of("aggregated", table=TABLE | {"n": None})["runs"]
    assert of("decode", 26)["runs"]


def test_static_by_hand() -> None:
    """Three prompts a rank in one pass (not padded), then 80 steps of four."""
    found = of("static")
    t = 1.3e-7 + DECODE_B / W
    prompt_b = 257 + 3 * 96 + 256 * 3 * (128 + 96)
    prompt = 1.3e-7 + prompt_b / W
    time = prompt + 80 * t
    drawn = prompt * watts(prompt_b / W / prompt) + 80 * t * watts(DECODE_B / W / t)
    assert math.isnan(found.pop("d"))
    expected = {"runs": True, "memory": 258 + 3 * 256 * 178, "n": 3, "t": t, "tpot": 1.1 * t, "rate": 6 / time}
    expected |= {"ttft": 1e-6 + prompt, "latency": 1e-6 + prompt + 89 * 1.1 * t}
    assert found == pytest.approx(expected | {"watts": drawn / time, "tokens_per_s": 51 * 6 / time}, rel=1e-12)


def prompt_time(b: int) -> tuple[float, int]:
    """(T_p, bytes) of chunks of 64 and 32 after 32 cached tokens; the lm_head in the last."""
    moved = (256 + b * 64 + 256 * b * (96 + 64)) + (257 + b * 32 + 256 * b * (128 + 32))
    return 1e-7 + b * 1e-8 + moved / W, moved


def test_prefill_pool_by_hand() -> None:
    """u = 1/2 and cv^2/B = 1/3: W = 2/3 T, a factor 2 ln 5 at p90; six prompts take 5/6 T to come together."""
    found, (time, moved) = of("prefill"), prompt_time(3)
    hand_over = 256 * 128 / W
    assert found["rate"] == pytest.approx(3 / time, rel=1e-12)
    waits = time * (2 / 3) * 2 * math.log(5) + time * 5 / 6
    assert found["ttft"] == pytest.approx(1e-6 + time + waits + hand_over, rel=1e-12)
    assert found["memory"] == 258 + 3 * 256 * 128
    assert found["watts"] == pytest.approx(0.5 * watts(moved / W / time) + 0.5 * 75, rel=1e-12)
    assert math.isnan(found["tpot"])
    assert math.isnan(found["latency"])
    rare = of("prefill", load=0.05)  # 1 of 20 waits, and 1 of 10 is asked about
    assert rare["ttft"] == pytest.approx(1e-6 + time + 5 / (2 * rare["rate"]) + hand_over, rel=1e-12)


def test_prefill_pool_keeps_up_with_its_hand_over() -> None:
    """Caches of a rank's three prompts must leave while the next three are computed."""
    time, _ = prompt_time(3)
    just = 3 * 256 * 128 / time
    assert of("prefill", machine=BOX | {"out_bytes_per_s": just * 1.001})["runs"]
    assert not of("prefill", machine=BOX | {"out_bytes_per_s": just * 0.999})["runs"]
    assert not of("prefill", link=just * 0.999)["runs"]
    slower = of("prefill", link=W / 2)["ttft"] - of("prefill")["ttft"]
    assert slower == pytest.approx(256 * 128 / W, rel=1e-9)


DRAFTING = MODEL | {"draft_rows": [dense_row(1, 1, 1, 64, 0)], "draft_modules": 1}


def test_drafts_by_hand() -> None:
    """Two drafts: a pass with Q = 3, and twice a join of 2 weights, a layer and an lm_head with Q = 1."""
    check = 257 + 3 * 4 + 256 * 4 * (200 + 3)
    draft = 4 + 2 + 256 + 256 * 4 * (200 + 1) + 1
    found = of("decode", model=DRAFTING, drafts=2)
    assert found["t"] == pytest.approx(1.3e-7 + (check + 2 * draft) / W, rel=1e-12)
    assert found["memory"] == 258 + (2 + 256) + 3 * 2 * 256 * 178
    assert of("aggregated", model=DRAFTING, drafts=2)["d"] == pytest.approx(CHUNK_B / W, rel=1e-12)
    assert not of("decode", drafts=2)["runs"]  # without a module
    with pytest.raises(ValueError, match="drafts"):
        of("prefill", drafts=2)


def test_drafts_keep_the_last_of_two_stages_the_slowest() -> None:
    """So a chunk costs what it adds to that stage's one layer, and one of two micro-batches carries it."""
    model = DRAFTING | {"rows": [dense_row(2, 1, 1, 64, 0)], "layers": 2}
    found = of("aggregated", 4, 1, TWO_STAGES, model=model)
    layer = 256 + 256 * 2 * (200 + 2)
    head = 1 + (2 + 2 + 256 + 256 * 2 * (200 + 1) + 1)
    core = 256 * (112 + 64)
    t, d = 1.4e-7 + 2 * (layer + head) / W, core / W
    assert (found["t"], found["d"]) == pytest.approx((t, d), rel=1e-12)
    whole = 2 * 2 + 2 * layer + head
    busier, plain = (2 * whole + 2 * core + 64) / 2 / W / (t + d), whole / W / t
    r = 4 * 2 / 50
    y = r * (t + 0.75 * d) / (t + r * 0.75 * d)
    assert found["watts"] == pytest.approx(y * watts(busier) + (1 - y) * watts(plain), rel=1e-12)


def test_compute_of_both_kinds_of_micro_batch_is_drawn() -> None:
    """x = sqrt(u_f): one of the two micro-batches of 2 sequences carries the chunk and looks up one logit more."""
    peak = 1e16
    kit = ideal_kit(1.0, 2.0, peak) | {"bound": 0}
    model = model_of([dense_row(2, 1, 1, 64, 0)], 1, 1)
    found = of("aggregated", 4, 0, TWO_STAGES, model=model, kit=kit, machine=BOX | {"power_a": 1.0, "power_b": 0.0})
    one = 2 * (2 * 2 * 256 + 2 * 2 * 128 * 200) + 2 * 2
    chunk = 2 * (2 * 64 * 256 + 2 * 128 * (64 * 112 - 64 * 63 / 2)) + 2
    t, d = found["t"], found["d"]
    busier, plain = ((2 * one + chunk) / peak / 2 / (t + d)) ** 0.5, (2 * one / peak / 2 / t) ** 0.5
    r = 4 * 2 / 50
    y = r * (t + 0.75 * d) / (t + r * 0.75 * d)
    assert found["watts"] == pytest.approx(y * watts(busier) + (1 - y) * watts(plain), rel=1e-12)


def test_one_prompt_keeps_one_of_two_stages_busy() -> None:
    """Each stage is at work half of the time at most; the rest a rank waits."""
    found = of("prefill", 1, 0, TWO_STAGES, model=model_of([dense_row(2, 1, 1, 64, 0)], 1, 1), load=0.8)
    moved = 2 * (256 + 256 * 160) + 64 + 2 * (256 + 256 * 160) + 32 + 1
    assert found["watts"] == pytest.approx(0.8 * watts(moved / 2 / W / found["t"]) + 0.2 * 75, rel=1e-12)


def test_activations_are_those_of_the_larger_pass() -> None:
    """A row holds 4 of the residual stream and 192 of q, k and v."""
    kit, row = KIT | {"w_hidden": 1.0}, 4 + 192

    def work(mode: str, **changed: Any) -> float:
        return float(of(mode, kit=kit, **changed)["memory"] - of(mode, **changed)["memory"])

    assert work("aggregated") == row * (4 + 64)
    assert work("static") == row * 3 * 96
    assert work("static", N=1) == row * 4
    assert work("prefill") == row * 3 * 64
    assert work("decode") == row * 4


def test_what_does_not_run() -> None:
    needed = 258 + 4 * 256 * 178
    assert of("aggregated", machine=BOX | {"memory_bytes": needed})["runs"]
    lacking = of("aggregated", machine=BOX | {"memory_bytes": needed - 1})
    assert (lacking["memory"], lacking["runs"]) == (needed, False)
    assert math.isnan(lacking["rate"])
    for mode in ("static", "prefill", "decode"):
        assert not of(mode, machine=BOX | {"memory_bytes": 300})["runs"]
        assert not of(mode, at=TWO_STAGES)["runs"]  # of one layer
    assert not of("decode", contexts=[100, 501])["runs"]
    assert of("prefill", contexts=[100, 501])["runs"]
    assert not of("decode", kit=None)["runs"]
    with pytest.raises(ValueError, match="in series"):
        candidate(MODEL, BOX, KIT | {"bound": 1}, TWO_RANKS, ASKED, STACK, "decode", 1, 64, 0)


FACTS: Plain = {"accelerators": 8, "host_w": 1000.0, "idle_w": 100.0, "tdp_w": 700.0, "pue": 1.2}
FACTS |= {"psu_rated_w": 10000.0, "psu_load": [0.2, 0.6], "psu_efficiency": [0.90, 0.95]}
TEN: Plain = {"rate": 10.0, "watts": 500.0}


def joules(group: int, boundary: str, duty: float = 1.0) -> float:
    return cost(TEN, 100, group, FACTS, boundary, duty, 0.0, 1.0)


def test_cost_at_the_facility_by_hand() -> None:
    """Four replicas of two. Busy 5 kW at half load (93.75 %), idle 1.8 kW below the curve (90 %); 1000 tokens/s."""
    busy, idle = 5000 / 0.9375 * 1.2 / 4, 1800 / 0.90 * 1.2 / 4
    assert (busy, idle) == pytest.approx((1600, 600))
    assert joules(2, "facility") == pytest.approx(1.6)
    assert joules(2, "facility", 0.5) == pytest.approx((0.5 * 1600 + 0.5 * 600) / (0.5 * 1000))
    assert joules(2, "rack") == pytest.approx(1.6 / 1.2)
    assert joules(2, "accelerator") == pytest.approx(1.0)
    assert cost(TEN, 100, 2, FACTS, "facility", 1.0, 1.0, 0.0) == pytest.approx(0.002)
    assert cost(TEN, 100, 2, FACTS, "facility", 1.0, 1000.0, 10.0) == pytest.approx(2 + 16)


def test_accelerators_left_over_are_charged() -> None:
    """Two replicas of three in a system of eight; one of twelve in two systems; above the curve its last point."""
    assert joules(3, "rack") == pytest.approx((6 * 500 + 2 * 100 + 1000) / (0.90 + 0.05 * 0.55) / 2 / 1000)
    assert joules(12, "rack") == pytest.approx(2 * ((12 * 500 + 4 * 100) / 2 + 1000) / (0.90 + 0.05 * 0.55) / 1000)
    small = FACTS | {"psu_rated_w": 5000.0}
    assert cost(TEN, 100, 8, small, "rack", 1.0, 0.0, 1.0) == pytest.approx(5000 / 0.95 / 1000)
    assert joules(3, "accelerator") == pytest.approx(1.5)


def test_fewest_accelerators_for_a_load() -> None:
    assert min_gpus_cost(TEN, 4, 25.0) == pytest.approx(4 * 3 + 4 * 2.5e-6, rel=1e-12)
    assert min_gpus_cost(TEN, 4, 25.0) < min_gpus_cost(TEN, 4, 26.0) < min_gpus_cost(TEN, 4, 31.0)


def priced(price: float, ttft: float, tpot: float, runs: bool = True) -> Plain:
    return {"cost": price, "ttft": ttft, "tpot": tpot, "runs": runs}


def test_the_cheapest_that_meets_all_wins() -> None:
    limits = {"ttft": 1.0, "tpot": 0.02}
    stopped, slow = priced(0.5, 0.1, 0.01, runs=False), priced(1, 1.1, 0.01)
    assert best([stopped, slow, priced(3, 1.0, 0.02), priced(2, 0.5, 0.01), priced(2, 0.1, 0.01)], limits) == 3
    assert best([stopped, priced(1, 4.0, 0.02), priced(9, 1.5, 0.05), priced(1, 2.0, 0.05)], limits) == (2, 2.5, "tpot")
    assert best([stopped, priced(7, 3.0, 0.01), priced(1, 3.0, 0.06)], limits) == (1, 3.0, "ttft")
    assert best([stopped], limits) is None
    assert best([slow, priced(0.1, 9, 9)], {}) == 1


def test_frontier() -> None:
    points = [(1.0, 5.0), (2.0, 4.0), (2.0, 3.0), (1.5, 4.0), (3.0, 1.0), (2.0, 4.0), (3.0, 0.5), (0.5, 5.0)]
    assert frontier(points) == [0, 1, 4]
    assert frontier([(1.0, 1.0)] * 3) == [0]
    assert frontier([]) == []


def test_rates_of_two_pools_are_matched() -> None:
    """3 times 2 is 2 times 3; a whole multiple is no better; a cheap pool has replicas to spare."""
    assert rate_match(2.0, 1, 3.0, 1, 8) == (3, 2)
    assert rate_match(0.1, 4, 0.1, 8, 8) == (1, 1)
    assert rate_match(10.0, 8, 4.0, 8, 8) == (2, 5)  # 56 accelerators for 20 requests/s: 2.8
    assert rate_match(10.0, 8, 4.0, 8, 4) == (1, 2)  # 24 for 8: 3, as 48 for 16 of (2, 4) and less than 16 for 4
    assert rate_match(10.0, 100, 3.0, 1, 8) == (2, 7)  # 207 for 20, where (1, 4) takes 104 for 10
    assert rate_match(7.0, 1, 5.0, 100, 2) == (1, 1)  # 101 for 5, as 202 for 10
