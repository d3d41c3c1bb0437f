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
    out = system.accelerator.scale_out_bytes_per_s
    assert (system.scale_out.bytes_per_s if system.scale_out else None) == out
    assert system.max_systems == (max(1, 128 // system.accelerators) if out else 1)
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


def facts(folder: Path, *lines: str) -> System:
    """The system of `one` with further lines in its sheet, where no system sheet tells."""
    (folder / "systems" / "box.yaml").unlink(missing_ok=True)
    path = folder / "accelerators" / "one.yaml"
    path.write_text("".join(f"{line}\n" for line in lines) + path.read_text())
    return System.load("one", folders=[folder])


def test_one_file_tells_its_network(folder: Path) -> None:
    torus = facts(
        folder,
        "scale_up_domain: 64",
        "scale_up_topology: torus",
        "scale_up_axes: [4, 16]",
        "scale_out_bytes_per_s: 5e10",
    )
    assert (torus.id, torus.kind, torus.accelerators) == ("one-x64", "rack", 64)
    assert (torus.scale_up.topology, torus.scale_up.axes) == ("torus", (4, 16))
    assert torus.scale_out is not None
    assert (torus.scale_out.bytes_per_s, torus.max_systems) == (5e10, 2)
    assert torus.source_of("scale_out.bytes_per_s").grade == "estimated"  # type: ignore[union-attr]
    assert list(cross_check(torus, [], None)) == []


def test_a_large_domain_is_a_pod_and_spans_nothing_further(folder: Path) -> None:
    pod = facts(folder, "scale_up_domain: 8960", "scale_out_bytes_per_s: 5e10")
    assert (pod.kind, pod.max_systems, pod.scale_up.topology) == ("pod", 1, "switched")


def test_what_the_part_says_of_its_network_wins_over_a_system(folder: Path) -> None:
    box = System.load("box", folders=[folder])
    one = Accelerator.load("one", folders=[folder])
    pair = System.load(one.replace(scale_up_domain=2, scale_up_topology="full_mesh"), folders=[folder])
    assert (pair.accelerators, pair.scale_up.topology, pair.scale_up.in_switch_reduction) == (2, "full_mesh", False)
    assert pair.scale_up.hop_s == box.scale_up.hop_s
    assert pair.power.host_w == pytest.approx(box.power.host_w / 4)


def test_of_two_systems_the_larger_domain_tells(folder: Path) -> None:
    text = (folder / "systems" / "box.yaml").read_text()
    (folder / "systems" / "all.yaml").write_text(text.replace("{domain: 8", "{domain: 4"))
    assert System.load("one", folders=[folder]).accelerators == 8


def test_an_undisclosed_tdp_leaves_watts_undisclosed(folder: Path) -> None:
    path = folder / "accelerators" / "one.yaml"
    text = path.read_text().replace("power: {tdp_w: 500}", "power: {}")
    path.write_text("".join(line for line in text.splitlines(keepends=True) if "power.tdp_w" not in line))
    built = System.load("one", folders=[folder])
    assert built.power_unknown == "undisclosed: TDP of one"
    (folder / "systems" / "box.yaml").unlink()
    alone = System.load("one", folders=[folder])
    assert (alone.power.psu, alone.power.max_w, alone.power.host_w) == (None, None, 1352.0)
    assert alone.power_unknown == "undisclosed: TDP of one; power supplies, maximum watts of one-x8"


DOMAINS = {
    "switched": {
        "h100-nvl": 2, "h100-pcie": 2, "l4": 1, "l40s": 8, "rtx-pro-6000": 8, "gh200-96": 1, "gh200-144": 1, "h20": 8,
        "b100": 8, "trn3": 64, "mi455x": 72, "rubin-vr200-max-p": 72, "rubin-cpx": 1, "groq-lpu-v1": 1,
        "groq3-lp30": 256,
    },
    "full_mesh": {"gaudi2": 8, "gaudi3": 8, "mi350x": 8},
    "torus": {"tpu-v5e": 256, "tpu-v6e": 256, "tpu-v5p": 8960, "tpu7x": 9216, "trn2": 16},
}  # fmt: skip


@pytest.mark.parametrize("topology", DOMAINS)
def test_domains_of_parts(topology: str) -> None:
    for name, domain in DOMAINS[topology].items():
        system = System.load(name)
        found = (system.accelerators, system.scale_up.domain, system.scale_up.topology)
        assert found == (domain, domain, topology), name
