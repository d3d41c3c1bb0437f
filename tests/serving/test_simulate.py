"""The simulator: the same as an oracle in plain Python, and the laws any queue obeys."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roofline.errors import InputError
from roofline.serving import SLO, Closed, Lognormal, Open, Requests, Service, SimulationResult, Trace, simulate
from tests.serving.oracle import Request, serve

TIMES = st.floats(1e-4, 0.2)


def linear(slots: int, base: float, each: float, chunk: int, added: float, **more: float) -> Service:
    decode_s = base + each * np.arange(slots + 1.0)
    return Service(decode_s, decode_s + added, chunk, slots, **more)


@st.composite
def services(draw: st.DrawFn, most_slots: int = 6) -> Service:
    slots = draw(st.integers(1, most_slots))
    decode_s = np.array(draw(st.lists(TIMES, min_size=slots + 1, max_size=slots + 1)))
    added = np.array(draw(st.lists(st.floats(0.0, 0.3), min_size=slots + 1, max_size=slots + 1)))
    constant = draw(st.sampled_from([0.0, 0.013, 0.2]))
    tau = draw(st.sampled_from([1.0, 1.7, 3.0]))
    return Service(decode_s, decode_s + added, draw(st.integers(1, 40)), slots, constant, tau)


LENGTHS = st.integers(1, 60)
REQUESTS = st.one_of(
    st.builds(Requests, LENGTHS, LENGTHS, st.sampled_from([0, 5, 100])),
    st.builds(Requests, st.builds(Lognormal, st.floats(1, 60), st.floats(0.1, 2)), st.integers(1, 40)),
    st.lists(st.tuples(LENGTHS, LENGTHS), min_size=1, max_size=8).map(
        lambda pairs: Requests([p[0] for p in pairs], [p[1] for p in pairs], 3)
    ),
)
ARRIVALS = st.one_of(
    st.builds(Open, st.floats(0.05, 50), st.sampled_from([0.0, 0.5, 1.0, 2.0])), st.builds(Closed, st.integers(1, 12))
)


def all_of(service: Service, requests: Requests, arrivals: Open | Closed, count: int, seed: int) -> SimulationResult:
    return simulate(service, requests, arrivals, count=count, seed=seed, warm_up=0.0, cool_down=0.0)


@given(services(), REQUESTS, ARRIVALS, st.integers(1, 60), st.integers(0, 1000))
@pytest.mark.reaches("open", "closed", "slots full", "several chunks", "drafts")
def test_it_is_the_oracle(
    reach: Callable[[str], None], service: Service, requests: Requests, arrivals: Open | Closed, count: int, seed: int
) -> None:
    found = all_of(service, requests, arrivals, count, seed)
    closed = isinstance(arrivals, Closed)
    prompts = requests.to_compute(found.isl)
    expected = [
        Request(float(prompt), float(osl), None if closed else float(arrival))
        for prompt, osl, arrival in zip(prompts, found.osl, found.arrival_s, strict=True)
    ]
    history = serve(
        service.decode_s.tolist(),
        service.mixed_s.tolist(),
        service.chunk,
        service.ttft_constant_s,
        service.tokens_per_step,
        arrivals.clients if isinstance(arrivals, Closed) else 0,
        expected,
    )
    for name, field in (("arrival", "arrival_s"), ("admitted", "admitted_s"), ("first", "first_token_s")):
        assert getattr(found, field).tolist() == [getattr(request, name) for request in expected], name
    assert found.end_s.tolist() == [request.end for request in expected]
    assert [request.tokens for request in expected] == found.osl.tolist()  # tokens out = sum of OSL
    reach("closed" if closed else "open")
    if max(len(step) for step in history) == service.slots:
        reach("slots full")
    if (prompts > service.chunk).any():
        reach("several chunks")
    if service.tokens_per_step > 1.0 and (found.osl > 2.0).any():
        reach("drafts")


@given(services(), REQUESTS, ARRIVALS, st.integers(0, 1000))
def test_order_and_least_times(service: Service, requests: Requests, arrivals: Open | Closed, seed: int) -> None:
    """No request is lost, first tokens come in order of arrival, and nothing is faster than alone."""
    found = all_of(service, requests, arrivals, 80, seed)
    for later, earlier in (("admitted_s", "arrival_s"), ("first_token_s", "admitted_s"), ("end_s", "first_token_s")):
        assert (getattr(found, later) >= getattr(found, earlier)).all()
    assert (np.diff(found.first_token_s) >= 0.0).all()
    chunks = np.ceil(requests.to_compute(found.isl) / service.chunk)
    steps = np.ceil((found.osl - 1.0) / service.tokens_per_step - 1e-9)
    least = service.decode_s.min() * (chunks + steps) + service.ttft_constant_s
    assert (found.latency_s >= least * (1 - 1e-12) - 1e-9).all()


@given(services(), REQUESTS, ARRIVALS, st.floats(0.2, 5.0), st.integers(0, 1000))
def test_time_scales(service: Service, requests: Requests, arrivals: Open | Closed, scale: float, seed: int) -> None:
    """All times of the replica and between arrivals times 2^k: all results times 2^k, bit for bit."""
    k = 2.0 ** round(math.log2(scale))
    slower = Service(
        service.decode_s * k,
        service.mixed_s * k,
        service.chunk,
        service.slots,
        service.ttft_constant_s * k,
        service.tokens_per_step,
    )
    later = Open(arrivals.rate / k, arrivals.cv) if isinstance(arrivals, Open) else arrivals
    one, other = all_of(service, requests, arrivals, 60, seed), all_of(slower, requests, later, 60, seed)
    assert (other.end_s == one.end_s * k).all()


def test_one_client_alone_never_waits() -> None:
    service = linear(4, 0.01, 0.002, 512, 0.03, ttft_constant_s=0.1)
    found = simulate(service, Requests(1100, 11), Closed(1), count=200)
    part = 1100 - 2 * 512
    ttft = 0.1 + 3 * 0.01 + (2 + part / 512) * 0.03
    np.testing.assert_allclose(found.ttft_s, ttft, rtol=1e-9)
    np.testing.assert_allclose(found.tpot_s, 0.012, rtol=1e-9)
    assert found.in_system == pytest.approx(1.0)


@pytest.mark.parametrize("arrivals", [Open(8.0, 1.0), Open(8.0, 2.0), Closed(24)])
def test_littles_law(arrivals: Open | Closed) -> None:
    """Mean number in the system, integrated over time, is rate times mean latency."""
    service = linear(64, 8e-3, 1e-4, 512, 0.012)
    found = simulate(service, Requests(Lognormal(700, 1.0), Lognormal(150, 0.7)), arrivals, count=60_000)
    events = np.concatenate([found.arrival_s, found.end_s])
    change = np.concatenate([np.ones(found.arrival_s.size), -np.ones(found.end_s.size)])
    order = np.argsort(events, kind="stable")
    events, number = events[order], np.cumsum(change[order])
    start = found.arrival_s[found.measured.start]
    inside = (events >= start) & (events < start + found.window_s)
    mean = float((number[inside][:-1] * np.diff(events[inside])).sum() / found.window_s)
    assert found.in_system == pytest.approx(mean, rel=0.02)
    assert found.request_rate * found.mean("latency_s") == pytest.approx(found.in_system, rel=1e-9)
    if isinstance(arrivals, Closed):
        assert found.in_system == pytest.approx(24, rel=0.01)
    assert found.output_tokens_per_s * found.window_s == pytest.approx(found.osl[found.measured].sum())


def test_utilisation() -> None:
    """At a rate that fills a tenth: busy share and share of mixed steps follow from the step times."""
    service = linear(8, 0.01, 0.0, 100, 0.02)
    found = simulate(service, Requests(200, 1), Open(2.0), count=50_000)
    assert found.mixed_share == found.busy_share == pytest.approx(2.0 * 2 * 0.03, rel=0.02)
    assert found.prefill_share == 1.0
    assert np.isnan(found.tpot_s).all()
    assert found.goodput(SLO(tpot_s=1e-9)) == pytest.approx(found.output_tokens_per_s)


def test_more_slots_help_at_light_load() -> None:
    requests, arrivals = Requests(Lognormal(500, 1.0), 120), Open(1.0)
    means = [
        simulate(linear(slots, 0.01, 1e-4, 512, 0.02), requests, arrivals, count=40_000).mean("ttft_s")
        for slots in (1, 2, 4, 8, 16)
    ]
    assert all(more <= fewer * 1.0001 for fewer, more in pairwise(means))
    assert means[0] > 5 * means[-1]


def test_seed_and_confidence() -> None:
    service, requests = linear(32, 8e-3, 1e-4, 512, 0.012), Requests(Lognormal(700, 1.0), 100)
    one, same, other = (simulate(service, requests, Open(8.0), count=40_000, seed=seed) for seed in (1, 1, 2))
    assert (one.end_s == same.end_s).all()
    assert one.mean("ttft_s") != other.mean("ttft_s")
    apart = abs(one.mean("ttft_s") - other.mean("ttft_s"))
    assert apart < 2.0 * math.hypot(one.half_width("ttft_s"), other.half_width("ttft_s"))
    assert one.half_width("tpot_s", lambda x: float(np.percentile(x, 99))) > 0.0
    assert one.percentile("ttft_s", 50) < one.mean("ttft_s") < one.percentile("ttft_s", 99)


def test_goodput_counts_requests_that_meet_both() -> None:
    service = linear(32, 8e-3, 1e-4, 512, 0.012)
    found = simulate(service, Requests(Lognormal(700, 1.0), Lognormal(100, 0.5)), Open(10.0), count=20_000)
    slo = SLO(found.percentile("ttft_s", 80), found.percentile("tpot_s", 70))
    meets = (found.ttft_s <= slo.ttft_s) & (found.tpot_s <= slo.tpot_s)
    tokens = found.osl[found.measured][meets[found.measured]].sum()
    assert found.goodput(slo) == pytest.approx(tokens / found.window_s)
    assert 0.4 < found.goodput(slo) / found.output_tokens_per_s < 0.8
    assert found.goodput(SLO()) == pytest.approx(found.output_tokens_per_s)
    assert found.meets(SLO(latency_s=1.0)).tolist() == (found.latency_s <= 1.0).tolist()


def test_a_trace_is_replayed() -> None:
    service = linear(8, 0.01, 1e-3, 100, 0.02)
    drawn = simulate(service, Requests(Lognormal(150, 0.5), Lognormal(20, 0.5)), Open(5.0), count=300)
    trace = Trace(drawn.arrival_s, drawn.isl, drawn.osl)
    assert (simulate(service, trace).end_s == drawn.end_s).all()


def test_no_arrivals_no_simulation() -> None:
    service = linear(8, 0.01, 1e-3, 100, 0.02)
    with pytest.raises(InputError, match="arrivals: give Open"):
        simulate(service, Requests(10, 10))
    with pytest.raises(InputError, match="a trace has its own"):
        simulate(service, Trace([0.0], [1], [1]), Open(1.0))
    for more, message in (
        ({"count": 0}, "count = 0"),
        ({"count": 2.5}, "count = 2.5: give a whole number"),
        ({"seed": -1}, "seed = -1"),
        ({"warm_up": 0.6, "cool_down": 0.4}, "nothing is left"),
        ({"warm_up": float("nan")}, "warm_up = nan"),
    ):
        with pytest.raises(InputError, match=message):
            simulate(service, Requests(10, 10), Open(1.0), **more)  # type: ignore[arg-type]
    found = simulate(service, Requests(10, 10), Open(1.0), count=5)
    with pytest.raises(InputError, match="too few for 20 batches"):
        found.half_width("ttft_s")
    with pytest.raises(InputError, match="field 'speed'"):
        found.mean("speed")
