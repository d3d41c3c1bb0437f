"""An accelerator's name where a system is wanted."""

from __future__ import annotations

from pathlib import Path

import pytest

from roofline.specs import Accelerator, System, list_specs
from roofline.specs.crosschecks import cross_check


@pytest.mark.parametrize("name", list_specs("accelerator"))
def test_every_accelerator_stands_for_a_sound_system(name: str) -> None:
    if name in list_specs("system"):
        assert System.load(name).id == name
        return
    system = System.load(name)
    assert system.accelerator == Accelerator.load(name)
    assert system.accelerators == system.scale_up.domain
    assert system.scale_out is None
    assert "estimated" in system.name
    assert {source.grade for source in system.sources.values()} == {"estimated"}
    assert list(cross_check(system, [], None)) == []


def test_the_network_is_that_of_a_system_built_of_it(folder: Path) -> None:
    one = System.load("one", folders=[folder])
    box = System.load("box", folders=[folder])
    assert one.scale_up == box.scale_up
    assert one.id == "one-x8"
    assert one.power.host_w == 1352.0
    assert System.load("acme-1", folders=[folder]) == one
    assert System.load(Accelerator.load("one", folders=[folder]), folders=[folder]) == one


def test_without_a_system_sheet_it_is_eight(folder: Path) -> None:
    (folder / "systems" / "box.yaml").unlink()
    assert System.load("one", folders=[folder]).scale_up.domain == 8


def test_a_broken_system_sheet_is_passed_over(folder: Path) -> None:
    path = folder / "systems" / "box.yaml"
    path.write_text(path.read_text().replace("{domain: 8", "{domain: 4").replace("cooling: air", "cooling: sea"))
    assert System.load("one", folders=[folder]).scale_up.domain == 8


def test_without_a_link_it_is_one(folder: Path) -> None:
    path = folder / "accelerators" / "one.yaml"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if "scale_up" not in line))
    system = System.load("one", folders=[folder])
    assert (system.accelerators, system.scale_up.domain, system.scale_up_bytes_per_s) == (1, 1, 0.0)


def test_hot_accelerators_are_cooled_by_liquid(folder: Path) -> None:
    one = Accelerator.load("one", folders=[folder])
    assert System.load(one, folders=[folder]).cooling == "air"
    assert System.load(one.replace(power__tdp_w=1400), folders=[folder]).facility.cooling == "liquid"
