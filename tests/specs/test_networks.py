"""Networks and undisclosed watts in sheets, and what reaches a record of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from roofline.errors import InputError
from roofline.layout import Topology
from roofline.specs import Accelerator, System
from roofline.specs.check import check
from roofline.specs.pack import pack_machine

Edit = Callable[..., Path]
AXES = ("axis_x", "axis_y", "axis_z")


@pytest.mark.parametrize(
    ("axes", "packed"), [("[8]", (8, 1, 1)), ("[2, 4]", (4, 2, 1)), ("[2, 1, 4]", (4, 2, 1)), ("[2, 2, 2]", (2, 2, 2))]
)
def test_axes_of_a_torus_are_packed_largest_first(
    folder: Path, edit: Edit, axes: str, packed: tuple[int, int, int]
) -> None:
    edit("systems/box", "topology: switched", f"topology: torus, axes: {axes}")
    edit("systems/box", "in_switch_reduction: true", "in_switch_reduction: false")
    for fidelity in ("ideal", "kernel"):
        machine = pack_machine(System.load("box", folders=[folder]), fidelity)  # type: ignore[arg-type]
        assert tuple(machine[name] for name in AXES) == packed
        assert machine["mesh"] == Topology.TORUS
    assert check(folder) == []


def test_other_networks_have_axes_of_one(folder: Path) -> None:
    for name in ("dgx-h100", "mi300x-8"):
        machine = pack_machine(System.load(name), "kernel")
        assert tuple(machine[axis] for axis in AXES) == (1, 1, 1)


@pytest.mark.parametrize(
    ("topology", "message"),
    [
        ("torus", "topology torus needs axes: one to 3 extents"),
        ("torus, axes: [4, 4]", "axes make 4 x 4 = 16, and domain is 8"),
        ("torus, axes: [2, 2, 2, 1]", "one to 3 extents"),
        ("switched, axes: [8]", "axes are those of a torus, and topology is switched"),
        ("torus, axes: [8, 0]", "from 1|of at least 1"),
    ],
)
def test_axes_that_do_not_make_the_domain(folder: Path, edit: Edit, topology: str, message: str) -> None:
    edit("systems/box", "topology: switched", f"topology: {topology}")
    with pytest.raises(InputError, match=message):
        System.load("box", folders=[folder])


def test_axes_of_an_accelerator_are_checked_too(folder: Path) -> None:
    one = Accelerator.load("one", folders=[folder])
    with pytest.raises(InputError, match="scale_up_axes make 2 x 4 = 8, and scale_up_domain is None"):
        one.replace(scale_up_topology="torus", scale_up_axes=(2, 4))
    with pytest.raises(InputError, match="scale_up_axes are those of a torus"):
        one.replace(scale_up_axes=(2, 4))


def test_undisclosed_watts_are_nan_in_a_record_and_time_is_not() -> None:
    machine = pack_machine(System.load("groq3-lpx"), "kernel")
    assert np.isnan(machine["tdp_w"])
    assert np.isnan(machine["idle_w"])
    rest = [name for name in machine.dtype.names if name not in ("tdp_w", "idle_w")]
    assert all(np.isfinite(machine[name]) for name in rest)


def test_undisclosed_is_left_out_and_stays_out(folder: Path, edit: Edit) -> None:
    """Neither a dump nor a copy turns what is left out into a number or into null, which is refused."""
    part, system = Accelerator.load("groq3-lp30"), System.load("groq3-lpx")
    assert (part.power.tdp_w, part.power.idle_w) == (None, None)
    assert "tdp_w" not in part.model_dump()["power"]
    assert "max_w" not in system.model_dump(mode="json")["power"]
    assert Accelerator.load(part.model_dump()) == part
    assert part.replace(year=2027).power == part.power
    assert part.replace(power__tdp_w=600).power.idle_w == pytest.approx(0.107 * 600)
    known = system.replace(accelerator__power__tdp_w=600, power={"host_dc_w": {"all": 9e3}, "max_w": 2e5})
    assert known.power_unknown == "undisclosed: power supplies of groq3-lpx"
    path = edit("systems/box", "max_w: 6500", "max_w:")
    with pytest.raises(InputError, match=r"max_w = None: not a number"):
        System.load(path)


def test_what_is_undisclosed_is_said() -> None:
    assert System.load("dgx-h100").power_unknown == ""
    kyber = System.load("rubin-ultra-kyber").power_unknown
    assert kyber == "undisclosed: TDP of rubin-ultra; host watts, power supplies of rubin-ultra-kyber"
