"""Shares of others' prompts that a request decodes beside, against clients served one step after another."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roofline.validation.together import PAIR, chain_share, first_share, share_seen

WAVES = 5


@dataclass
class Request:
    """Of one client.   wave : its number.   waited, seen : prompts of others in the steps before and after its first
    token.   left : tokens still to come."""

    client: int
    wave: int
    left: int
    waited: int = 0
    seen: int = 0


def simulate(clients: int, tokens: int, per_step: int, *, prompts_first: bool, waves: int = WAVES) -> list[Request]:
    """All requests of clients that start together and send `waves` requests each, one when another ends.

    A step takes at most `per_step` waiting prompts, in the order they came; it decodes all that have their first token,
    or, where prompts run first and some wait, none of them. Who ends in a step sends the next request just after the
    next step has begun, or at once where nothing is left to run.
    """
    waiting = deque(Request(client, 0, tokens) for client in range(clients))
    decoding: list[Request] = []
    coming: list[Request] = []
    done: list[Request] = []
    while waiting or decoding or coming:
        if not waiting and not decoding:
            waiting.extend(coming)
            coming = []
        prompts = [waiting.popleft() for _ in range(min(per_step, len(waiting)))]
        waiting.extend(coming)
        for request in waiting:
            request.waited += len(prompts)
        for request in prompts:
            request.waited += len(prompts) - 1
        for request in decoding:
            request.seen += len(prompts)
            request.left -= 0 if prompts_first and prompts else 1
        for request in prompts:
            request.left -= 1
        ended = [request for request in decoding + prompts if request.left == 0]
        decoding = [request for request in decoding + prompts if request.left > 0]
        done += ended
        coming = [Request(one.client, one.wave + 1, tokens) for one in ended if one.wave + 1 < waves]
    assert len(done) == clients * waves
    return done


def share(requests: list[Request], clients: int) -> float:
    """Mean share of the other clients that a request sees the prompts of."""
    return sum(request.seen for request in requests) / len(requests) / (clients - 1)


@given(clients=st.integers(2, 40), per_step=st.integers(1, 12), tokens=st.integers(2, 30))
def test_prompts_first_are_counted_exactly(clients: int, per_step: int, tokens: int) -> None:
    served = simulate(clients, tokens, per_step, prompts_first=True)
    for wave in range(WAVES):
        assert share([one for one in served if one.wave == wave], clients) == pytest.approx(
            first_share(clients, per_step), abs=1e-12
        )
    assert all(one.seen + one.waited == clients - 1 for one in served)


@given(clients=st.integers(2, 40), per_step=st.integers(1, 8), more=st.integers(0, 9))
def test_a_mixed_chain_is_counted_exactly(clients: int, per_step: int, more: int) -> None:
    # As many tokens as there are groups, or more: the chain fits in a round.
    served = simulate(clients, max(2, math.ceil(clients / per_step)) + more, per_step, prompts_first=False)
    middle = [one for one in served if 0 < one.wave < WAVES - 1]
    assert share(middle, clients) == pytest.approx(chain_share(clients, per_step), abs=1e-12)
    assert all(one.seen + one.waited == clients - 1 for one in middle)


@given(per_step=st.integers(1, 8), groups=st.integers(4, 12))
def test_whole_groups_have_closed_forms(per_step: int, groups: int) -> None:
    n, m = groups * per_step, per_step
    assert first_share(n, m) == pytest.approx((n - m) / 2.0 / (n - 1))
    assert chain_share(n, m) == pytest.approx((n - 2 * m + m * m / n) / (n - 1))
    # With a group more than tokens the chain closes: the first group, too, waits for the one before it.
    served = simulate(n, groups - 1, m, prompts_first=False)
    closed = share([one for one in served if 0 < one.wave < WAVES - 1], n)
    assert closed == pytest.approx((n - 2 * m) / (n - 1), abs=1e-12)
    assert chain_share(n, m) - closed == pytest.approx(m * m / n / (n - 1))


@pytest.mark.parametrize("prompts_first", [False, True])
@given(clients=st.integers(2, 40), waves=st.integers(1, 7))
def test_a_run_begins_and_ends_as_prompts_first_do(prompts_first: bool, clients: int, waves: int) -> None:
    served = simulate(clients, 41, PAIR, prompts_first=prompts_first, waves=waves)
    wanted = share_seen(clients, float(waves), PAIR, alike=True, prompts_first=prompts_first)
    assert share(served, clients) == pytest.approx(wanted, abs=1e-12)
    waited = sum(request.waited for request in served) / len(served) / (clients - 1)
    assert waited == pytest.approx(1.0 - wanted, abs=1e-12)


@given(
    clients=st.integers(1, 3000),
    waves=st.one_of(st.floats(0.0, 1e6), st.just(math.inf)),
    per_batch=st.integers(0, 4000),
    alike=st.booleans(),
    prompts_first=st.booleans(),
)
def test_shares_are_shares(clients: int, waves: float, per_batch: int, alike: bool, prompts_first: bool) -> None:
    found = share_seen(clients, waves, per_batch, alike=alike, prompts_first=prompts_first)
    assert 0.0 <= found <= 1.0
    longer = share_seen(clients, 2.0 * waves + 1.0, per_batch, alike=alike, prompts_first=prompts_first)
    steady = share_seen(clients, math.inf, per_batch, alike=alike, prompts_first=prompts_first)
    # What a run begins with counts for less the longer it is.
    assert abs(longer - steady) <= abs(found - steady) + 1e-12
    assert alike or steady == 1.0


@pytest.mark.parametrize("of", [first_share, chain_share])
@pytest.mark.parametrize("per_step", [1, 2, 3, 8])
def test_more_clients_see_more_and_larger_batches_less(of: Callable[[int, int], float], per_step: int) -> None:
    found = [of(clients, per_step) for clients in range(2, 400, per_step)]
    assert all(before <= after + 1e-12 for before, after in pairwise(found))
    assert all(of(n, per_step + 1) <= of(n, per_step) + 1e-12 for n in range(2, 400, per_step * (per_step + 1)))
    assert of(1, per_step) == 1.0  # nobody else
    assert of(max(2, per_step), max(2, per_step)) == 0.0  # all in one batch
    limit = 0.5 if of is first_share else 1.0
    assert of(4000, per_step) == pytest.approx(limit, abs=2.0 * per_step / 4000)


@pytest.mark.parametrize(("clients", "waited"), [(8, 3.7), (128, 11.0)])
@pytest.mark.parametrize("per_batch", [2, 4, 8])
def test_a_chain_of_pairs_waits_for_as_many_prompts_as_runs_did(clients: int, waited: float, per_batch: int) -> None:
    found = share_seen(clients, 10.0, per_batch, alike=True, prompts_first=False)
    assert 1.0 + (1.0 - found) * (clients - 1) == pytest.approx(waited, rel=0.1)
    later = chain_share(clients, 8)
    assert 1.0 + (1.0 - later) * (clients - 1) > 1.4 * waited


def test_prompts_first_see_less_than_a_chain_and_a_chain_less_than_random_lengths() -> None:
    for clients in range(4, 200, 4):
        first, mixed = (share_seen(clients, 10.0, PAIR, alike=True, prompts_first=held) for held in (True, False))
        drawn = share_seen(clients, 10.0, PAIR, alike=False, prompts_first=False)
        assert first < mixed < drawn < 1.0
