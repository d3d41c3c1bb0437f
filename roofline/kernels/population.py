"""n sequences that go round between one prompt server and decoding, counted in steps (docs/queueing.md (6), (21)-(25)).

Nothing here knows what a step costs.
"""

from __future__ import annotations

import math

from roofline.kernels._jit import entry, kernel

ROOT_HALF = math.sqrt(0.5)
ROOT_TWO_PI = math.sqrt(2.0 * math.pi)


@kernel
def _normal(x):
    """Standard normal distribution function."""
    return 0.5 * math.erfc(-x * ROOT_HALF)


@kernel
def _inverse_mills(x):
    """phi(x)/Phi(x) of the standard normal."""
    if x < -8.0:  # asymptotic: the quotient is 0/0 further out
        return -x - 1.0 / x + 2.0 / x**3
    return math.exp(-0.5 * x * x) / ROOT_TWO_PI / _normal(x)


@entry
def rounds(steps, chunks, residual, spread, until, found):
    """Mean-value analysis of n = 1, 2, ... sequences, equation (6); returns the last n, where `until` of them decode.

    steps : s', mean decode steps.   chunks : k', mean steps of a prompt.   residual : k'(1 + cv_k^2)/2.
    spread : z of (21).   until : stop where as many decode.
    found : float64[3, most+1]   written from n = 0 on: R(n), steps from arrival to the end of the own prompt; r(n);
        psi(n) of (24), how much of what varies in the arrivals shows in r.
    """
    room = steps / chunks
    deviation = math.sqrt(max(room * spread, 1e-12))
    found[0, 0], found[1, 0], found[2, 0] = chunks, 0.0, 1.0
    queue, share = 0.0, 0.0
    for n in range(1, found.shape[1]):
        others = n - 1.0
        x = (others - room) / deviation
        mills = _inverse_mills(x)
        behind = others - room + deviation * mills
        found[2, n - 1] = min(1.0, mills * max(mills + x, 0.0)) ** 2
        floor = chunks * (1.0 + min(1.0, others / (room + behind)) * behind) if n > 1 else chunks
        time = max(chunks * (1.0 + queue - share) + share * residual, floor)
        rate = min(n / (steps + time), 1.0 / chunks)
        queue, share = n - rate * steps, rate * chunks
        found[0, n], found[1, n], found[2, n] = n / rate - steps, share, found[2, n - 1]
        if rate * steps >= until:
            return n
    return found.shape[1] - 1


@entry
def dispersion(ordered, width, found):
    """Variance over mean of the renewals in a window, of a stationary renewal process: equation (24).

    ordered : float64[points]   equally likely times between renewals, ascending.   width : of a cell of the grid.
    found : float64[cells]   written; found[j] of a window of j cells, found[0] = 1.
    """
    cells, points = found.size, ordered.size
    mean = ordered.mean()
    part, expected = [0.0] * cells, [0.0] * cells
    below, seen = 0.0, 0
    variance, last = 0.0, 0.5
    found[0] = 1.0
    for j in range(1, cells):
        while seen < points and ordered[seen] <= j * width:
            seen += 1
        part[j] = seen / points - below
        below = seen / points
        total = below + part[1] * expected[j - 1] / 2.0
        for i in range(2, j + 1):
            total += part[i] * (expected[j - i] + expected[j - i + 1]) / 2.0
        expected[j] = total / (1.0 - part[1] / 2.0)
        now = expected[j] - j * width / mean + 0.5
        variance += width * (last + now) / mean
        last = now
        found[j] = max(variance / (j * width / mean), 0.0)


@kernel
def _gamma(value, mean, variance):
    """Gamma distribution function by its mean and variance (Wilson and Hilferty, PNAS 17, 1931)."""
    if value <= 0.0:
        return 0.0
    ninth = max(variance / (9.0 * mean * mean), 1e-9)
    return _normal(((value / mean) ** (1.0 / 3.0) - 1.0 + ninth) / math.sqrt(ninth))


@kernel
def _below(value, own, strata, weights, busy, mean, variance, slot, slot_variance):
    """P(own prompt + wait <= value)."""
    total = 0.0
    if slot <= 0.0:
        low, high = 0, own.size  # how many of the own prompts are no longer
        while low < high:
            middle = (low + high) // 2
            if own[middle] <= value:
                low = middle + 1
            else:
                high = middle
        total = (1.0 - busy) * low / own.size
    for i in range(strata.size):
        left = value - strata[i]
        if left <= 0.0:
            break
        if slot > 0.0:
            total += (1.0 - busy) * weights[i] * _gamma(left, slot, slot_variance)
        if busy > 0.0:
            total += busy * weights[i] * _gamma(left, mean + slot, variance + slot_variance)
    return total


@entry
def wait_quantiles(own, strata, weights, waits, shares, within, found):
    """Quantiles of own prompt + wait, equation (23), at each of several n.

    own : float64[points]   equally likely own prompts, ascending.   strata, weights : float64[m]   a few of them.
    waits : float64[5, nodes]   P(wait > 0); mean and variance of the wait where it is not 0; mean and variance of a
        wait for a slot before (0: none).   shares : float64[p]   below 1.   within : relative error, upwards.
    found : float64[p, nodes]   written.
    """
    for j in range(shares.size):
        start = own[min(int(shares[j] * own.size), own.size - 1)]
        for i in range(waits.shape[1]):
            law = (waits[0, i], waits[1, i], waits[2, i], waits[3, i], waits[4, i])
            low, high = 0.0, start
            while _below(high, own, strata, weights, *law) < shares[j]:
                low, high = high, 1.25 * high
            if low == 0.0:
                low = 0.8 * high
                while low > 1e-6 and _below(low, own, strata, weights, *law) >= shares[j]:
                    low, high = 0.8 * low, low
            while high - low > within * high:
                middle = 0.5 * (low + high)
                if _below(middle, own, strata, weights, *law) < shares[j]:
                    low = middle
                else:
                    high = middle
            found[j, i] = start = high


@entry
def fill_quantiles(mean, variances, weights, shares, within, found):
    """Quantiles of what chunks a request sees among its decode steps, in full chunks a step: equation (25).

    mean : float64[nodes].   variances : float64[nodes, m]   of requests of m numbers of steps.   weights : float64[m].
    shares : float64[p].   within : relative error.
    found : float64[p, nodes]   written; 1 at most, that is a full chunk in every step.
    """
    count = weights.size
    ninth, deviation = [0.0] * count, [0.0] * count
    for i in range(mean.size):
        if mean[i] <= 0.0:
            found[:, i] = 0.0
            continue
        for m in range(count):
            ninth[m] = max(variances[i, m] / (9.0 * mean[i] * mean[i]), 1e-9)
            deviation[m] = math.sqrt(ninth[m])
        for j in range(shares.size):
            low, high = 0.0, 1.0 / mean[i] ** (1.0 / 3.0)  # cube roots of the fill over its mean
            while high - low > within / 3.0 * high and high > 1e-3:
                middle = 0.5 * (low + high)
                total = 0.0
                for m in range(count):
                    total += weights[m] * _normal((middle - 1.0 + ninth[m]) / deviation[m])
                if total < shares[j]:
                    low = middle
                else:
                    high = middle
            found[j, i] = mean[i] * high**3
