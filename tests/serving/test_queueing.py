"""The closed forms against the simulator, within what docs/queueing.md claims, and the laws they obey."""

from __future__ import annotations

import math
import runpy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from roofline.errors import InputError
from roofline.serving import (
    SLO,
    Closed,
    Lognormal,
    Open,
    Requests,
    Service,
    breaking_rate,
    capacity,
    closed_loop,
    open_loop,
    simulate,
)
from tests.docs.pages import DOCS, table

MADE = runpy.run_path(str(DOCS / "make_queueing.py"))
CASES: dict[str, tuple[Service, Requests]] = MADE["CASES"]
FIGURES: tuple[str, ...] = MADE["FIGURES"]
WITHIN = {
    "TTFT mean": 0.1,
    "TTFT p50": 0.1,
    "TTFT p90": 0.15,
    "TTFT p99": 0.25,
    "TPOT mean": 0.07,
    "TPOT p50": 0.1,
    "TPOT p90": 0.2,
    "TPOT p99": 0.25,
    "goodput": 0.15,
}
"""Largest error of a figure that is stood by, 60,000 requests: what the page shows and the spread of so few."""

CHAT = CASES["chat, chunk 512"]


@pytest.mark.parametrize(("load", "cv"), [(0.3, 1.0), (0.6, 0.5), (0.6, 2.0), (0.8, 1.0)])
@pytest.mark.parametrize("name", CASES)
def test_open_arrivals_agree_with_the_simulator(name: str, load: float, cv: float) -> None:
    cell = MADE["compare"](*CASES[name], load, cv, 60_000, 7)
    spread = dict.fromkeys(FIGURES, 0.0)  # of so few requests where waits for slots are rare and long
    for figure, statistic in (("TTFT mean", np.nanmean), ("TTFT p99", lambda x: float(np.percentile(x, 99)))):
        half_width = cell.found.half_width("ttft_s", statistic)
        spread[figure] = 2.0 * half_width / statistic(cell.found.ttft_s[cell.found.measured])
    wrong = {
        figure: error
        for figure, error, stands in zip(FIGURES, cell.errors, cell.validated, strict=True)
        if stands and abs(error) > WITHIN[figure] + spread[figure]
    }
    assert not wrong
    assert sum(cell.validated) >= 5


def test_most_figures_are_within_ten_percent() -> None:
    """Replicas drawn at random, not those the equations were made with."""
    cells = [MADE["compare"](*case, count=60_000, seed=i) for i, case in enumerate(MADE["drawn"](24, seed=5))]
    stood = [
        (figure, abs(error))
        for cell in cells
        for figure, error, stands in zip(FIGURES, cell.errors, cell.validated, strict=True)
        if stands
    ]
    assert len(stood) > 180
    assert np.mean([error <= 0.1 for _, error in stood]) > 0.94
    for figure in ("TTFT mean", "TTFT p50", "TPOT mean"):
        assert np.median([error for name, error in stood if name == figure]) < 0.015


@pytest.mark.parametrize(("name", "load", "cv"), [("chat, chunk 2048", 0.6, 1.0), ("reasoning, 64 slots", 0.3, 0.5)])
def test_the_page_is_up_to_date(name: str, load: float, cv: float) -> None:
    row = MADE["cell_row"](name, load, cv, MADE["known"](name, load, cv))
    assert row in table(DOCS / "queueing.md", "cells"), "run: python docs/make_queueing.py"
    assert MADE["capacity_rows"]() == table(DOCS / "queueing.md", "capacity")


@pytest.mark.parametrize("name", CASES)
def test_closed_loops_agree_with_the_simulator(name: str) -> None:
    service, requests = CASES[name]
    for clients in (1, 8, service.slots, 2 * service.slots):
        found = simulate(service, requests, Closed(clients), count=20_000)
        form = closed_loop(service, requests, clients)
        assert form.output_tokens_per_s == pytest.approx(found.output_tokens_per_s, rel=0.025)
        assert form.tpot_s == pytest.approx(found.mean("tpot_s"), rel=0.035)
        if form.validated:
            assert form.ttft_s == pytest.approx(found.mean("ttft_s"), rel=0.06)
        assert form.request_rate * (form.ttft_s + form.batch / form.request_rate) == pytest.approx(clients, rel=0.03)
    most = capacity(service, requests)
    assert closed_loop(service, requests, 4 * service.slots).request_rate == pytest.approx(most.rate)


