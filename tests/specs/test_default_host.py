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


def test_all_but_the_scale_out_is_that_of_a_system_built_of_it(folder: Path) -> None:
    one = System.load("one", folders=[folder])
    box = System.load("box", folders=[folder])
    assert (one.scale_up, one.power, one.cooling, one.facility) == (box.scale_up, box.power, box.cooling, box.facility)
    assert one.id == "one-x8"
    assert System.load("acme-1", folders=[folder]) == one
    assert System.load(Accelerator.load("one", folders=[folder]), folders=[folder]) == one


def test_a_smaller_domain_has_its_share_of_the_watts(folder: Path) -> None:
    path = folder / "systems" / "box.yaml"
    path.write_text(path.read_text().replace("{domain: 8", "{domain: 2"))
    two = System.load("one", folders=[folder])
    assert (two.id, two.accelerators) == ("one-x2", 2)
    assert two.power.host_dc_w == {"cpu": 700 / 4, "fans": 600 / 4}
    assert (two.power.psu.rated_w, two.power.max_w) == (12000 / 4, 6500 / 4)
    assert two.power.provisioned_w_per_accelerator == {"2026": 1100}


@pytest.mark.parametrize("part", ["mi300x", "mi355x", "h100-sxm", "gb300", "rubin-vr200"])
def test_built_in_parts_take_the_power_and_cooling_of_their_system(part: str) -> None:
    stems = [stem for stem in list_specs("system") if System.load(stem).accelerator.id == part]
    alone, whole = System.load(part), System.load(stems[0])
    assert (alone.power, alone.cooling, alone.facility) == (whole.power, whole.cooling, whole.facility)


def test_mi355x_is_cooled_by_air_as_in_its_box() -> None:
    assert System.load("mi355x").cooling == System.load("mi355x-8").cooling == "air"


def test_without_a_system_sheet_it_is_eight(folder: Path) -> None:
    (folder / "systems" / "box.yaml").unlink()
    one = System.load("one", folders=[folder])
    assert one.scale_up.domain == 8
    assert one.power.host_w == 1352.0


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


def test_hot_accelerators_are_cooled_by_liquid_where_no_system_tells(folder: Path) -> None:
    one = Accelerator.load("one", folders=[folder])
    hot = one.replace(power__tdp_w=1400)
    assert System.load(hot, folders=[folder]).cooling == "air"
    (folder / "systems" / "box.yaml").unlink()
    assert System.load(one, folders=[folder]).cooling == "air"
    assert System.load(hot, folders=[folder]).facility.cooling == "liquid"


def test_a_hotter_copy_is_rated_for_its_watts(folder: Path) -> None:
    hot = Accelerator.load("one", folders=[folder]).replace(power__tdp_w=1400)
    system = System.load(hot, folders=[folder])
    assert list(cross_check(system, [], None)) == []
    assert system.power.max_w == pytest.approx(6500 + 8 * (1400 - 500) / 0.956)
