"""Continuous batching of one replica, step by step: chunked prefill, first come first served (docs/queueing.md)."""

from __future__ import annotations

import math

from roofline.kernels._jit import entry, kernel


@kernel
def _push(due, who, size, step, request):
    """Put (step, request) on the binary heap due[:size], who[:size], earliest first, lower request first on a tie."""
    place = size
    while place > 0:
        above = (place - 1) // 2
        if due[above] < step or (due[above] == step and who[above] < request):
            break
        due[place], who[place] = due[above], who[above]
        place = above
    due[place], who[place] = step, request


@kernel
def _drop_first(due, who, size):
    """Take the first entry off the heap due[:size], who[:size]."""
    last = size - 1
    step, request = due[last], who[last]
    place = 0
    while True:
        child = 2 * place + 1
        if child >= last:
            break
        right = child + 1
        if right < last and (due[right] < due[child] or (due[right] == due[child] and who[right] < who[child])):
            child = right
        if step < due[child] or (step == due[child] and request < who[child]):
            break
        due[place], who[place] = due[child], who[child]
        place = child
    due[place], who[place] = step, request


@entry
def replay(decode_s, mixed_s, chunk, delay_s, tau, clients, window, tokens, osl, times, heap, totals):
    """Serve n requests in order; what happens to each is written to `times`.

    A step takes decode_s[b] + share*(mixed_s[b] - decode_s[b]) with b decoding sequences and a chunk that is filled
    to `share`. A request holds one of mixed_s.size - 1 slots from admission to its last token. The end of its prompt
    is its first token; ceil((OSL-1)/tau) steps later it ends: all decoding sequences move in every step, so the heap
    is keyed by the number of the step, and a step costs O(1).

    decode_s, mixed_s : float64[slots+1]   s.   chunk : float   tokens.   delay_s : float   arrival to scheduler.
    clients : int   0: open arrivals at times[0]; else a request is sent when one ends, the first `clients` at 0.
    window : int64[2]   totals count from the admission of the first request to that of the second.
    tokens : float64[n]   prompt tokens to compute.   osl : float64[n].
    times : float64[4, n]   arrival, admission, first token, end (written; arrival too where clients > 0).
    heap : int64[2, slots]   work space.
    totals : float64[6]   start and end of the window, busy time, time of mixed steps, steps, mixed steps (written).
    """
    arrival, admitted, first, end = times[0], times[1], times[2], times[3]
    due, who = heap[0], heap[1]
    n, slots = osl.size, mixed_s.size - 1
    known = min(clients, n) if clients > 0 else n
    if clients > 0:
        arrival[:known] = 0.0
    t, step, size = 0.0, 0, 0
    next_in, next_prompt, finished, computed = 0, 0, 0, 0.0
    totals[:] = 0.0
    while finished < n:
        while next_in < known and next_in - finished < slots and arrival[next_in] + delay_s <= t:
            admitted[next_in] = t
            if next_in == window[0]:
                totals[0] = t
            if next_in == window[1]:
                totals[1] = t
            next_in += 1
        mixed = next_in > next_prompt
        if not mixed and size == 0:  # nothing to do before the next arrival
            t = max(t, arrival[next_in] + delay_s)
            continue
        step_s, done = decode_s[size], 0.0
        if mixed:
            done = min(chunk, tokens[next_prompt] - computed)
            step_s += done / chunk * (mixed_s[size] - decode_s[size])
        t += step_s
        step += 1
        if window[0] < next_in <= window[1]:
            totals[2] += step_s
            totals[4] += 1.0
            if mixed:
                totals[3] += step_s
                totals[5] += 1.0
        before = finished
        while size > 0 and due[0] <= step:
            end[who[0]] = t
            _drop_first(due, who, size)
            size -= 1
            finished += 1
        if mixed:
            computed += done
            if computed >= tokens[next_prompt]:
                first[next_prompt] = t
                steps = math.ceil((osl[next_prompt] - 1.0) / tau - 1e-9)
                if steps > 0:
                    _push(due, who, size, step + steps, next_prompt)
                    size += 1
                else:
                    end[next_prompt] = t
                    finished += 1
                next_prompt += 1
                computed = 0.0
        if clients > 0:
            for _ in range(min(finished - before, n - known)):
                arrival[known] = t
                known += 1
