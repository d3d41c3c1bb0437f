"""`roofline check-claim` prints what the library finds, and exits with 0 whatever the answer is."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import typer

from roofline.cli import main as command
from roofline.cli.check_claim import check_claim
from roofline.cli.check_claim_documents import CheckClaimDocument
from roofline.insight.claims import check_claim as check
from tests.cli.conftest import Run

ON = ("--model", "llama-3.1-70b", "--system", "dgx-h100")
CLAIM = "500000 tokens/MWh"


@pytest.fixture(autouse=True)
def app(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command by itself, under its name."""
    alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    alone.callback()(lambda: None)
    alone.command("check-claim")(check_claim)
    monkeypatch.setattr(command, "app", alone)


@pytest.mark.parametrize(
    ("claim", "verdict"),
    [
        (CLAIM, "below_working"),
        ("0.5 J/token", "plausible"),
        ("1 mJ/token", "impossible"),
        ("9M tok/s/kW", "impossible"),
    ],
)
def test_it_answers_whatever_the_answer_is(cli: Run, claim: str, verdict: str) -> None:
    done = cli("check-claim", claim, *ON)
    assert done.returncode == 0, done.stderr
    assert verdict.replace("_", " ") in done.stdout.splitlines()[1]
    for words in ("ideal bound", "best plan", "one sequence at a time", "facility", "metered", "output tokens"):
        assert words in done.stdout


def test_json_is_what_the_library_finds(cli: Run) -> None:
    done = cli("check-claim", CLAIM, *ON, "--isl", "8k", "--osl", "1k", "--tpot", "50ms", "--json")
    assert done.returncode == 0, done.stderr
    document = CheckClaimDocument.model_validate_json(done.stdout)
    found = check(CLAIM, "llama-3.1-70b", "dgx-h100", isl=8192, osl=1024, slo={"tpot_s": 0.05})
    assert document.verdict == found.verdict
    assert document.joules_per_token == pytest.approx(7200.0)
    assert [point.claim_over for point in document.points] == [rung.claim_over for rung in found.rungs]
    assert [step.value for step in document.bound] == [step.value for step in found.bound.derivation]
    assert [slip.cost for slip in document.slips] == [slip.cost for slip in found.slips]
    assert document.nearest_slip is not None
    assert document.nearest_slip.factor == pytest.approx(3600.0)
    assert document.said == found.said()


def test_what_is_undisclosed_is_null(cli: Run) -> None:
    done = cli("check-claim", "1 J/token", "--model", "qwen3-32b", "--system", "groq3-lpx", "--json")
    assert done.returncode == 0, done.stderr
    document = CheckClaimDocument.model_validate_json(done.stdout)
    assert (document.verdict, document.expected) == ("undefined", None)
    assert "undisclosed" in document.reason
    assert document.points[0].value is None


def test_money_takes_a_price(cli: Run) -> None:
    done = cli("check-claim", "$0.20/Mtok", *ON, "--price", "1.3")
    assert done.returncode == 0, done.stderr
    assert "plausible" in done.stdout


def test_money_without_a_price_is_that_of_a_sheet(cli: Run) -> None:
    shown = cli("check-claim", "$0.20/Mtok", *ON)
    assert (
        "an accelerator-hour: dgx-h100 1.3 USD (prices semianalysis-v1, hyperscaler: h100-sxm published)"
        in shown.stdout
    )
    ratio = cli(
        "check-claim", "2x tokens per $ of dgx-h100", "--model", "llama-3.1-70b", "--system", "hgx-b200", "--json"
    )
    told = CheckClaimDocument.model_validate_json(ratio.stdout).provenance
    assert (told["usd_per_gpu_hour"], told["reference_usd_per_gpu_hour"]) == ("1.95", "1.3")
    assert told["hardware_prices"] == "semianalysis-v1, hyperscaler"


def test_a_ratio_shows_the_ratio_of_the_best_plans(cli: Run) -> None:
    done = cli("check-claim", "3x tokens per MW of dgx-h100", "--model", "llama-3.1-70b", "--system", "hgx-b200")
    assert done.returncode == 0, done.stderr
    assert "ratio of the best plans by tok/s of one user" in done.stdout


def test_a_csv_stands_alone(cli: Run, tmp_path: Path) -> None:
    assert cli("check-claim", CLAIM, *ON, "--out", "x.csv").returncode == 0
    with (tmp_path / "x.csv").open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    found = check(CLAIM, "llama-3.1-70b", "dgx-h100")
    assert [row["row"] for row in rows] == ["claim", *(one.name for one in found.rungs), *["slip"] * len(found.slips)]
    assert float(rows[0]["joules_per_token [J]"]) == pytest.approx(7200.0)
    for row in rows:
        assert (row["model"], row["boundary"], row["basis"], row["token_basis"]) == (
            *("llama-3.1-70b", "facility", "metered", "output"),
        )
    slip = next(row for row in rows if "MWh for MW s" in row["what"])
    assert float(slip["joules_per_token [J]"]) == pytest.approx(2.0)
    assert float(slip["claim_over"]) == pytest.approx(3600.0)


def test_a_picture_is_written(cli: Run, tmp_path: Path) -> None:
    done = cli("check-claim", CLAIM, *ON, "--out", "x.png")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("5 tok/s", *ON), "of how many accelerators?"),
        (("$1/Mtok", *ON, "--price", "0"), "give dollars above 0"),
        (("$1/Mtok", *ON, "--price", "2", "--tier", "neocloud"), "leave one of them out"),
        (("$1/Mtok", *ON, "--prices", "semianalysis-2026", "--vintage", "semianalysis-v1"), "vintage"),
        (("1 J/token", *ON, "--tier", "neocloud"), "is not of money"),
        (("1 J/token", *ON, "--isl", "1,2"), "--isl 1,2: a claim is of one length"),
        (("1 J/token", *ON, "--isl", "1M"), "context"),
        (("1 J/token", *ON, "--tokens", "words"), "token_basis 'words'"),
        (("1 J/token", *ON, "--slo", "tpot=1", "--slo", "ttft=1"), "--slo: given more than once"),
        (("1 J/token", *ON, "--out", "x.nc"), "suffix .nc is not one of"),
        (("1 J/token", "--model", "llama-9", "--system", "dgx-h100"), "no model named 'llama-9'"),
    ],
)
def test_bad_input_is_one_message(cli: Run, words: tuple[str, ...], said: str) -> None:
    done = cli("check-claim", *words)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert said in done.stderr
