"""A tile of contexts: what is summed over it, and how many tokens each context sees (section 3).

What depends on the context is linear in `pairs`, in `seen` or in the context itself, so that the loops over a tile
are branch-free, contiguous and vectorised.
"""

from __future__ import annotations

import numpy as np

from roofline.kernels._jit import kernel
from roofline.layout import NO_WINDOW

# Rows of the accumulator that a tile of contexts is summed in. Every pass sums the first two; what a pass is not asked
# about is not summed (`detail`): writing to the accumulator is most of the cost of a context.
A_TIME, A_CACHE, A_PEAK, A_MOVED, A_COMPUTE, A_MEMORY, A_NETWORK, A_LATENCY, A_SERIAL = range(9)
SUMS = 9

# Rows that one kind of layer writes for itself: pairs and tokens seen, and the same without a selection.
A_PAIRS, A_SEEN, A_ALL_PAIRS, A_ALL_SEEN = range(SUMS, SUMS + 4)
ROWS = SUMS + 4

# Which rows a pass is asked for, each with what is before it. No literals: a kernel is compiled anew for each of them.
DETAIL_TIME, DETAIL_WORK, DETAIL_CLASSES = np.int64(0), np.int64(1), np.int64(2)


@kernel
def summed_rows(detail):
    """How many rows of the accumulator, from the first, a pass sums for what is asked of it."""
    return SUMS if detail >= DETAIL_CLASSES else A_COMPUTE if detail >= DETAIL_WORK else A_PEAK


@kernel
def causal_pairs(new, context, window):
    """Query-key pairs of one sequence under the causal mask and a window: equation (3).

    tri(x) - tri(y) = (x - y) (x + y + 1)/2, exact for whole numbers.
    """
    outside = max(context - window, 0.0)
    before = max(context - new - window, 0.0)
    return new * context - 0.5 * new * (new - 1.0) - 0.5 * (outside - before) * (outside + before + 1.0)


@kernel
def chunk_pairs(context, chunk):
    """Query-key pairs of the first `context` tokens of a sequence, each with those of its chunk: S(n) of (3c)."""
    whole = np.floor(context / chunk)  # exact: both are whole numbers far below 2^53
    rest = context - whole * chunk
    return 0.5 * whole * chunk * (chunk + 1.0) + 0.5 * rest * (rest + 1.0)


@kernel
def sees_all(layer):
    """Whether each query of a layer attends to every token before it."""
    return layer.window >= NO_WINDOW and layer.selected == 0


@kernel
def span(layer, selected, new, bound):
    """(tokens that a query attends to, tokens that a pass reads), at most; of equations (3) and (3s).

    selected : tokens that a query attends to of those it could, 0 for all.   bound : the queries of a pass select the
       same tokens, else all different ones.
    """
    if selected > 0:
        return 1.0 * selected, 1.0 * selected if bound else 1.0 * selected * new
    return 1.0 * layer.window, layer.window + new - 1.0


@kernel
def see(acc, row, contexts, layer, selected, new, bound):
    """Query-key pairs and tokens read of one sequence at each context: equations (3), (3c) and (3s).

    acc : float64[> row + 1, >= n]   pairs are written to `row`, tokens seen to the one after it.
    contexts : float64[n] tokens, new ones included.   selected, bound : as `span`.
    """
    if selected == 0 and layer.window >= NO_WINDOW:
        unseen = 0.5 * new * (new - 1.0)
        for c in range(contexts.size):
            acc[row, c] = new * contexts[c] - unseen
            acc[row + 1, c] = contexts[c]
    elif selected == 0 and layer.chunked == 1:
        chunk = 1.0 * layer.window
        for c in range(contexts.size):
            before = contexts[c] - new
            acc[row, c] = chunk_pairs(contexts[c], chunk) - chunk_pairs(before, chunk)
            acc[row + 1, c] = contexts[c] - np.floor(before / chunk) * chunk
    else:
        window, reach = span(layer, selected, new, bound)
        for c in range(contexts.size):
            acc[row, c] = causal_pairs(new, contexts[c], window)
            acc[row + 1, c] = min(contexts[c], reach)


@kernel
def add_work(acc, c, count, peak, moved):
    """Add the work of `count` layers to context c: seconds at dense peak and bytes."""
    acc[A_PEAK, c] += count * peak
    acc[A_MOVED, c] += count * moved


@kernel
def add_classes(acc, c, count, compute, memory, link):
    """Add `count` times max(compute, memory, link) to its class, and what it is with the link in series."""
    roof = max(compute, memory)
    acc[A_COMPUTE, c] += count * (compute if compute >= max(memory, link) else 0.0)
    acc[A_MEMORY, c] += count * (memory if (memory > compute) & (memory >= link) else 0.0)
    acc[A_NETWORK, c] += count * (link if link > roof else 0.0)
    acc[A_SERIAL, c] += count * (roof + link)
