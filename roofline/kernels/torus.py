"""A torus of direct links: the box that n accelerators form in it, its links and hops: equations (10t) and (13)."""

from __future__ import annotations

from roofline.kernels._jit import kernel
from roofline.layout import Topology

TORUS = int(Topology.TORUS)


@kernel
def box_of(machine, n):
    """Extents of the box that n accelerators form: grown evenly, each axis by doubling, to its ring at the end."""
    x, y, z = machine.axis_x, machine.axis_y, machine.axis_z
    if n >= x * y * z:
        return x, y, z
    i, j, k = 1, 1, 1
    while i * j * k < n:
        small, axis = n, 0
        if 2 * i <= x:
            small, axis = i, 1
        if 2 * j <= y and j < small:
            small, axis = j, 2
        if 2 * k <= z and k < small:
            axis = 3
        if axis > 0:
            i, j, k = (2 * i if axis == 1 else i), (2 * j if axis == 2 else j), (2 * k if axis == 3 else k)
            continue
        small = n
        if i < x:
            small, axis = i, 1
        if j < y and j < small:
            small, axis = j, 2
        if k < z and k < small:
            axis = 3
        if axis == 0:
            break
        i, j, k = (x if axis == 1 else i), (y if axis == 2 else j), (z if axis == 3 else k)
    return i, j, k


@kernel
def axis_links(extent, whole):
    """Links that one accelerator uses along an axis of its box: both where the ring closes."""
    if extent == 1:
        return 0
    return 2 if extent == whole and extent > 2 else 1


@kernel
def links_of_axes(machine):
    """Links of one accelerator: two along every axis."""
    axes = (1 if machine.axis_x > 1 else 0) + (1 if machine.axis_y > 1 else 0) + (1 if machine.axis_z > 1 else 0)
    return 2 * max(1, axes)


@kernel
def _axis_hops(extent, whole):
    return extent // 2 if axis_links(extent, whole) == 2 else extent - 1


@kernel
def torus_span(machine, n):
    """(share of an accelerator's links that it uses among n, links between the two that are farthest apart): (10t)."""
    x, y, z = machine.axis_x, machine.axis_y, machine.axis_z
    i, j, k = box_of(machine, n)
    used = axis_links(i, x) + axis_links(j, y) + axis_links(k, z)
    return used / links_of_axes(machine), _axis_hops(i, x) + _axis_hops(j, y) + _axis_hops(k, z)


@kernel
def _axis_load(extent, whole):
    return 0.25 * extent / max(1, axis_links(extent, whole)) if extent > 1 else 0.0


@kernel
def torus_exchange_share(machine, n):
    """Share of its links' rate at which an accelerator can send to all of n alike: the busiest axis decides.

    A message to any place of the box, the own one included, crosses a quarter of each axis on the mean; what is sent
    goes to the others alone, which are farther.
    """
    i, j, k = box_of(machine, n)
    places = i * j * k
    load = max(_axis_load(i, machine.axis_x), _axis_load(j, machine.axis_y))
    load = max(load, _axis_load(k, machine.axis_z))
    return (places - 1) / (places * load * links_of_axes(machine)) if load > 0.0 else 1.0
