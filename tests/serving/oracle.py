"""Continuous batching in plain Python, request by request and token by token. Knows nothing of roofline."""

from __future__ import annotations

import math
from dataclasses import dataclass, field


@dataclass
class Request:
    prompt: float  # tokens to compute
    osl: float
    arrival: float | None  # None: not sent yet
    admitted: float = math.nan
    first: float = math.nan
    end: float = math.nan
    computed: float = 0.0
    to_decode: int = 0
    tokens: float = field(default=0.0)  # output tokens so far


def serve(
    decode_s: list[float],
    mixed_s: list[float],
    chunk: float,
    delay_s: float,
    tau: float,
    clients: int,
    requests: list[Request],
) -> list[list[Request]]:
    """Serve all requests; returns who was decoding in each step. clients 0: open arrivals, else a closed loop."""
    slots = len(decode_s) - 1
    if clients:
        for request in requests[:clients]:
            request.arrival = 0.0
    prompts: list[Request] = []
    decoding: list[Request] = []
    ahead = list(requests)  # not admitted, in order
    t = 0.0
    history = []
    while any(math.isnan(request.end) for request in requests):
        while ahead and ahead[0].arrival is not None and ahead[0].arrival + delay_s <= t:
            if len(prompts) + len(decoding) == slots:
                break
            ahead[0].admitted = t
            prompts.append(ahead.pop(0))
        b = len(decoding)
        if not prompts and not decoding:
            assert ahead[0].arrival is not None
            t = max(t, ahead[0].arrival + delay_s)
            continue
        step = decode_s[b]
        done = 0.0
        if prompts:
            done = min(chunk, prompts[0].prompt - prompts[0].computed)
            step = decode_s[b] + done / chunk * (mixed_s[b] - decode_s[b])
        t += step
        history.append(list(decoding))
        ended = []
        for request in decoding:
            request.to_decode -= 1
            request.tokens = min(request.osl, request.tokens + tau)
            if request.to_decode == 0:
                request.end = t
                ended.append(request)
        decoding = [request for request in decoding if request.to_decode > 0]
        if prompts:
            request = prompts[0]
            request.computed += done
            if request.computed >= request.prompt:
                prompts.pop(0)
                request.first, request.tokens = t, 1.0
                request.to_decode = math.ceil((request.osl - 1.0) / tau - 1e-9)
                if request.to_decode:
                    decoding.append(request)
                else:
                    request.end = t
                    ended.append(request)
        if clients:
            unsent = [request for request in requests if request.arrival is None]
            for request in unsent[: len(ended)]:
                request.arrival = t
    return history
