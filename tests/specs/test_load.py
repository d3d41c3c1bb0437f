"""Names, aliases, paths, mappings, user folders, references, caching."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from roofline import provenance
from roofline.errors import InputError
from roofline.specs import Accelerator, Efficiency, Facility, Model, Recipe, System, folders, list_specs, load
from roofline.specs.folders import KINDS
from roofline.specs.hardware import DRAW_A, DRAW_B


@pytest.mark.parametrize("kind", KINDS)
def test_every_built_in_sheet_loads_by_its_name(kind: folders.Kind) -> None:
    names = list_specs(kind)
    assert names
    assert names == sorted(names)
    for name in names:
        sheet = load.CLASSES[kind].load(name)
        assert sheet.id == name
        assert sheet.digests[f"{kind}/{name}"] == sheet.digest


def test_plural_kinds_are_understood_and_others_refused() -> None:
    assert list_specs("facilities") == list_specs("facility")
    with pytest.raises(InputError, match="did you mean recipe"):
        list_specs("recipies")


def test_name_alias_path_and_mapping_give_the_same_sheet(folder: Path) -> None:
    by_name = Accelerator.load("one", folders=[folder])
    assert Accelerator.load("ACME-1", folders=[folder]) is by_name
    assert Accelerator.load("acme first", folders=folder) is by_name
    by_path = Accelerator.load(folder / "accelerators" / "one.yaml")
    assert by_path == by_name
    assert Accelerator.load(str(folder / "accelerators" / "one.yaml")) == by_path
    assert Accelerator.load(by_name) is by_name
    mapping = by_name.model_dump()
    assert Accelerator.load(mapping) == by_name
    assert hash(Accelerator.load(mapping)) == hash(by_name)


def test_aliases_written_as_a_block(folder: Path) -> None:
    path = folder / "accelerators" / "one.yaml"
    text = path.read_text().replace('aliases: [acme-1, "Acme First"]', "aliases:\n  - uno  # in Italian\n  - 'ein s'")
    path.write_text(text)
    assert Accelerator.load("uno", folders=[folder]).aliases == ("uno", "ein s")
    assert Accelerator.load("ein s", folders=[folder]).id == "one"
    with pytest.raises(InputError):
        Accelerator.load("italian", folders=[folder])


def test_references_are_resolved_in_the_users_folder_first(folder: Path) -> None:
    box = System.load("box", folders=[folder])
    assert box.accelerator.id == "one"
    assert box.accelerator.efficiency.name == "Acme efficiencies"
    assert box.facility == Facility.load("air")
    assert System.load(folder / "systems" / "box.yaml") == box  # finds the accelerator that lies beside it
    assert set(box.digests) == {"system/box", "accelerator/one", "efficiency/acme", "facility/air"}


def test_user_sheet_overrides_a_built_in_one(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = list_specs("accelerator")[0]
    (folder / "accelerators" / "one.yaml").rename(folder / "accelerators" / f"{name}.yaml")
    assert Accelerator.load(name).vendor != "Acme"
    assert Accelerator.load(name, folders=[folder]).vendor == "Acme"
    monkeypatch.setenv("ROOFLINE_SPECS", str(folder))
    assert Accelerator.load(name).vendor == "Acme"
    assert list_specs("accelerator").count(name) == 1


@pytest.mark.parametrize("alias", ["h100", "H100-SXM5"])
def test_an_alias_of_an_overridden_sheet_stands_for_the_users(folder: Path, alias: str) -> None:
    text = (folder / "accelerators" / "one.yaml").read_text().replace('aliases: [acme-1, "Acme First"]\n', "")
    path = folder / "accelerators" / "h100-sxm.yaml"
    path.write_text(text)
    assert folders.find("accelerator", alias, []) == folders.find("accelerator", "h100-sxm", [])
    assert folders.find("accelerator", alias, [folder]) == path
    assert Accelerator.load(alias, folders=[folder]).vendor == "Acme"
    assert System.load(alias, folders=[folder]).accelerator.vendor == "Acme"


def test_an_accelerators_path_or_mapping_stands_for_a_system_as_its_name_does(folder: Path) -> None:
    path = folder / "accelerators" / "one.yaml"
    by_name = System.load("one", folders=[folder])
    assert System.load(path) == by_name  # with the network of the system sheet next to it
    assert System.load(str(path)) == by_name
    mapping = Accelerator.load("one", folders=[folder]).model_dump()
    assert System.load(mapping, folders=[folder]) == by_name
    path.write_text(path.read_text().replace("tdp_w: 500", "tdp_w: -500"))
    with pytest.raises(InputError, match=r"one\.yaml:8: power\.tdp_w = -500") as caught:
        System.load(path)
    assert "\n" not in str(caught.value)


def test_folders_of_the_environment_are_searched_in_order(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = tmp_path_factory.mktemp("first")
    (first / "hardware_specs" / "accelerators").mkdir(parents=True)
    text = (folder / "accelerators" / "one.yaml").read_text().replace("vendor: Acme", "vendor: Other")
    (first / "hardware_specs" / "accelerators" / "one.yaml").write_text(text)
    monkeypatch.setenv("ROOFLINE_SPECS", os.pathsep.join([str(first), str(folder)]))
    assert Accelerator.load("one").vendor == "Other"
    assert Accelerator.load("acme-1").vendor == "Other"
    assert Accelerator.load("one").efficiency.id == "acme"


def test_missing_user_folder_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROOFLINE_SPECS", "/no/such/folder")
    with pytest.raises(InputError, match="ROOFLINE_SPECS: /no/such/folder is not a folder"):
        Recipe.load("bf16")


def test_a_sheet_is_parsed_once_until_its_file_changes(folder: Path) -> None:
    first = System.load("box", folders=[folder])
    assert System.load("box", folders=[folder]) is first
    path = folder / "accelerators" / "one.yaml"
    path.write_text(path.read_text().replace("tdp_w: 500", "tdp_w: 510.5"))
    second = System.load("box", folders=[folder])
    assert second.accelerator.power.tdp_w == 510.5
    assert second.digest == first.digest
    assert second.accelerator.digest != first.accelerator.digest


def test_loading_one_sheet_parses_only_what_it_refers_to(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[str] = []
    real = load.parse
    monkeypatch.setattr(load, "parse", lambda text: parsed.append(text.splitlines()[0]) or real(text))
    System.load("box", folders=[folder])
    Accelerator.load("acme-1", folders=[folder])
    needed = {"name: Acme box", "name: Acme One 80GB", "name: Acme efficiencies", f"name: {Facility.load('air').name}"}
    assert "name: Acme box" in parsed
    assert set(parsed) <= needed


def test_digest_is_that_of_the_file_until_the_sheet_is_changed(folder: Path) -> None:
    path = folder / "models" / "tiny.yaml"
    tiny = Model.load(path)
    assert tiny.digest == provenance.file_digest(path)
    changed = tiny.replace(hidden=2048)
    assert changed.digest != tiny.digest
    assert tiny.replace(hidden=2048).digest == changed.digest


def test_sheets_are_immutable_and_survive_pickling(folder: Path) -> None:
    box = System.load("box", folders=[folder])
    with pytest.raises(ValueError, match="frozen"):
        box.accelerators = 4  # type: ignore[misc]
    for mapping in (box.power.host_dc_w, box.accelerator.dense_flop_per_s, box.sources):
        with pytest.raises(TypeError, match="immutable"):
            mapping["bf16"] = 1.0  # type: ignore[index]
        with pytest.raises(TypeError, match="immutable"):
            mapping.update(bf16=1.0)  # type: ignore[call-arg]
    copy = pickle.loads(pickle.dumps(box))
    assert copy == box
    assert copy.digests == box.digests


def test_numbers_of_yaml_1_2_are_numbers(folder: Path) -> None:
    one = Accelerator.load("one", folders=[folder])
    assert one.dense_flop_per_s["bf16"] == 4.0e14
    assert isinstance(one.dense_flop_per_s["bf16"], float)
    path = folder / "accelerators" / "one.yaml"
    path.write_text(path.read_text().replace("bf16: 4.0e14", "bf16: 9.89e14"))
    assert Accelerator.load(path).dense_flop_per_s["bf16"] == 9.89e14


def test_vintages_may_look_like_numbers(folder: Path) -> None:
    assert System.load("box", folders=[folder]).power.provisioned_w_per_accelerator == {"2026": 1100.0}


def test_defaults_that_a_rule_fills_in(folder: Path) -> None:
    one = Accelerator.load("one", folders=[folder])
    assert one.power.idle_w == pytest.approx(0.107 * 500)
    assert (one.power.draw_a, one.power.draw_b) == (DRAW_A, DRAW_B)
    for field in ("idle_w", "draw_a", "draw_b"):
        rule = one.source_of(f"power.{field}")
        assert rule is not None
        assert rule.grade == "estimated"
        assert "rule where a sheet gives none" in rule.ref
    assert one.source_of("power.nothing") is None
    assert one.replace(power__idle_w=60.0).source_of("power.idle_w").ref == "changed by replace()"  # type: ignore[union-attr]
    all_power = {"power": {"ref": "Acme data sheet", "grade": "published"}}
    own = Accelerator.load({**one.model_dump(exclude_defaults=True), "power": {"tdp_w": 500}, "sources": all_power})
    assert own.source_of("power.tdp_w").grade == "published"  # type: ignore[union-attr]
    assert own.source_of("power.idle_w").grade == "estimated"  # type: ignore[union-attr]
    assert own.source_of("year") is None
    assert one.source_of("memory.bytes").grade == "measured"  # type: ignore[union-attr]
    assert one.source_of("memory.bytes_per_s").grade == "published"  # type: ignore[union-attr]
    assert System.load("box", folders=[folder]).scale_up_bytes_per_s == 4.0e11


def test_efficiency_keeps_the_source_of_an_entry(folder: Path) -> None:
    gemm = Efficiency.load("acme", folders=[folder]).operations.gemm
    assert gemm["bf16"].source is None
    assert gemm["fp8"].source is not None
    assert gemm["fp8"].source.ref == "another bench"


def test_built_in_root_prefers_sheets_inside_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "site-packages" / "roofline"
    (package / "specs").mkdir(parents=True)
    monkeypatch.setattr(folders, "__file__", str(package / "specs" / "folders.py"))
    folders.built_in_root.cache_clear()
    try:
        assert folders.built_in_root() == package.parent
        folders.built_in_root.cache_clear()
        (package / "_data" / "hardware_specs").mkdir(parents=True)
        assert folders.built_in_root() == package / "_data"
    finally:
        folders.built_in_root.cache_clear()


def test_import_loads_no_numerics() -> None:
    heavy = "numba", "numpy", "xarray"
    code = f"import sys, roofline.specs; sys.exit(any(name in sys.modules for name in {heavy!r}))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
