"""`roofline sensitivity` and `roofline uncertainty`: what the library finds, as tables, JSON and files."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

import roofline as rl
from roofline.cli.held import Of
from roofline.cli.sensitivity import sensitivity as command
from roofline.cli.sensitivity_documents import SensitivityDocument, UncertaintyDocument
from roofline.cli.uncertainty import uncertainty as other_command
from roofline.insight.sensitivity import sensitivity
from roofline.insight.sobol import sobol
from roofline.insight.subjects import KINDS
from roofline.insight.uncertainty import uncertainty

app = typer.Typer()
app.command("sensitivity")(command)
app.command("uncertainty")(other_command)

WHERE = ("llama-3.1-70b", "dgx-h100")
PLAN = ("--isl", "1k", "--osl", "1k", "--tpot", "30ms")
DECODE = ("--of", "decode", "--recipe", "fp8", "--tp", "8", "--batch", "64", "--context", "4k")


def run(*words: str) -> str:
    done = CliRunner().invoke(app, words, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def refused(*words: str) -> str:
    done = CliRunner().invoke(app, words)
    if isinstance(done.exception, rl.InputError):
        return str(done.exception)
    assert done.exit_code == 2, done.output
    return done.output


def test_a_plan_is_held_and_what_is_said_is_what_the_library_finds() -> None:
    document = SensitivityDocument.model_validate_json(
        run("sensitivity", *WHERE, *PLAN, "--searched", "4", "--change", "0.2", "--json")
    )
    workload = rl.Workload.of({"isl": 1024, "osl": 1024, "name": "1k/1k"})
    ds = sensitivity(*WHERE, workload=workload, slo=rl.SLO(tpot_s=0.03), change=0.2, searched=4)
    assert (document.label, document.figure, document.change) == (ds.attrs["label"], "tokens_per_mwh", 0.2)
    sizes = [abs(row["elasticity"]) for row in document.rows]  # type: ignore[arg-type]
    assert sizes == sorted(sizes, reverse=True)
    for row in document.rows[:10]:
        one = ds.sel(parameter=row["parameter"])
        for name in ("elasticity", "ratio_more", "ratio_less"):
            value = float(one[name].sel(figure="tokens_per_mwh"))
            assert row[name] == (value if value == value else None)
        assert row["grade"] in ("published", "measured", "estimated")
        assert row["source"]
    assert sum(row["searched_more"] is not None or row["searched_less"] is not None for row in document.rows) >= 4
    assert {moved.figure for moved in document.figures} == set(ds["figure"].values)
    assert document.figures[0].sum_of_rates == pytest.approx(1.0)
    assert len(document.said) == 5
    assert {column.name for column in document.columns} == set(document.rows[0])
    for key in ("fidelity", "boundary", "basis", "token_basis", "stack", "sheets"):
        assert document.provenance[key]


def test_the_table_names_the_strongest_numbers() -> None:
    said = run("sensitivity", *WHERE, *PLAN)
    for words in (
        "facility.pue",
        "accelerator.memory.bytes_per_s",
        "10 % more memory bandwidth: ",
        "published",
    ):
        assert words in said
    assert "rates less times add up to 1.000000" in said
    assert "boundary facility" in said
    by_tpot = run("sensitivity", *WHERE, *DECODE, "--figure", "tpot")
    assert "facility.pue" not in by_tpot
    assert "rates less times add up to -1.000000" in by_tpot


@pytest.mark.parametrize("suffix", ["csv", "nc", "png"])
def test_files(tmp_path: Path, suffix: str) -> None:
    for name in ("sensitivity", "uncertainty"):
        out = tmp_path / f"{name}.{suffix}"
        assert f"written to {out}" in run(name, *WHERE, *DECODE, "--out", str(out))
        assert out.stat().st_size > 1000
    if suffix == "csv":
        with (tmp_path / "sensitivity.csv").open(encoding="utf-8", newline="") as handle:
            rows = list(csv.DictReader(handle))
        assert {"parameter", "figure", "elasticity", "parameter_grade", "fidelity", "boundary", "basis"} <= set(rows[0])
        with (tmp_path / "uncertainty.csv").open(encoding="utf-8", newline="") as handle:
            rows = list(csv.DictReader(handle))
        assert {"quantile", "figure", "value", "numbers", "point", "token_basis"} <= set(rows[0])


def test_how_sure_a_plan_is() -> None:
    words = (
        "uncertainty",
        *WHERE,
        *PLAN,
        "--draws",
        "500",
        "--seed",
        "7",
        "--widen",
        "estimated=2",
        "--stack",
        "trtllm",
    )
    document = UncertaintyDocument.model_validate_json(run(*words, "--json"))
    workload = rl.Workload.of({"isl": 1024, "osl": 1024, "name": "1k/1k"})
    ds = uncertainty(
        *WHERE, workload=workload, slo=rl.SLO(tpot_s=0.03), stack="trtllm", draws=500, seed=7, spread={"estimated": 2.0}
    )
    assert (document.draws, document.seed, document.fits) == (500, 7, float(ds.attrs["fits"]))
    for row in document.rows:
        one = ds.sel(figure=row["figure"])
        assert row["point"] == float(one["point"])
        for percent in (5, 50, 95):
            assert row[f"p{percent}"] == float(one["value"].sel(quantile=percent))
            assert row[f"numbers_p{percent}"] == float(one["numbers"].sel(quantile=percent))
    assert document.shares
    assert document.shares[0].share == float(ds["share"].sel(figure="tokens_per_mwh").max())
    said = run(*words)
    assert "what the spread of tokens_per_mwh comes from" in said
    assert "500 draws, seed 7" in said


def test_sobol_indices_stand_beside() -> None:
    words = ("uncertainty", *WHERE, *DECODE, "--draws", "100", "--sobol", "16", "--figure", "tpot")
    document = UncertaintyDocument.model_validate_json(run(*words, "--json"))
    ds = sobol(*WHERE, "fp8", of="decode", tp=8, batch=64, context=4096, figure="tpot", samples=16)
    assert [one.parameter for one in document.sobol] == list(ds["parameter"].values)
    np.testing.assert_allclose([one.total for one in document.sobol], ds["total"])
    assert "Sobol total" in run(*words)


def test_without_the_band() -> None:
    rows = json.loads(run("uncertainty", *WHERE, *PLAN, "--draws", "50", "--numbers-only", "--json"))["rows"]
    assert all(row["p50"] == row["numbers_p50"] for row in rows)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--of", "decode", "--workload", "1k/1k"), "--workload: not of decode; it takes --tp"),
        (("--of", "decode", "--ttft", "2"), "--ttft, --tpot, --latency or --slo: not of decode"),
        (("--batch", "4"), "--batch: not of plan"),
        (("--of", "prefill", "--spread", "0.5"), "--spread: not of prefill"),
        (("--isl", "1k"), "--osl: give --isl and --osl together"),
        (("--isl", "1k", "--osl", "1k", "--workload", "chat"), "--workload and --isl, --osl: give one of them"),
        (("--of", "serve",), "--of serve: give --concurrency"),
        (("--of", "decode", "--tp", "8", "--context", "1k,2k"), "--context 1k,2k: 2 values"),
        (("--slo", "tpot=1", "--slo", "none"), "--slo: given more than once"),
        (("--tpot", "1us"), "--tpot 1us"),
        (("--tpot", "0.0001"), "nothing to hold: the nearest candidate is"),
        (("--of", "guess"), "guess"),
        (("--figure", "tpott"), "tpott"),
        (("--out", "x.doc"), "suffix .doc"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["sensitivity", "uncertainty"])
def test_bad_input_is_one_message(name: str, words: tuple[str, ...], said: str) -> None:
    assert said in refused(name, *WHERE, *words)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("sensitivity", *WHERE, "--change", "2"), "change = 2.0"),
        (("sensitivity", "llama-3.1-70b,llama-3.1-8b", "dgx-h100"), "one answer is held; give one model"),
        (("sensitivity", *WHERE, *DECODE, "--searched", "3"), "only a plan can be chosen again"),
        (("uncertainty", *WHERE, "--draws", "0"), "draws: 0"),
        (("uncertainty", *WHERE, "--widen", "-1"), "--widen = -1.0: give a factor"),
        (("uncertainty", *WHERE, "--widen", "=2"), "no grade named ''"),
        (("uncertainty", *WHERE, "--widen", "estimated=2,estimated=3"), "a grade is given twice"),
        (("sensitivity", *WHERE, "--objective", "min_gpus"), "--objective min_gpus: for which load?"),
        (("sensitivity", *WHERE, "--mode", "attention_ffn"), "--mode attention_ffn: it cannot be held"),
        (("sensitivity", *WHERE, *DECODE, "--cv", "2"), "--cv: not of decode"),
        (("sensitivity", *WHERE, *DECODE, "--prefill-system", "dgx-b200"), "--prefill-system: not of decode"),
        (("sensitivity", *WHERE, "--of", "serve", "--tp", "8", "--rate", "1e6"), "unstable: 1e+06 requests/s"),
        (("sensitivity", *WHERE, "--of", "serve", "--tp", "1", "--rate", "1"), "do not fit in memory"),
        (("uncertainty", *WHERE, "--widen", "twice"), "--widen twice: write a factor"),
        (("uncertainty", *WHERE, "--widen", "guessed=2"), "guessed"),
        (("uncertainty", *WHERE, *DECODE, "--sobol", "100"), "--sobol = 100: give a power of two"),
    ],
)
def test_more_bad_input(words: tuple[str, ...], said: str) -> None:
    assert said in refused(*words)


def test_what_a_spread_is_of_is_said_and_chance_is_not() -> None:
    words = ("uncertainty", *WHERE, *DECODE)
    said = run(*words, "--draws", "4000")
    assert "facility.pue (published, ±20% of what is above 1)" in said
    document = UncertaintyDocument.model_validate_json(run(*words, "--draws", "4000", "--json"))
    of = {one.parameter: one.spread_of for one in document.shares}
    assert of["facility.pue"] == "what is above 1"
    assert of["accelerator.power.tdp_w"] == "the number"
    ds = sensitivity(*WHERE, "fp8", of="decode", tp=8, batch=64, context=4096)
    moves = np.abs(ds["elasticity"].sel(figure="tokens_per_mwh").to_series())
    few = UncertaintyDocument.model_validate_json(run(*words, "--draws", "60", "--json"))
    assert few.shares
    for one in (*document.shares, *few.shares):  # a number that moves nothing is never among what brings spread
        assert moves[one.parameter] > 0.0, one
    once = run(*words, "--draws", "1")
    assert "1 draw, seed 0" in once
    assert "what the spread of" not in once


def test_options_of_the_public_functions_are_taken() -> None:
    """Each reaches the library: what is found is what it finds with the same keywords."""
    plan = ("--tpot", "30ms", "--mode", "disaggregated", "--prefill-system", "dgx-h200", "--objective", "min_gpus")
    got = SensitivityDocument.model_validate_json(run("sensitivity", *WHERE, *plan, "--rate", "20", "--json"))
    ds = sensitivity(
        *WHERE, workload="1k/1k", slo=rl.SLO(tpot_s=0.03), modes="disaggregated", prefill_systems="dgx-h200",
        objective="min_gpus", rate=20.0,
    )  # fmt: skip
    assert got.figure == "tokens_per_s_per_gpu"
    assert got.figures[0].value == float(ds["value"].sel(figure=got.figure))
    assert any(str(row["parameter"]).startswith("prefill.") for row in got.rows)
    where = ("deepseek-r1", "dgx-h200")
    drafted = ("--of", "decode", "--tp", "8", "--moe-tp", "8", "--batch", "4", "--drafts", "1", "--acceptance", "0.8")
    got = SensitivityDocument.model_validate_json(run("sensitivity", *where, *drafted, "--json"))
    ds = sensitivity(*where, of="decode", tp=8, moe_tp=8, batch=4, context=2048, drafts=1, acceptance=[0.8])
    assert got.figures[0].value == float(ds["value"].sel(figure=got.figure))
    arriving = ("--of", "serve", "--recipe", "fp8", "--tp", "8", "--rate", "1", "--cv", "2", "--slots", "4")
    words = run("sensitivity", *WHERE, *arriving, "--workload", "1k/100")
    assert ", without that of the arrivals" in words


def test_options_name_what_the_library_knows() -> None:
    assert [one.value for one in Of] == list(KINDS)


def test_loads_and_prompts_too() -> None:
    given: list[tuple[Any, ...]] = [
        ("--of", "serve", "--recipe", "fp8", "--tp", "8", "--workload", "1k/200", "--concurrency", "4"),
        ("--of", "prefill", "--recipe", "fp8", "--tp", "8", "--isl", "3000"),
    ]
    for words in given:
        assert "rates less times add up to 1.000000" in run("sensitivity", *WHERE, *words)