def test_a_closed_loop_with_a_constant() -> None:
    """The constant keeps clients out of the replica: as many as rate times constant."""
    service, requests = CHAT
    away = Service(service.decode_s, service.mixed_s, service.chunk, service.slots, ttft_constant_s=1.0)
    for clients in (1, 40, 600):
        found = simulate(away, requests, Closed(clients), count=20_000)
        form = closed_loop(away, requests, clients)
        assert form.request_rate == pytest.approx(found.request_rate, rel=0.02)
        assert form.ttft_s == pytest.approx(found.mean("ttft_s"), rel=0.03)
        assert form.tpot_s == pytest.approx(found.mean("tpot_s"), rel=0.03)


def test_percentiles_of_closed_loops_agree_with_the_simulator() -> None:
    """Loops drawn at random, not those the equations were made with."""
    cells = [MADE["compare_loop"](loop, 20_000, i)[0] for i, loop in enumerate(MADE["drawn_loops"](60, seed=4))]
    for part, least, median in ((slice(0, 3), 0.88, 0.035), (slice(3, 6), 0.96, 0.005)):
        errors = np.array(
            [
                abs(error)
                for cell in cells
                for error, stands in zip(cell.errors[part], cell.validated[part], strict=True)
                if stands
            ]
        )
        assert errors.size > 100
        assert (errors <= 0.1).mean() >= least
        assert np.median(errors) < median


def test_the_page_claims_percentiles_of_closed_loops_as_they_are() -> None:
    rows = [row for row in table(DOCS / "queueing.md", "spread") if row[2] == "yes"]
    assert {row[1] for row in rows} == set(MADE["SPREAD"])
    for row in rows:
        assert int(row[4].split()[0]) >= (90 if row[1].startswith("TTFT") else 95)


@pytest.mark.parametrize("name", CASES)
def test_percentiles_of_a_closed_loop_are_in_order(name: str) -> None:
    service, requests = CASES[name]
    for clients in (1, 20, 2 * service.slots):
        form = closed_loop(service, requests, clients)
        for percentile, mean in ((form.ttft_percentile, form.ttft_s), (form.tpot_percentile, form.tpot_s)):
            values = [percentile(percent).value for percent in (1, 25, 50, 75, 90, 99, 99.9)]
            assert values == sorted(values)
            assert values[0] <= mean * 1.001
            assert values[-1] >= mean * 0.97


@pytest.mark.parametrize(
    ("change", "clients", "reason"),
    [
        ({"isl": 900, "osl": 200}, 32, "fixed lengths"),
        ({"osl": 200}, 32, "outputs of one length"),
        ({"osl": Lognormal(9, 0.5)}, 32, "decode steps a prompt chunk, fewer than 10"),
        ({"slots": 20}, 32, "waits for one of 20 slots, fewer than 32"),
        ({"mixed_s": 0.2, "constant": 0.1}, 32, "long steps with a chunk"),
        ({}, 64, ""),
    ],
)
def test_percentiles_of_a_closed_loop_say_where_they_are_not_stood_by(
    change: dict[str, Any], clients: int, reason: str
) -> None:
    usual: dict[str, Any] = {"slots": 64, "mixed_s": 0.02, "constant": 0.0}
    values = usual | {"isl": Lognormal(900, 0.8), "osl": Lognormal(200, 0.5)} | change
    b = np.arange(values["slots"] + 1.0)
    service = Service(8e-3 + 1e-4 * b, values["mixed_s"] + 1e-4 * b, 512, values["slots"], values["constant"])
    found = closed_loop(service, Requests(values["isl"], values["osl"]), clients).ttft_percentile(99)
    assert found.value > 0.0
    assert found.validated == (not reason)
    assert reason in found.reason


def test_a_percentile_where_ttft_jumps_is_in_doubt() -> None:
    """One chunk a prompt: r/2 of the requests wait a step more, and the 90th percentile is just there."""
    service = Service(np.full(65, 0.01), np.full(65, 0.011), 2048, 64)
    requests = Requests(Lognormal(500, 0.3), Lognormal(320, 0.6))
    form = closed_loop(service, requests, 64)
    assert 0.18 < form.prefill_share < 0.22
    assert "TTFT jumps there" in form.ttft_percentile(89.5).reason
    assert form.ttft_percentile(50).validated
    assert form.tpot_percentile(90).validated


