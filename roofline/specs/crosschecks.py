"""Doubts that single fields cannot raise: numbers of a sheet, or of two sheets, that do not fit together."""

from __future__ import annotations

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

_SWITCHED_VENDORS = {"nvidia", "amd", "intel"}
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
        if wide in peak and narrow in peak and near(peak[narrow], 4 * peak[wide]):
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
        if not near(sheet.power.tdp_w, other.power.tdp_w, 0.05):
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
        mine, known = sheet.scale_up_bytes_per_s, other.scale_up_bytes_per_s
        if mine and known and near(mine, 2 * known, 0.01):
            hint = f"{known:g} is one direction"
            yield _doubt("scale_up_bytes_per_s", mine, f"{like}, at 2x its rate: the bidirectional figure", hint)
        ratio = other.memory.bytes / sheet.memory.bytes
        if near(ratio, GIB_OVER_GB, 0.002) or near(1 / ratio, GIB_OVER_GB, 0.002):
            hint = f"{other.memory.bytes:.0f}?"
            yield _doubt("memory.bytes", sheet.memory.bytes, f"{like}, but for GB against GiB", hint)
        return


def _system_power(sheet: System) -> Iterator[Finding]:
    accelerators_w = sheet.accelerators * sheet.accelerator.power.tdp_w
    if sheet.power.max_w < accelerators_w:
        yield Finding(
            f"less than its accelerators alone draw, {sheet.accelerators} x {sheet.accelerator.power.tdp_w:g} W",
            "power.max_w",
            f"{sheet.power.max_w:g}",
            "did you write kW, or the TDP of one?",
        )
    dc_w = accelerators_w + sheet.power.host_w
    if sheet.power.psu.rated_w < dc_w:
        problem = f"less than the {dc_w:g} W of accelerators at TDP and host_dc_w"
        yield _doubt("power.psu.rated_w", sheet.power.psu.rated_w, problem, "the sum of all supplies is meant")
    for vintage, watts in sheet.power.provisioned_w_per_accelerator.items():
        if watts < sheet.accelerator.power.tdp_w:
            field = f"power.provisioned_w_per_accelerator.{vintage}"
            yield _doubt(field, watts, f"below the accelerator's TDP of {sheet.accelerator.power.tdp_w:g} W")
    if sheet.cooling != sheet.facility.cooling:
        problem = f"facility {sheet.facility.id} is for {sheet.facility.cooling} cooling"
        yield _doubt("cooling", sheet.cooling, problem)


def _networks(sheet: System) -> Iterator[Finding]:
    own, usual = sheet.scale_up.bytes_per_s, sheet.accelerator.scale_up_bytes_per_s
    if own and usual and near(own, 2 * usual, 0.01):
        problem = "2x the accelerator's own rate: looks like the bidirectional figure"
        yield _doubt("scale_up.bytes_per_s", own, problem, f"one direction would be {usual:g}")
    if sheet.scale_out and sheet.scale_out.bytes_per_s > 2.5e11:
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
