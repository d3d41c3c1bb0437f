"""`roofline site` prints what the library finds, draws it, and refuses what it cannot mean."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

import roofline as rl
from roofline.cli.site_documents import SiteDocument
from roofline.planning.site import site
from tests.cli.conftest import Run

SITE = ("site", "--power", "1MW", "--model", "llama-3.1-8b", "--recipe", "fp8", "--isl", "1024", "--osl", "128")


def test_site_prints_what_the_library_finds(cli: Run) -> None:
    limits = ("--ttft", "2", "--tpot", "50ms", "--load", "office")
    bill = ("--usd-per-gpu-hour", "1.8", "--usd-per-kwh", "0.1", "--sell", "0.3", "--carbon", "400", "--wue", "1.5")
    done = cli(*SITE, "--systems", "hgx-h100,gb300-nvl72", *limits, *bill, "--json")
    assert done.returncode == 0, done.stderr
    document = SiteDocument.model_validate_json(done.stdout)
    ds = site(
        "llama-3.1-8b", ["hgx-h100", "gb300-nvl72"], "fp8", power="1MW", workload="1024/128", load="office",
        slo=rl.SLO(ttft_s=2, tpot_s=0.05),
        bill={"usd_per_accelerator_hour": 1.8, "usd_per_kwh": 0.1, "sold_usd_per_mtok": 0.3, "gco2e_per_kwh": 400,
              "wue_l_per_kwh": 1.5},
    ).squeeze()  # fmt: skip
    assert [row["system"] for row in document.rows] == ["dgx-h100", "gb300-nvl72"]
    for s, row in enumerate(document.rows):
        for name in ("output_tokens_per_s", "usd_per_mtok", "usd_per_mtok_input", "tokens_per_mwh", "gco2e_per_token"):
            assert row[name] == float(ds[name].values[s])
        assert row["site_limit"] == "none"
    units = {column.name: column.unit for column in document.columns}
    assert (units["energy_per_day"], units["usd_per_mtok"], units["power_taken"]) == ("J", "USD", "W")
    assert len(document.hours) == 2 * 24
    assert [hour.load for hour in document.hours[:24]] == [0.15] * 9 + [1.0] * 9 + [0.15] * 6
    energy = 3600 * sum(hour.power or 0.0 for hour in document.hours[:24])
    assert energy == pytest.approx(float(ds["energy_per_day"].values[0]))
    said = document.provenance
    assert (said["boundary"], said["basis"], said["token_basis"]) == ("facility", "metered", "output")
    assert said["hardware_prices"] == "given by the hour"


def test_the_table_says_why_and_what_is_estimated(cli: Run, tmp_path: Path) -> None:
    done = cli(
        *SITE, "--systems", "hgx-h100,gb300-nvl72,vr-nvl72,groq3-lpx", "--tpot", "50ms", "--out", "x.png",
        "--load", "day", "--day-out", "day.svg",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for words in (
        "1 MW  model llama-3.1-8b  workload 1024/128  slo tpot 0.05 s",
        "gb300-nvl72: the price of its accelerator is estimated",
        "vr-nvl72: no price of its accelerator; give --usd-per-gpu-hour or --usd-per-gpu",
        "groq3-lpx: ",
        "systems counted: facility, metered; mean load 65%",
        "prices: semianalysis-v1, hyperscaler; energy 0.07 USD/kWh",
        "written to x.png",
        "written to day.svg",
    ):
        assert words in done.stdout
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (tmp_path / "day.svg").read_text()


def test_a_table_stands_alone_and_the_defaults_are_generations(cli: Run, tmp_path: Path) -> None:
    done = cli("site", "--power", "100MW", "--basis", "provisioned", "--vintage", "semianalysis-2026", "--out", "x.csv")
    assert done.returncode == 0, done.stderr
    assert "systems counted: facility, provisioned, semianalysis-2026" in done.stdout
    assert "prices: semianalysis-2026, hyperscaler" in done.stdout
    rows = list(csv.DictReader((tmp_path / "x.csv").read_text().splitlines()))
    assert [row["system"] for row in rows] == ["dgx-h100", "dgx-h200", "dgx-b200", "gb300-nvl72", "vr-nvl72"]
    for row in rows:
        assert (row["boundary"], row["basis"], row["token_basis"]) == ("facility", "metered", "output")
        product = float(row["tokens_per_mwh [1/MWh]"]) * float(row["joules_per_token_at_boundary [J]"])
        assert product == pytest.approx(3.6e9)


def test_the_same_load_all_day_has_no_hours(cli: Run) -> None:
    done = cli(*SITE, "--systems", "hgx-h100", "--load", "0.4", "--json")
    document = SiteDocument.model_validate_json(done.stdout)
    assert document.hours == []
    assert document.provenance["duty"] == "0.4"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--power", "1"), "write a power above 0 with its unit"),
        (("--pue", "0.9"), "PUE is total over IT power, never below 1"),
        (("--pue", "1.3,1.2"), "--pue 1.3,1.2: write a number as 1.25, or points of load and PUE"),
        (("--pue", "0.3:1.6,x:1"), "or points of load and PUE as 0.3:1.6,1:1.3"),
        (("--pue", "0.3:0.6,1:1.3"), "pue[0.3] = 0.6: PUE is total over IT power"),
        (("--usd-per-kwh", "-0.1"), "usd_per_kwh = -0.1"),
        (("--usd-per-gpu-hour", "-1"), "usd_per_accelerator_hour = -1.0"),
        (("--usd-per-gpu", "1", "--usd-per-gpu-hour", "1"), "in one of these ways"),
        (("--prices", "nobody"), "no prices named 'nobody'"),
        (("--tier", "nobody"), "no tier named 'nobody'"),
        (("--load", "weekend"), "no shape named 'weekend'"),
        (("--load", "0.5,0.6"), "has 2 shares; give 24"),
        (("--workload", "1k/1k"), "--workload and --isl, --osl: give one of them"),
        (("--vintage", "semianalysis-v1"), "give it with basis 'provisioned'"),
        (("--out", "x.txt"), "suffix .txt"),
        (("--day-out", "x.csv"), "suffix .csv"),
        (("--out", "x.png", "--slo", "tpot=1", "--slo", "tpot=2"), "--out x.png: a picture shows 1 of 2 SLOs"),
        (("--day-out", "x.png", "--model", "qwen3-8b,phi-4"), "--day-out x.png: a picture shows 1 of 2 models"),
    ],
)
def test_what_is_refused(cli: Run, words: tuple[str, ...], said: str) -> None:
    done = cli(*SITE, "--systems", "hgx-h100", *words)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_length_alone_is_refused(cli: Run) -> None:
    done = cli("site", "--power", "1MW", "--isl", "1024")
    assert (done.returncode, done.stderr) == (2, "error: --isl: give --osl too\n")


def test_a_price_of_ones_own_is_not_called_an_estimate(cli: Run) -> None:
    done = cli(*SITE, "--systems", "hgx-h100,gb300-nvl72", "--usd-per-gpu-hour", "2")
    assert done.returncode == 0, done.stderr
    assert "estimated" not in done.stdout
    assert "prices: given by the hour" in done.stdout


def test_lengths_are_written_as_everywhere(cli: Run) -> None:
    words = ("site", "--power", "1MW", "--model", "llama-3.1-8b", "--systems", "hgx-h100", "--json")
    short = SiteDocument.model_validate_json(cli(*words, "--isl", "1k", "--osl", "128").stdout)
    plain = SiteDocument.model_validate_json(cli(*words, "--isl", "1024", "--osl", "128").stdout)
    assert short.rows[0]["tokens_per_mwh"] == plain.rows[0]["tokens_per_mwh"]
    assert short.rows[0]["isl"] == 1024.0


def test_pue_by_load_is_that_of_the_library(cli: Run) -> None:
    done = cli(*SITE, "--systems", "hgx-h100", "--load", "0.5", "--pue", "0.3:1.6,1:1.3", "--json")
    ds = site("llama-3.1-8b", "hgx-h100", "fp8", power="1MW", workload="1k/128", load=0.5, pue={0.3: 1.6, 1.0: 1.3})
    row = SiteDocument.model_validate_json(done.stdout).rows[0]
    assert row["tokens_per_mwh"] == ds["tokens_per_mwh"].item()
    assert (
        "PUE by load of the racks: 0.3:1.6,1:1.3"
        in cli(*SITE, "--systems", "hgx-h100", "--pue", "0.3:1.6,1:1.3").stdout
    )
