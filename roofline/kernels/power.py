"""Metered draw of a running accelerator: equation (16)."""

from __future__ import annotations

import math

from roofline.kernels._jit import kernel


@kernel
def draw(machine, compute_share, memory_share):
    """Power of one accelerator [W] from its share of peak compute (u_f) and of memory bandwidth (u_m).

    The shares are of a mean accelerator of the replica, rows that fill up tiles included, not of the busiest one.

    P = idle + (TDP - idle) (1 - 1/(1 + x + x^2/2)),   x = a sqrt(u_f) + b u_m                              (16)

    Rational and saturating; a and b fitted on H100 serving measurements (median error of a model not fitted to: 6 %),
    `estimated` elsewhere.
    """
    x = machine.power_a * math.sqrt(compute_share) + machine.power_b * memory_share
    return machine.idle_w + (machine.tdp_w - machine.idle_w) * (1.0 - 1.0 / (1.0 + x + 0.5 * x * x))
