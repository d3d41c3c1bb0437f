"""`roofline power-cap` prints what the library finds, and refuses what it cannot mean."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

import roofline as rl
from roofline.cli.power_cap import power_cap
from roofline.cli.power_cap_documents import PowerCapDocument
from roofline.insight.power_cap import power_cap as under_caps

APP = typer.Typer()
APP.command()(power_cap)
ASKED = ("llama-3.1-70b", "dgx-h100", "--caps", "250:700:150", "--isl", "1k", "--osl", "1k", "--tpot", "30ms")


def test_json_is_what_the_library_finds() -> None:
    done = CliRunner().invoke(APP, [*ASKED, "--replan", "--clock", "least_voltage=0.8,slope=0.5", "--json"])
    assert done.exit_code == 0, done.output
    document = PowerCapDocument.model_validate_json(done.stdout)
    ds = under_caps(
        "llama-3.1-70b", "dgx-h100", caps=[250, 400, 550, 700], workload="1k/1k", slo=rl.SLO(tpot_s=0.03), replan=True,
        clock={"least_voltage": 0.8, "slope": 0.5},
    )  # fmt: skip
    assert [(row["choice"], row["cap"]) for row in document.rows] == [
        (choice, cap) for choice in ("held", "replanned") for cap in (250.0, 400.0, 550.0, 700.0)
    ]
    for row, n in zip(document.rows, [0, 1, 2, 3] * 2, strict=True):
        one = ds.sel(choice=row["choice"]).isel(cap=n)
        for name in ("tokens_per_mwh", "tpot", "power", "decode_clock"):
            value = float(one[name])
            assert row[name] == (value if value == value else None)
        assert row["reason"] == one["reason"].item()
    assert [one.cap for one in document.best] == ds["best_cap"].values.tolist()
    assert "least_voltage 0.8" in document.clock
    units = {column.name: column.unit for column in document.columns}
    assert (units["cap"], units["tokens_per_mwh"], units["tpot"]) == ("W", "1/MWh", "s")


def test_the_table_and_the_files(tmp_path: Path) -> None:
    file = tmp_path / "x.csv"
    done = CliRunner().invoke(APP, [*ASKED, "--replan", "--out", str(file)])
    assert done.exit_code == 0, done.output
    for words in ("held: best at 550 W: ", "replanned: best at 400 W: ", "caps that cannot be met: 1", "(estimated)"):
        assert words in done.stdout
    assert "boundary facility" in done.stdout
    rows = list(csv.DictReader(file.read_text().splitlines()))
    assert len(rows) == 8
    assert {(row["boundary"], row["basis"], row["token_basis"]) for row in rows} == {("facility", "metered", "output")}
    picture = tmp_path / "x.png"
    assert CliRunner().invoke(APP, [*ASKED, "--out", str(picture)]).exit_code == 0
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--caps", "0"), "--caps 0: 0 is not above 0"),
        (("--caps", "700:300:25"), "runs backwards"),
        (("--clock", "slope"), "write NAME=NUMBER"),
        (("--clock", "slope=2"), "clock.slope = 2.0"),
        (("--clock", "nobody=1"), "nobody"),
        (("--workload", "1k/1k"), "give one of them"),
        (("--out", "x.txt"), "suffix .txt"),
    ],
)
def test_what_is_refused(words: tuple[str, ...], said: str) -> None:
    done = CliRunner().invoke(APP, [*ASKED, *words])
    assert isinstance(done.exception, rl.InputError)
    assert said in str(done.exception)
