"""Closed loops counted in steps: against plain recursions, against the simulator, and the laws they obey."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roofline.errors import InputError
from roofline.serving import Closed, Lognormal, Requests, Service, Workload, closed_loop, simulate, step_table
from roofline.serving.steps import Steps, decode_steps

CHAT = Workload(Lognormal(2000, 0.6), Lognormal(300, 0.5))
PERCENTILES = (50, 90, 99)


def population(steps: float, chunks: float, cv2: float, memory: float, most: int) -> list[tuple[float, float]]:
    """(R(n), r(n)) of n = 0..most by equations (6) and (21), in plain Python."""
    room, spread = steps / chunks, min(1.0 + (cv2 - 1.0) * memory, (1.0 + cv2) / 2.0)
    found, queue, share = [(chunks, 0.0)], 0.0, 0.0
    for n in range(1, most + 1):
        mean_value = chunks * (1.0 + queue - share) + share * chunks * (1.0 + cv2) / 2.0
        deviation = math.sqrt(room * spread)
        x = (n - 1 - room) / deviation
        density, below = math.exp(-x * x / 2.0) / math.sqrt(2.0 * math.pi), math.erfc(-x / math.sqrt(2.0)) / 2.0
        work = n - 1 - room + deviation * density / below if below > 1e-14 else 0.0
        filled = chunks * (1.0 + work * min(1.0, (n - 1) / (room + work)))
        rate = min(n / (steps + max(mean_value, filled)), 1.0 / chunks)
        queue, share = n - rate * steps, rate * chunks
        found.append((n / rate - steps, share))
    return found


@pytest.mark.parametrize(
    ("isl", "osl"), [(Lognormal(900, 0.9), Lognormal(40, 0.7)), (Lognormal(4000, 0.3), 100), (700, Lognormal(90, 1.0))]
)
def test_the_population_is_the_plain_recursion(isl: Any, osl: Any) -> None:
    chunk, most = 512, 60
    table = step_table(Workload(isl, osl), chunk, 1.0, most, PERCENTILES)
    prompts, outputs = Requests(isl, osl).points()
    chunks, steps = np.ceil(prompts / chunk), outputs - 1.0
    above = 1.0 - np.arange(steps.size) / steps.size
    memory = float((np.diff(np.sort(steps), prepend=0.0) * above**2).sum() / steps.mean())
    k, s = float(chunks.mean()), float(steps.mean())
    plain = population(s, k, float(chunks.var()) / k**2, memory, 4 * most)
    decoding = [n * s / (s + sojourn) for n, (sojourn, _) in enumerate(plain)]
    for b in range(1, most + 1):
        n = next((n for n, batch in enumerate(decoding) if batch >= b - 1e-9), None)
        if n is None:
            assert np.isnan([table.n[b], table.wait_steps[b], table.share_seen_at[50][b]]).all()
            continue
        assert table.n[b] == n
        assert table.wait_steps[b] == pytest.approx(plain[n][0], rel=1e-6)
        assert table.share_seen[b] == pytest.approx(plain[n - 1][1], rel=1e-6, abs=1e-12)
    assert np.isnan(table.n[0])
    assert (table.steps, table.chunks) == pytest.approx((s, k))


def test_scalars_of_a_table() -> None:
    workload = Workload([1000, 3000], [11, 42], cached_share=0.5)
    table = step_table(workload, 512, 2.0, 8, [90.0, 50.0])
    assert (table.fill, table.chunks) == pytest.approx((1000 / 512, (1 + 3) / 2))
    assert table.fill_cv2 == pytest.approx(0.25)
    assert table.steps == (5 + 21) / 2
    assert table.kappa == pytest.approx((5 / 10 + 21 / 41) / 2)
    assert table.osl == 26.5
    assert table.osl_at == {50.0: 26.5, 90.0: pytest.approx(38.9)}
    assert list(table.wait_steps_at) == [50.0, 90.0]
    assert table.longest_steps([1, 1e9]).tolist() == [decode_steps(np.array([26.5]), 2.0)[0], 21.0]
    assert table.lengths_vary
    lone = step_table(Workload(500, 1), 512, 1.0, 4, [50])
    assert (lone.steps, lone.kappa, lone.lengths_vary) == (0.0, 0.0, False)
    assert np.isnan(lone.n).all()


def test_the_longest_of_a_batch() -> None:
    """The quantile B/(B + 1) of a lognormal, of many drawn."""
    table = step_table(CHAT, 512, 1.0, 4, [50])
    drawn = Lognormal(300, 0.5).of_normal(np.random.default_rng(0).standard_normal(400_000)) - 1.0
    for batch in (1, 64, 700):
        assert table.longest_steps(batch) == pytest.approx(np.quantile(drawn, batch / (batch + 1)), rel=0.02)
    many = table.longest_steps(np.arange(1, 5000))
    assert (np.diff(many) >= 0.0).all()


def test_one_client_waits_for_nobody() -> None:
    counted = Steps(np.array([0.5, 1.5, 2.5, 3.5]), np.array([5.0]))
    steps, fills = counted.waits_at(counted.round(1), np.array([1]), np.array([0.2, 0.5, 0.9]))
    assert steps[:, 0] == pytest.approx([1.0, 2.0, 4.0])
    assert fills[:, 0] == pytest.approx([0.5, 1.5, 3.5])
    assert counted.fills_at(counted.round(1), np.array([1]), np.array([0.9])) == 0.0


def test_renewals_of_a_client() -> None:
    """Exponential decode steps are Poisson at any window; equal ones have f*(1 - f) of a whole number and a part."""
    level = (np.arange(4096) + 0.5) / 4096
    exponential = Steps(np.array([1.0]), np.rint(-1000 * np.log1p(-level)) + 1.0)
    assert exponential._scatter(np.array([100.0, 1000.0, 4000.0])) == pytest.approx([1.0] * 3, abs=0.03)
    equal = Steps(np.array([1.0]), np.array([1001.0]))
    windows = np.array([0.25, 0.5, 1.5, 2.5])
    part = windows % 1.0
    assert equal._scatter(1000 * windows) == pytest.approx(part * (1 - part) / windows, abs=0.08)


lengths = st.tuples(st.floats(64, 16e3), st.floats(0.05, 1.0), st.floats(16, 4e3), st.floats(0.05, 1.0))


@settings(max_examples=40, deadline=None)
@given(lengths, st.sampled_from([512, 2048, 8192]), st.sampled_from([1.0, 1.8]), st.integers(1, 300))
def test_laws(length: tuple[float, ...], chunk: int, tau: float, most: int) -> None:
    isl, isl_cv, osl, osl_cv = length
    workload = Workload(Lognormal(isl, isl_cv), Lognormal(osl, osl_cv))
    table = step_table(workload, chunk, tau, most, [5, *PERCENTILES])
    held = np.isfinite(table.n)
    last = int(held.sum())
    assert held[1 : last + 1].all()
    assert last <= min(most, table.steps / table.chunks + 1e-6)
    b = np.arange(1.0, last + 1.0)
    n = table.n[1 : last + 1]
    assert (n >= b).all()
    assert (np.diff(n) >= 0).all()
    assert (np.diff(table.wait_steps[1 : last + 1]) >= 0).all()
    assert ((table.share_seen[1 : last + 1] >= 0) & (table.share_seen[1 : last + 1] <= 1)).all()
    assert (table.wait_steps[1 : last + 1] >= table.chunks - 1e-9).all()
    for named in (table.wait_steps_at, table.wait_fills_at, table.share_seen_at):
        rows = np.array(list(named.values()))
        assert (np.isfinite(rows) == held).all()
        assert (np.diff(rows[:, 1 : last + 1], axis=0) >= 0).all()
    for named in (table.wait_steps_at, table.wait_fills_at):
        assert (np.diff(np.array(list(named.values()))[:, 1 : last + 1], axis=1) >= 0).all()
    whole_rows = np.array(list(table.wait_steps_at.values()))[:, 1 : last + 1]
    assert (whole_rows == np.rint(whole_rows)).all()
    assert (
        np.array(list(table.share_seen_at.values()))[:, 1 : last + 1] * table.fill / table.chunks < 1.0 + 1e-6
    ).all()


def test_a_table_is_the_loop_of_its_n() -> None:
    """One law: the percentiles of a closed loop with steps of any cost are those of the table."""
    table = step_table(CHAT, 512, 1.0, 64, PERCENTILES)
    d, added = 0.01, 0.03
    for b in (1, 10, 33, 50):
        n = int(table.n[b])
        service = Service(np.full(n + 1, d), np.full(n + 1, d + added), 512, n)
        form = closed_loop(service, CHAT.requests, n)
        for percent in PERCENTILES:
            waited = table.wait_steps_at[percent][b] * d + table.wait_fills_at[percent][b] * added
            assert form.ttft_percentile(percent).value == pytest.approx(waited, rel=0.04)
            fills = table.share_seen_at[percent][b] * table.fill / table.chunks
            assert form.tpot_percentile(percent).value == pytest.approx(d + fills * added, rel=0.02)
        assert form.ttft_s == pytest.approx(table.wait_steps[b] * (d + table.fill / table.chunks * added))


@pytest.mark.parametrize(
    ("isl", "osl", "chunk", "clients"),
    [
        (Lognormal(2000, 0.6), Lognormal(300, 0.5), 512, 24),
        (Lognormal(6000, 0.8), Lognormal(500, 0.7), 1024, 60),
        (Lognormal(8000, 0.3), Lognormal(1500, 0.4), 8192, 400),
        (Lognormal(300, 1.0), Lognormal(120, 0.9), 512, 90),
        (8192, Lognormal(1000, 0.3), 2048, 128),
        (Lognormal(1000, 0.5), Lognormal(100, 0.8), 2048, 160),
    ],
)
def test_percentiles_agree_with_the_simulator(isl: Any, osl: Any, chunk: int, clients: int) -> None:
    """Steps in which a full chunk costs as much again, and ten times as much."""
    for added in (1.0, 10.0):
        service = Service(np.ones(clients + 1), np.full(clients + 1, 1.0 + added), chunk, clients)
        found = simulate(service, Requests(isl, osl), Closed(clients), count=30_000, seed=3)
        form = closed_loop(service, Requests(isl, osl), clients)
        for percent in PERCENTILES:
            ttft, tpot = form.ttft_percentile(percent), form.tpot_percentile(percent)
            if ttft.validated:
                assert ttft.value == pytest.approx(found.percentile("ttft_s", percent), rel=0.12)
            assert tpot.value == pytest.approx(found.percentile("tpot_s", percent), rel=0.08)
            assert tpot.validated


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"most": 0}, "most = 0"),
        ({"chunk": 0.5}, "chunk = 0.5"),
        ({"tokens_per_step": 0.9}, "tokens_per_step = 0.9"),
        ({"percentiles": [50, 100]}, "percent = 100: give less than 100"),
        ({"percentiles": [0]}, "percent = 0"),
    ],
)
def test_bad_input_is_named(change: dict[str, Any], message: str) -> None:
    given: dict[str, Any] = {"chunk": 512, "tokens_per_step": 1.0, "most": 8, "percentiles": [50]} | change
    with pytest.raises(InputError, match=message):
        step_table(CHAT, **given)