def test_one_slot_is_exact() -> None:
    service = Service(np.array([0.01, 0.02]), np.array([0.04, 0.05]), chunk=100, slots=1)
    cycle = 2 * 0.01 + 1.5 * 0.03 + 9 * 0.02
    assert capacity(service, Requests(150, 10)).rate == pytest.approx(1 / cycle)
    form = closed_loop(service, Requests(150, 10), 1)
    assert (form.ttft_s, form.tpot_s) == pytest.approx((2 * 0.01 + 1.5 * 0.03, 0.02))


def test_one_token_requests_are_a_single_server() -> None:
    """OSL 1: no decoding, TTFT is the M/D/1 queue of Pollaczek and Khinchine; no TPOT."""
    service = Service(np.full(33, 0.01), np.full(33, 0.04), chunk=100, slots=32)
    requests = Requests(200, 1)
    assert capacity(service, requests).rate == pytest.approx(1 / 0.08)
    form = open_loop(service, requests, Open(0.6 / 0.08))
    assert form.ttft_s == pytest.approx(0.08 * (1 + 0.6 / 0.8), rel=0.01)
    assert math.isnan(form.tpot_s)
    assert form.tpot_percentile(50).reason == "no request has a second token"
    assert form.reason == "0 decode steps a prompt chunk, fewer than 10"
    assert form.goodput(SLO(tpot_s=1.0)).value == pytest.approx(form.output_tokens_per_s)
    alone = closed_loop(service, requests, 4)
    assert math.isnan(alone.tpot_s)
    assert math.isnan(alone.tpot_percentile(50).value)
    assert alone.ttft_percentile(50).value == pytest.approx(4 * 0.08, rel=0.01)


def test_no_steady_state_is_nan_with_a_reason() -> None:
    service, requests = CHAT
    limit = capacity(service, requests)
    for rate in (limit.rate, 3 * limit.rate):
        form = open_loop(service, requests, Open(rate))
        figures = [form.ttft_percentile(50), form.tpot_percentile(99), form.goodput(SLO(1.0, 0.1))]
        assert all(math.isnan(figure.value) and "unstable" in figure.reason for figure in figures)
        assert math.isnan(form.ttft_s)
        assert not form.validated
        assert form.load == pytest.approx(rate / limit.rate)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"load": 0.95}, "load 0.95 outside 0.1 to 0.85"),
        ({"load": 0.05}, "load 0.05 outside"),
        ({"cv": 3.0}, "arrival cv 3 outside 0.5 to 2"),
        ({"slots": 16}, "16 slots, fewer than 32"),
        ({"osl": 5}, "decode steps a prompt chunk, fewer than 10"),
    ],
)
def test_outside_what_was_checked_says_so(change: dict[str, Any], reason: str) -> None:
    values: dict[str, Any] = {"load": 0.5, "cv": 1.0, "slots": 64, "osl": 200} | change
    b = np.arange(values["slots"] + 1.0)
    service = Service(8e-3 + 1e-4 * b, 0.02 + 1e-4 * b, 512, values["slots"])
    requests = Requests(Lognormal(900, 0.8), values["osl"])
    form = open_loop(service, requests, Open(values["load"] * capacity(service, requests).rate, values["cv"]))
    assert reason in form.reason
    for figure in (form.ttft_percentile(99), form.tpot_percentile(50), form.goodput(SLO(1, 1))):
        assert not figure.validated
        assert figure.value > 0.0


def test_doubt_where_slot_waits_set_in() -> None:
    service, requests = CASES["reasoning, fixed, 32 slots"]
    form = open_loop(service, requests, Open(0.75 * capacity(service, requests).rate, 1.5))
    assert form.validated
    assert 0.1 < form.slot_wait_probability < 0.3
    assert form.ttft_percentile(40).validated
    assert "wait for a slot" in form.ttft_percentile(80).reason
    assert form.ttft_percentile(99.0).value > 100 * form.ttft_percentile(50).value


def test_doubt_where_tpot_is_not_lognormal() -> None:
    service, requests = CASES["long prompt, chunk 2048"]
    form = open_loop(service, requests, Open(0.8 * capacity(service, requests).rate))
    assert form.ttft_percentile(50).validated
    assert "bound by prefill" in form.tpot_percentile(50).reason
    assert "bound by prefill" in form.goodput(SLO(tpot_s=0.03)).reason


