"""The simulation kernel against the oracle, small enough to run as plain Python too."""

from __future__ import annotations

import numpy as np
import pytest

from roofline.kernels.simulate import replay
from tests.serving.oracle import Request, serve


@pytest.mark.parametrize("clients", [0, 1, 5])
@pytest.mark.parametrize("slots", [1, 4])
def test_it_is_the_oracle(clients: int, slots: int) -> None:
    generator = np.random.default_rng(slots + clients)
    n, chunk, delay_s, tau = 120, 16.0, 0.05, 1.3
    decode_s = generator.uniform(0.01, 0.03, slots + 1)
    mixed_s = decode_s + generator.uniform(0.0, 0.05, slots + 1)
    tokens, osl = generator.integers(1, 60, n).astype(float), generator.integers(1, 30, n).astype(float)
    times, totals = np.zeros((4, n)), np.zeros(6)
    times[0] = np.cumsum(generator.exponential(0.4, n))
    requests = [
        Request(prompt, length, None if clients else float(arrival))
        for prompt, length, arrival in zip(tokens, osl, times[0], strict=True)
    ]
    window, heap = np.array([0, n - 1]), np.zeros((2, slots), dtype=np.int64)
    replay(decode_s, mixed_s, chunk, delay_s, tau, clients, window, tokens, osl, times, heap, totals)
    history = serve(decode_s.tolist(), mixed_s.tolist(), chunk, delay_s, tau, clients, requests)
    expected = [[getattr(r, name) for r in requests] for name in ("arrival", "admitted", "first", "end")]
    assert times.tolist() == expected
    assert totals[0] == requests[0].admitted
    assert totals[1] == requests[-1].admitted
    assert 0.0 < totals[3] <= totals[2] <= totals[1] - totals[0]
    assert 0 < totals[5] <= totals[4] <= len(history)
