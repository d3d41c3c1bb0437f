"""`roofline pairs` evaluates what a study, a CSV or options pair, options before the study."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

import roofline as rl
from roofline.cli.documents import TableDocument
from tests.cli.conftest import Run

STUDY = """\
pairs:
  - {model: llama-3.1-8b, system: hgx-h100, recipe: fp8}
  - {model: llama-3.1-8b, system: groq3-lpx}
  - {model: llama-3.1-8b, system: hgx-h100, recipe: bf16}
workloads: [8k/1k, 1k/1k]
slos: [{tpot_s: 0.02}, {ttft_s: 0.0001}]
modes: static
"""


def test_a_study_stands_alone_row_by_row(cli: Run, tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(STUDY, encoding="utf-8")
    done = cli("pairs", "study.yaml", "--out", "x.csv")
    assert done.returncode == 0, done.stderr
    assert "TTFT" in done.stdout
    assert "x over its limit" in done.stdout
    with (tmp_path / "x.csv").open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert [row["pair"] for row in rows] == ["0"] * 4 + ["1"] * 4 + ["2"] * 4
    assert [row["asked_recipe"] for row in rows[::4]] == ["fp8", "", "bf16"]
    assert {row["workload"] for row in rows} == {"8k/1k", "1k/1k"}
    ds = rl.plan("llama-3.1-8b", "hgx-h100", "bf16", workload="1k/1k", slo={"tpot_s": 0.02}, modes="static")
    assert float(rows[10]["tokens_per_mwh [1/MWh]"]) == float(ds["tokens_per_mwh"].item())
    for row in rows:
        assert (row["fidelity"], row["boundary"], row["objective"]) == ("serving", "facility", "tokens_per_mwh")


def test_options_go_before_the_study(cli: Run, tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(STUDY, encoding="utf-8")
    over = ("--workload", "2k/256", "--slo", "none", "--objective", "tokens_per_s_per_gpu", "--boundary", "rack")
    done = cli("pairs", "study.yaml", *over, "--json")
    assert done.returncode == 0, done.stderr
    document = TableDocument.model_validate_json(done.stdout)
    assert document.kind == "pairs"
    assert document.provenance["objective"] == "tokens_per_s_per_gpu"
    assert document.provenance["boundary"] == "rack"
    assert [(row["workload"], row["slo"]) for row in document.rows] == [("2k/256", "none")] * 3
    assert {row["mode"] for row in document.rows} == {"static"}


def test_a_csv_of_pairs_and_models_by_systems(cli: Run, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("model,system\nllama-3.1-8b,hgx-h100\nllama-3.1-8b,hgx-h200\n", encoding="utf-8")
    options = ("--recipe", "fp8", "--tpot", "20ms", "--mode", "static", "--json")
    listed = TableDocument.model_validate_json(cli("pairs", "x.csv", *options).stdout)
    crossed = cli("pairs", "--model", "llama-3.1-8b", "--system", "hgx-h100,hgx-h200", *options)
    assert listed.rows == TableDocument.model_validate_json(crossed.stdout).rows
    assert [row["system"] for row in listed.rows] == ["dgx-h100", "dgx-h200"]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        (
            "s.yaml",
            "models: llama-3.1-8b\nsystms: hgx-h100\n",
            "no key of a study named 'systms'; did you mean systems",
        ),
        ("s.yaml", "models: llama-3.1-8b\nsystems: hgx-h100\n", "workloads: none given"),
        ("s.yaml", "pairs: [{model: llama-3.1-8b}]\nworkloads: 1k/1k\n", "give model, system and perhaps recipe"),
        ("s.yaml", "models: [llama-3.1-8b\n", "broken YAML"),
        ("s.csv", "model,hardware\na,b\n", "s.csv:1: has no column system"),
        ("s.csv", "model,system\na,\n", "s.csv:2: system is empty"),
    ],
)
def test_a_wrong_study_is_one_message(cli: Run, tmp_path: Path, name: str, text: str, said: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    done = cli("pairs", name)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert said in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "give a study, or --model and --system"),
        (("--model", "llama-3.1-8b"), "give a study, or --model and --system"),
        (("nowhere.yaml",), "nowhere.yaml: cannot be read"),
    ],
)
def test_no_study_is_one_message(cli: Run, words: tuple[str, ...], said: str) -> None:
    done = cli("pairs", *words)
    assert done.returncode == 2
    assert said in done.stderr