@pytest.mark.parametrize("name", CASES)
def test_figures_rise_with_load_and_percentile(name: str) -> None:
    service, requests = CASES[name]
    limit = capacity(service, requests).rate
    forms = [open_loop(service, requests, Open(load * limit)) for load in (0.02, 0.2, 0.4, 0.6, 0.8, 0.95)]
    for value in (lambda f: f.ttft_s, lambda f: f.tpot_s, lambda f: f.batch, lambda f: f.ttft_percentile(95).value):
        values = [value(form) for form in forms]
        assert values == sorted(values)
    for form in forms:
        for percentile in (form.ttft_percentile, form.tpot_percentile):
            values = [percentile(percent).value for percent in (1, 25, 50, 75, 90, 99, 99.9)]
            assert values == sorted(values)
            assert values[0] > 0.0


def test_times_scale() -> None:
    service, requests = CASES["chat, chunk 2048"]
    slower = Service(4 * service.decode_s, 4 * service.mixed_s, service.chunk, service.slots)
    one = open_loop(service, requests, Open(8.0, 1.5))
    other = open_loop(slower, requests, Open(2.0, 1.5))
    assert other.ttft_s == pytest.approx(4 * one.ttft_s, rel=1e-6)
    assert other.tpot_s == pytest.approx(4 * one.tpot_s, rel=1e-6)
    assert other.ttft_percentile(99).value == pytest.approx(4 * one.ttft_percentile(99).value, rel=1e-6)


def test_goodput_is_the_share_that_meets_the_limits() -> None:
    service, requests = CHAT
    form = open_loop(service, requests, Open(10.0))
    assert form.goodput(SLO()).value == form.output_tokens_per_s == pytest.approx(3000, rel=0.01)
    limit = form.ttft_percentile(80).value
    assert form.goodput(SLO(ttft_s=limit)).value == pytest.approx(0.8 * form.output_tokens_per_s, rel=1e-3)
    assert form.goodput(SLO(ttft_s=1e-6)).value == pytest.approx(0.0, abs=1e-6)
    assert form.goodput(SLO(limit, form.tpot_s)).value < form.goodput(SLO(limit, 2 * form.tpot_s)).value


def test_the_load_at_which_an_slo_breaks() -> None:
    service, requests = CASES["chat, chunk 2048"]
    found = breaking_rate(service, requests, SLO(ttft_s=0.15, tpot_s=0.5, percentile=95))
    assert (found.binds, found.reason) == ("ttft", "")
    assert 0.3 < found.load < 0.85
    assert found.load == pytest.approx(found.rate / capacity(service, requests).rate)
    below, above = (open_loop(service, requests, Open(found.rate * k)) for k in (0.999, 1.001))
    assert below.ttft_percentile(95).value <= 0.15 < above.ttft_percentile(95).value
    by_tpot = breaking_rate(service, requests, SLO(ttft_s=0.15, tpot_s=0.012, percentile=95))
    assert by_tpot.binds == "tpot"
    assert by_tpot.rate < found.rate
    assert breaking_rate(service, requests, SLO()).binds == "capacity"
    never = breaking_rate(service, requests, SLO(ttft_s=1e-4))
    assert math.isnan(never.rate)
    assert "broken at load 0.001 already" in never.reason


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda form: form.ttft_percentile(100), "percent = 100"),
        (lambda form: form.tpot_percentile(0), "percent = 0"),
        (lambda form: form.ttft_percentile(math.nan), "percent = nan"),
        (lambda _: closed_loop(*CHAT, 0), "clients = 0"),
        (lambda _: closed_loop(*CHAT, 4).ttft_percentile(100), "percent = 100"),
        (lambda _: closed_loop(*CHAT, 4).tpot_percentile(0), "percent = 0"),
        (lambda _: breaking_rate(*CHAT, SLO(1.0), cv=-1.0), "cv = -1.0"),
        (lambda _: breaking_rate(*CHAT, SLO(1.0), least=0.0), "least = 0.0"),
        (lambda _: breaking_rate(*CHAT, SLO(latency_s=9.0)), "latency_s = 9: has no closed form"),
        (lambda form: form.goodput(SLO(latency_s=9.0)), "latency_s = 9: has no closed form"),
    ],
)
def test_bad_input_is_named(call: Callable[[Any], object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        call(open_loop(*CHAT, Open(1.0)))
