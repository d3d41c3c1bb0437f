"""Mixture of experts: how many experts a rank touches, how many tokens it gets: equation (7)."""

from __future__ import annotations

import math

from roofline.kernels._jit import kernel


@kernel
def normal_quantile(p):
    """Quantile of the standard normal for 0.5 <= p < 1. Wichura, Algorithm AS 241 (PPND16), 1988; about 1e-16."""
    q = p - 0.5
    if q <= 0.425:
        r = 0.180625 - q * q
        num = (
            (
                (
                    (
                        ((2.5090809287301226727e3 * r + 3.3430575583588128105e4) * r + 6.7265770927008700853e4) * r
                        + 4.5921953931549871457e4
                    )
                    * r
                    + 1.3731693765509461125e4
                )
                * r
                + 1.9715909503065514427e3
            )
            * r
            + 1.3314166789178437745e2
        ) * r + 3.3871328727963666080e0
        den = (
            (
                (
                    (
                        ((5.2264952788528545610e3 * r + 2.8729085735721942674e4) * r + 3.9307895800092710610e4) * r
                        + 2.1213794301586595867e4
                    )
                    * r
                    + 5.3941960214247511077e3
                )
                * r
                + 6.8718700749205790830e2
            )
            * r
            + 4.2313330701600911252e1
        ) * r + 1.0
        return q * num / den
    r = math.sqrt(-math.log(1.0 - p)) - 1.6
    num = (
        (
            (
                (
                    ((7.74545014278341407640e-4 * r + 2.27238449892691845833e-2) * r + 2.41780725177450611770e-1) * r
                    + 1.27045825245236838258e0
                )
                * r
                + 3.64784832476320460504e0
            )
            * r
            + 5.76949722146069140550e0
        )
        * r
        + 4.63033784615654529590e0
    ) * r + 1.42343711074968357734e0
    den = (
        (
            (
                (
                    ((1.05075007164441684324e-9 * r + 5.47593808499534494600e-4) * r + 1.51986665636164571966e-2) * r
                    + 1.48103976427480074590e-1
                )
                * r
                + 6.89767334985100004550e-1
            )
            * r
            + 1.67638483018380384940e0
        )
        * r
        + 2.05319162663775882187e0
    ) * r + 1.0
    return num / den


@kernel
def expert_load(experts, top_k, ep, tokens, fullest, skew):
    """Experts whose weights a rank reads and token rows it computes: equation (7).

    tokens : int   tokens of the expert group in this micro-batch.
    fullest : bool   the rank all others wait for, else the mean.
    Returns (touched experts, rows), both real numbers.
    Uniform routing; the fullest of ep ranks by Blom's expected order statistic (Biometrika 45, 1958).
    """
    local = experts / ep
    cover = -math.expm1(tokens * math.log1p(-top_k / experts)) if top_k < experts else 1.0
    mean = tokens * top_k / ep
    if not fullest:
        return local * cover, mean
    most = tokens * min(1.0 * top_k, local)
    above = normal_quantile((ep - 0.375) / (ep + 0.25)) if ep > 1 else 0.0
    spread = above * math.sqrt(local * cover * (1.0 - cover))
    touched = min(local, most, local * cover + spread)
    rows = min(most, skew * (mean + math.sqrt(2.0 * mean * math.log(ep))))
    return touched, rows


@kernel
def computed_rows(touched, rows, tile):
    """Rows that kernels compute for `rows` token rows of `touched` experts, in whole tiles: equation (7t).

    Every expert touched has one tile at least, and of many tiles the last is half empty on average.
    """
    if tile <= 1.0:
        return rows
    return max(tile * touched, rows + 0.5 * (tile - 1.0) * touched)
