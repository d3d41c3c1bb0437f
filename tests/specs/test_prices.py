"""Sheets of prices: sourced, of one vintage each, and refused with file and line where they are wrong."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

import roofline as rl
from roofline.specs import list_specs
from roofline.specs.check import check_sources
from roofline.specs.folders import resolve
from roofline.specs.load import read
from roofline.specs.prices import Prices

SHEET = """\
name: Ours
vintage: ours-2026
includes_energy: false
usd_per_accelerator_hour:
  owned: {h100-sxm: 1.5}
sources:
  usd_per_accelerator_hour: {ref: "our contract", grade: published}
"""

V1 = {  # hyperscaler, neocloud, rental for three years
    "h100-sxm": (1.30, 1.69, 1.30),
    "h200-sxm": (1.41, 1.74, 1.60),
    "b200-hgx": (1.95, 2.34, 2.90),
    "gb200": (2.21, 2.75, 3.30),
    "mi300x": (1.12, 1.40, 1.55),
    "mi325x": (1.28, 1.59, 1.80),
    "mi355x": (1.48, 1.90, 2.10),
}
"""The public constants of the first vintage, placeholders left out."""


@pytest.mark.parametrize("name", list_specs("prices", folders=[]))
def test_every_number_of_a_shipped_sheet_has_a_source_and_every_part_is_known(name: str) -> None:
    sheet = Prices.load(name, folders=[])
    assert list(check_sources(Prices, read(resolve("prices", name, [])).data)) == []
    assert sheet.id == name
    parts = {*sheet.usd_per_accelerator, *(part for tier in sheet.usd_per_accelerator_hour.values() for part in tier)}
    assert parts
    assert parts <= {*list_specs("accelerator", folders=[])}
    for part in parts:
        grades = {sheet.grade(part, tier) for tier in sheet.tiers or ("",)}
        assert grades <= {"published", "estimated"}


def test_the_first_vintage_is_the_public_one_and_its_placeholders_are_estimated() -> None:
    sheet = Prices.load("semianalysis-v1", folders=[])
    assert sheet.includes_energy
    tiers = ("hyperscaler", "neocloud", "rental-3yr")
    assert sheet.tiers == tiers
    for part, usd in V1.items():
        assert tuple(sheet.of_tier(tier)[part] for tier in tiers) == usd
        assert {sheet.grade(part, tier) for tier in tiers} == {"published"}
    for placeholder, real in (("b300-hgx", "b200-hgx"), ("gb300", "gb200")):
        for tier in tiers:
            assert sheet.of_tier(tier)[placeholder] == pytest.approx(1.2 * sheet.of_tier(tier)[real])
            assert sheet.grade(placeholder, tier) == "estimated"
    assert {*sheet.of_tier("neocloud")} == {*V1, "b300-hgx", "gb300"}


def test_vintages_of_prices_are_those_of_provisioned_watts() -> None:
    hourly = {
        sheet.vintage for name in list_specs("prices", folders=[]) if (sheet := Prices.load(name, folders=[])).tiers
    }
    watts = {*rl.System.load("dgx-h100", folders=[]).power.provisioned_w_per_accelerator}
    assert hourly == watts


def test_a_sheet_of_ones_own_comes_by_path_mapping_or_folder(tmp_path: Path) -> None:
    folder = tmp_path / "prices"
    folder.mkdir()
    path = folder / "semianalysis-v1.yaml"
    path.write_text(SHEET)
    by_path = Prices.load(path)
    assert by_path.of_tier("owned") == {"h100-sxm": 1.5}
    assert Prices.load("semianalysis-v1", folders=[tmp_path]) == by_path  # before the shipped one
    assert Prices.load(by_path) is by_path
    assert pickle.loads(pickle.dumps(by_path)) == by_path
    data = {"name": "Ours", "vintage": "x", "includes_energy": False, "usd_per_accelerator": {"h100-sxm": 3e4}}
    assert Prices.load(data).tiers == ()
    assert Prices.load(data).grade("h100-sxm") == ""


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("h100-sxm: 1.5", "h100-sxm: -1.5", ":5: usd_per_accelerator_hour.owned.h100-sxm = -1.5: out of range"),
        ("h100-sxm: 1.5", 'h100-sxm: "1.5"', ":5: usd_per_accelerator_hour.owned.h100-sxm = '1.5': text"),
        ("includes_energy: false", "includes_energy: 0", ":3: includes_energy = 0: expected true or false"),
        ("vintage: ours-2026\n", "", "vintage: missing"),
        ("name: Ours", "name: Ours\nusd_per_accelerator: {h100-sxm: 3e4}", "give either usd_per_accelerator_hour or"),
        ("vintage:", "vintag:", "vintag = 'ours-2026': unknown field; did you mean vintage?"),
        ("  owned: {", "  owned: [", ":"),
    ],
)
def test_what_is_wrong_is_said_with_file_and_line(tmp_path: Path, old: str, new: str, said: str) -> None:
    path = tmp_path / "ours.yaml"
    path.write_text(SHEET.replace(old, new))
    with pytest.raises(rl.InputError) as caught:
        Prices.load(path)
    assert said in str(caught.value)
    assert "ours.yaml" in str(caught.value)


def test_names_that_are_none() -> None:
    with pytest.raises(rl.InputError, match=r"no prices named 'semianalysis'; did you mean"):
        Prices.load("semianalysis")
    with pytest.raises(rl.InputError, match="no tier named 'hyperscalers'; did you mean hyperscaler"):
        Prices.load("semianalysis-v1").of_tier("hyperscalers")
    with pytest.raises(rl.InputError, match="expected a name, a path or a mapping"):
        Prices.load(3)  # type: ignore[arg-type]
    paid_once = {"name": "x", "vintage": "x", "includes_energy": True, "usd_per_accelerator": {"h100-sxm": 3e4}}
    with pytest.raises(rl.InputError, match="what is paid once holds no energy"):
        Prices.load(paid_once)
