"""Doubts that single fields cannot raise: numbers of a sheet, or of two sheets, that do not fit together."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import combinations

from roofline.specs.efficiency import Efficiency
from roofline.specs.findings import Finding, nearest, shown
from roofline.specs.formats import FORMATS, MathType
from roofline.specs.hardware import Accelerator, System
from roofline.specs.load import list_specs
from roofline.specs.model import Model
from roofline.specs.recipe import PART_NAMES, Recipe
from roofline.specs.records import Folders, Sheet
from roofline.specs.shipped import doubled

GIB_OVER_GB = 2**30 / 1e9
_HALVING: tuple[tuple[MathType, MathType], ...] = (
    ("tf32", "bf16"),
    ("tf32", "fp16"),
    ("bf16", "fp8"),
    ("bf16", "int8"),
    ("fp8", "fp4"),
)
"""Pairs of math types where the second has half the bits, so about twice the dense rate."""

_TURNOVER: dict[str, tuple[float, float]] = {
    "HBM2": (25.0, 80.0),  # a stack of 4 to 8 GB at 205 to 320 GB/s
    "HBM2e": (17.0, 58.0),  # 8 to 24 GB, 410 to 461
    "HBM3": (20.0, 52.0),  # 16 to 24 GB, 500 to 819
    "HBM3e": (20.0, 54.0),  # 24 to 36 GB, 750 to 1280
    "HBM4": (25.0, 95.0),  # 36 to 64 GB, 1600 to 3400
    "HBM4e": (25.0, 110.0),  # 48 to 64 GB, 1600 to 4000 and more
    "GDDR6": (9.0, 45.0),  # a chip of 1 to 2 GB at 56 to 84 GB/s; two chips on one bus halve it
    "GDDR7": (10.0, 75.0),  # 2 to 3 GB, 96 to 144
    "SRAM": (1e4, 5e6),
}
"""Bandwidth over capacity [1/s] by kind of memory: how often a second all of it can be read, whatever the stacks."""

_NARROW_MATRIX_MEMORY = "SRAM"  # dataflow parts: 8-bit matrix units that take wider operands in several passes
_SWITCHED_VENDORS = {"nvidia", "amd", "intel"}
_FASTEST_CARDS = 3.5e11  # B/s: three cards of 800 Gb/s for one accelerator
_RATE_SLIPS = {"twice what is meant": 0.5, "half of what is meant": 2.0, "Gbit/s written as GB/s": 0.125}
_LABEL = re.compile(r"(\d+(?:\.\d+)?)\s*(GB|GiB)\b")


def near(a: float, b: float, tolerance: float = 0.03) -> bool:
    """Whether two positive numbers agree within a share."""
    return abs(a - b) <= tolerance * b


def cross_check(sheet: Sheet, others: Sequence[Accelerator], folders: Folders) -> Iterator[Finding]:
    """Findings of a valid sheet. `others` are accelerators to compare an accelerator with."""
    match sheet:
        case Accelerator():
            found = [*_peaks(sheet), *_memory(sheet), *_scale_up(sheet), *_siblings(sheet, others)]
            yield from found
            told = {item.field for item in found}
            yield from (item for item in doubled(sheet) if item.field not in told)
        case System():
            yield from _system_power(sheet)
            yield from _networks(sheet)
        case Efficiency():
            yield from _known(sheet.accelerators, "accelerators", "accelerator", folders)
        case Model():
            yield from _parameters(sheet)
            yield from _known(sheet.recipes, "recipes", "recipe", folders)
        case Recipe():
            yield from _operands(sheet)
        case _:
            pass


def _doubt(field: str, value: float | str, problem: str, hint: str = "") -> Finding:
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return Finding(problem, field, text, hint, severity="warning")


def _peaks(sheet: Accelerator) -> Iterator[Finding]:
    peak = sheet.dense_flop_per_s
    for wide, narrow in _HALVING:
        fourfold = wide in peak and narrow in peak and near(peak[narrow], 4 * peak[wide])
        if fourfold and sheet.memory.kind != _NARROW_MATRIX_MEMORY:
            yield _doubt(
                f"dense_flop_per_s.{narrow}",
                peak[narrow],
                f"4x {wide}, where dense arithmetic usually gives 2x: looks like the sparse figure",
                f"dense would be {2 * peak[wide]:g}",
            )
        if wide in peak and narrow in peak and narrow != "int8" and peak[narrow] < 0.97 * peak[wide]:
            yield _doubt(f"dense_flop_per_s.{narrow}", peak[narrow], f"slower than the wider {wide}")
    pairs: tuple[tuple[MathType, MathType], ...] = (("bf16", "fp16"), ("fp8", "int8"))
    for a, b in pairs:
        for one, other in ((a, b), (b, a)):
            if one in peak and other in peak and near(peak[one], 2 * peak[other]):
                yield _doubt(
                    f"dense_flop_per_s.{one}",
                    peak[one],
                    f"2x {other}, which has as many bits: looks like the sparse figure",
                    f"dense would be {peak[other]:g}",
                )


def _memory(sheet: Accelerator) -> Iterator[Finding]:
    low, high = _TURNOVER.get(sheet.memory.kind, (0.0, math.inf))
    times = sheet.memory.bytes_per_s / sheet.memory.bytes
    if not low <= times <= high:
        slips = [name for name, factor in _RATE_SLIPS.items() if low <= times * factor <= high]
        problem = f"reads all of memory {times:.3g} times a second, where {sheet.memory.kind} does {low:g} to {high:g}"
        hint = f"{' or '.join(slips)}?" if slips else "bytes or bytes_per_s of another part, or another kind of memory?"
        yield _doubt("memory.bytes_per_s", sheet.memory.bytes_per_s, problem, hint)
    label = _LABEL.search(sheet.name)
    if not label:
        return
    stated, size = float(label[1]), sheet.memory.bytes
    if label[2] == "GiB" and near(size, stated * 1e9, 0.001):
        yield _doubt("memory.bytes", size, f"the name says {label[0]}, this is GB", f"{stated * 2**30:.0f}?")
    elif not 0.9 * stated * 1e9 <= size <= 1.01 * stated * 2**30:
        yield _doubt("memory.bytes", size, f"far from the {label[0]} of the name", "GB against GiB, or another part?")


def _scale_up(sheet: Accelerator) -> Iterator[Finding]:
    rate = sheet.scale_up_bytes_per_s
    if rate and sheet.vendor.lower() in _SWITCHED_VENDORS and rate > 0.2 * sheet.memory.bytes_per_s:
        yield _doubt(
            "scale_up_bytes_per_s",
            rate,
            f"{rate / sheet.memory.bytes_per_s:.2f} of memory bandwidth: looks like the bidirectional figure",
            f"one direction would be {rate / 2:g}",
        )


def _siblings(sheet: Accelerator, others: Sequence[Accelerator]) -> Iterator[Finding]:
    """Compare with a known part of equal memory bandwidth: a factor of exactly 2 or 1.07 is a slip."""
    for other in others:
        if other.id == sheet.id or other.vendor.lower() != sheet.vendor.lower():
            continue
        if not near(sheet.memory.bytes_per_s, other.memory.bytes_per_s, 0.02):
            continue
        own, known = sheet.power.tdp_w, other.power.tdp_w
        if own is None or known is None or not near(own, known, 0.05):
            continue
        shared = [kind for kind in sheet.dense_flop_per_s if kind in other.dense_flop_per_s]
        ratios = {kind: sheet.dense_flop_per_s[kind] / other.dense_flop_per_s[kind] for kind in shared}
        like = f"looks like {other.id}"
        doubled = [kind for kind in shared if near(ratios[kind], 2.0, 0.01)]
        if not doubled and not any(near(ratio, 1.0, 0.01) for ratio in ratios.values()):
            continue
        for kind in doubled:
            hint = f"{other.dense_flop_per_s[kind]:g} is dense"
            value = sheet.dense_flop_per_s[kind]
            yield _doubt(f"dense_flop_per_s.{kind}", value, f"{like}, at 2x its rate: the sparse figure", hint)
        mine, theirs = sheet.scale_up_bytes_per_s, other.scale_up_bytes_per_s
        if mine and theirs and near(mine, 2 * theirs, 0.01):
            hint = f"{theirs:g} is one direction"
            yield _doubt("scale_up_bytes_per_s", mine, f"{like}, at 2x its rate: the bidirectional figure", hint)
        ratio = other.memory.bytes / sheet.memory.bytes
        if near(ratio, GIB_OVER_GB, 0.002) or near(1 / ratio, GIB_OVER_GB, 0.002):
            hint = f"{other.memory.bytes:.0f}?"
            yield _doubt("memory.bytes", sheet.memory.bytes, f"{like}, but for GB against GiB", hint)
        return


def _system_power(sheet: System) -> Iterator[Finding]:
    power, tdp_w = sheet.power, sheet.accelerator.power.tdp_w
    if tdp_w is not None:
        yield from _rated(sheet, tdp_w)
    if power.max_w is not None:
        each_w = power.max_w / sheet.accelerators
        for vintage, watts in power.provisioned_w_per_accelerator.items():
            if watts > 3 * each_w:
                field = f"power.provisioned_w_per_accelerator.{vintage}"
                problem = f"more than three times max_w / accelerators = {each_w:g} W"
                yield _doubt(field, watts, problem, "per accelerator, not per system; in W")
    if sheet.cooling != sheet.facility.cooling:
        problem = f"facility {sheet.facility.id} is for {sheet.facility.cooling} cooling"
        yield _doubt("cooling", sheet.cooling, problem)


def _rated(sheet: System, tdp_w: float) -> Iterator[Finding]:
    """Ratings that do not cover the accelerators at TDP and what stands around them."""
    power, accelerators_w = sheet.power, sheet.accelerators * tdp_w
    dc_w = accelerators_w + sum(power.host_dc_w.values())
    if power.max_w is not None and power.max_w < accelerators_w:
        yield Finding(
            f"less than its accelerators alone draw, {sheet.accelerators} x {tdp_w:g} W",
            "power.max_w",
            f"{power.max_w:g}",
            "did you write kW, or the TDP of one?",
        )
    elif power.max_w is not None and power.max_w < dc_w:
        problem = f"less than the {dc_w:g} W of accelerators at TDP and host_dc_w"
        yield _doubt("power.max_w", power.max_w, problem, "TDP, host_dc_w or max_w of another configuration?")
    if power.psu is not None and power.psu.rated_w < dc_w:
        problem = f"less than the {dc_w:g} W of accelerators at TDP and host_dc_w"
        yield _doubt("power.psu.rated_w", power.psu.rated_w, problem, "the sum of all supplies is meant")
    for vintage, watts in power.provisioned_w_per_accelerator.items():
        if watts < tdp_w:
            field = f"power.provisioned_w_per_accelerator.{vintage}"
            yield _doubt(field, watts, f"below the accelerator's TDP of {tdp_w:g} W")


def _networks(sheet: System) -> Iterator[Finding]:
    own, usual = sheet.scale_up.bytes_per_s, sheet.accelerator.scale_up_bytes_per_s
    if own and usual and near(own, 2 * usual, 0.01):
        problem = "2x the accelerator's own rate: looks like the bidirectional figure"
        yield _doubt("scale_up.bytes_per_s", own, problem, f"one direction would be {usual:g}")
    if sheet.scale_out and sheet.scale_out.bytes_per_s > _FASTEST_CARDS:
        rate = sheet.scale_out.bytes_per_s
        hint = f"did you write Gbit/s? then {rate / 8:g}"
        yield _doubt("scale_out.bytes_per_s", rate, "more than any network card of one accelerator", hint)
    reach = sheet.accelerators * sheet.max_systems
    if reach % sheet.scale_up.domain:
        yield _doubt("scale_up.domain", str(sheet.scale_up.domain), f"does not divide {reach} accelerators")


def _parameters(sheet: Model) -> Iterator[Finding]:
    if sheet.parameters is None:
        return
    total, active = sheet.parameters.total, sheet.parameters.active
    if not near(sheet.total_params, total, 0.02):
        hint = "a layer count, a width or tied_embeddings is wrong, or the published count has more than the text model"
        yield Finding(f"the layers make {sheet.total_params:.4g}", "parameters.total", f"{total:g}", hint)
    counts = (sheet.active_params, sheet.matmul_active_params)
    if active and not any(near(count, active, 0.06) for count in counts):
        problem = f"the layers make {counts[0]:.4g} with and {counts[1]:.4g} without embedding"
        yield Finding(problem, "parameters.active", f"{active:g}", "top_k, inner or shared_inner is wrong?")


def _operands(sheet: Recipe) -> Iterator[Finding]:
    for part in PART_NAMES:
        formats = getattr(sheet.parts, part)
        one, other = FORMATS[formats.weights], FORMATS[formats.activations]
        if one.bits == other.bits and one.math != other.math:
            problem = "no arithmetic takes these two formats"
            yield Finding(problem, f"parts.{part}", f"{formats.weights} x {formats.activations}")


def _known(given: Sequence[str], field: str, kind: str, folders: Folders) -> Iterator[Finding]:
    known = list_specs(kind, folders=folders)
    for index, name in enumerate(given):
        if name not in known:
            yield Finding(f"no {kind} of this id", f"{field}.{index}", shown(name), nearest(name, known))


def same_names(sheets: Sequence[tuple[str, str, Sequence[str]]]) -> Iterator[Finding]:
    """Sheets of one kind in one folder that answer to the same name. `sheets`: (file, stem, aliases)."""
    for (file, stem, aliases), (other, other_stem, other_aliases) in combinations(sheets, 2):
        mine = {name.lower() for name in (stem, *aliases)}
        for name in sorted(mine & {name.lower() for name in (other_stem, *other_aliases)}):
            yield replace(Finding(f"{other} answers to this name too", "aliases", name), file=file, line=1)
