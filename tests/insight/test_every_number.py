"""Every number of the sheets has its elasticity: each is changed by itself, as anybody would, and none is missed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
import xarray as xr

import roofline as rl
from roofline.insight.sensitivity import sensitivity
from roofline.specs import System

Plain = dict[str, Any]

STEP = 1e-3
COUNTS = ("year", "accelerators", "max_systems", "domain", "axes", "experts_tile_rows")
"""What one cannot have a thousandth more of."""
CURVE = "system.power.psu."
"""Points of the supplies' curve, which `sensitivity` moves together."""
FIGURES = ("tokens_per_mwh", "tokens_per_s_per_gpu", "power", "joules_per_token")


def numbers(node: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], float]]:
    """Numbers of a sheet and of all that it refers to, points of curves one by one; counts are left out."""
    if isinstance(node, dict):
        for name, value in node.items():
            if name not in COUNTS:
                yield from numbers(value, (*path, str(name)))
    elif isinstance(node, list | tuple):
        for place, value in enumerate(node):
            yield from numbers(value, (*path, str(place)))
    elif isinstance(node, int | float) and not isinstance(node, bool) and node:
        yield path, float(node)


def named(path: tuple[str, ...]) -> str:
    """The name that `sensitivity` gives it."""
    if path[:2] == ("accelerator", "efficiency"):
        return ".".join(path[1:])
    return ".".join(path if path[0] in ("accelerator", "facility") else ("system", *path))


def changed(system: System, path: tuple[str, ...], value: float) -> System:
    """The system with one number replaced; a rule may not let another follow it."""
    field, new = path, value
    if path[-1].isdigit():  # a point of a curve
        field = path[:-1]
        held: Any = system
        for name in field:
            held = getattr(held, name)
        new = tuple(value if place == int(path[-1]) else point for place, point in enumerate(held))  # type: ignore[assignment]
    changes: Plain = {"__".join(field): new}
    if path == ("accelerator", "power", "tdp_w"):
        changes["accelerator__power__idle_w"] = system.accelerator.power.idle_w
    return system.replace(**changes)


CELLS: dict[str, tuple[str, str, str, str, Plain, Plain]] = {
    "dense": ("decode", "llama-3.1-70b", "dgx-h100", "fp8", {"tp": 8, "batch": 64, "context": 4096}, {}),
    "experts over NICs": (
        "decode", "deepseek-v3", "dgx-h200", "fp8-block", {"dp": 16, "ep": 16, "batch": 512, "context": 2048}, {},
    ),
    "pipeline of a rack": (
        "decode", "gpt-oss-120b", "gb300-nvl72", "mxfp4", {"tp": 4, "pp": 2, "batch": 32, "context": 8192}, {},
    ),
    "linear attention": (
        "decode", "qwen3-next-80b", "dgx-b200", "bf16", {"tp": 4, "batch": 16, "context": 30_000}, {},
    ),
    "prompts, nameplate": (
        "prefill", "llama-3.1-70b", "mi355x-8", "fp8", {"tp": 4, "batch": 1, "isl": 4000}, {"basis": "provisioned"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CELLS)
def test_no_number_that_moves_an_answer_is_without_its_elasticity(name: str) -> None:
    """All numbers of the dumped sheets, one by one, through the public functions; the curve's points add up to it."""
    of, model, label, recipe, options, where = CELLS[name]
    evaluate = {"decode": rl.decode, "prefill": rl.prefill}[of]
    system = System.load(label)

    def logs(box: System) -> np.ndarray:
        ds: xr.Dataset = rl.rollup(evaluate(model, box, recipe, **options), **where).squeeze()  # type: ignore[operator]
        return np.log([float(ds[figure]) for figure in FIGURES])

    base = logs(system)

    def slopes_of(path: tuple[str, ...], value: float, moves: bool) -> tuple[np.ndarray, bool]:
        """Slopes by what a number allows, and whether it allows both; one difference tells what moves nothing."""
        found: list[np.ndarray] = []
        for sign in (1, -1):
            with suppress(rl.InputError):  # a share of 1 cannot be more, a skew of 1 cannot be less
                found.append(sign * (logs(changed(system, path, value * (1 + STEP) ** sign)) - base) / np.log1p(STEP))
            if found and not moves and np.abs(found[0]).max() == 0.0:
                return found[0], True
        assert found, path
        return np.mean(found, axis=0), len(found) == 2

    ds = sensitivity(model, system, recipe, of=of, **options, **where)
    known = {
        str(path): ds["elasticity"].sel(parameter=path, figure=list(FIGURES)).values for path in ds["parameter"].values
    }
    listed = list(numbers(system.model_dump()))
    assert len(listed) > 60
    curve = np.zeros(len(FIGURES))
    seen, moving = set(), 0
    for path, value in listed:
        label = named(path)
        slopes, able = slopes_of(path, value, np.abs(known.get(label, np.ones(1))).max() > 0.0)
        moving += int(np.abs(slopes).max() > 1e-9)
        if label.startswith(CURVE + "efficiency"):
            curve += slopes
            continue
        if label.startswith(CURVE + "load"):
            continue
        assert label in known or np.abs(slopes).max() < 1e-9, label
        seen.add(label)
        loose = 1.0 if able else 3.0  # a number at the end of what it can be has the slope to its one side
        np.testing.assert_allclose(known.get(label, 0.0 * slopes), slopes, rtol=2e-3 * loose, atol=2e-5, err_msg=label)
    np.testing.assert_allclose(known[CURVE + "efficiency"], curve, rtol=2e-3, atol=2e-5)
    assert set(known) - seen <= {CURVE + "efficiency"}  # and none is made up
    assert moving >= (8 if where else 15)
