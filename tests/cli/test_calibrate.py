"""`roofline calibrate` prints what was fitted, writes sheets that other commands read, and says what is wrong."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

from roofline.cli.calibrate import COLUMNS, HOW
from roofline.cli.documents import CalibrateDocument, ValidateDocument
from roofline.validation.calibrate import CONSTANTS
from roofline.validation.run import ENVIRONMENT
from tests.cli.conftest import Run

HEAD = (
    "row_id,source,model,gpu,num_gpus,weight_dtype,framework,tp,isl,osl,concurrency_or_batch,metric_kind,"
    "ttft_ms,tpot_ms"
)


def table() -> str:
    """Two sources of a few loads on two parts; times about as such parts have them."""
    rows = [HEAD]
    for i, gpu in enumerate(("H100", "H200")):
        for j, server in enumerate(("vLLM", "SGLang")):
            for load in (1, 4, 16, 64, 128):
                tpot = (5.5 - i + 0.05 * load) * (1.0 + 0.2 * j)
                rows.append(
                    f"{gpu}-{server}-{load},{gpu.lower()},Llama-3.1-8B,{gpu},1,bf16,{server},1,1024,1024,{load},"
                    f"online_serving,{40 + load},{tpot:.4g}"
                )
    return "\n".join(rows) + "\n"


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.delenv(ENVIRONMENT, raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.csv").write_text(table(), encoding="utf-8")
    return "mine.csv"


def test_it_prints_constants_and_scores(cli: Run, mine: str) -> None:
    done = cli("calibrate", mine, "--json")
    assert done.returncode == 0, done.stderr
    document = CalibrateDocument.model_validate_json(done.stdout)
    assert [row["constant"] for row in document.rows] == [prior.name for prior in CONSTANTS]
    assert [column.name for column in document.columns] == [name for name, _, _ in COLUMNS] == list(document.rows[0])
    assert (document.points, document.used, document.files) == (20, 20, [])
    assert {one.how for one in document.scores} == set(HOW)
    by = {(one.how, one.quantity): one for one in document.scores}
    fitted, before = by["fitted", "tpot"].mdape, by["before", "tpot"].mdape
    assert fitted is not None
    assert before is not None
    assert fitted < before
    assert (by["without-gpu", "tpot"].fits, by["without-gpu", "tpot"].rows) == (2, 20)
    assert (by["without-model", "tpot"].fits, by["without-model", "tpot"].mdape) == (0, None)  # there is but one
    for row in document.rows:
        low, value, high = (float(str(row[name])) for name in ("low", "value", "high"))
        assert low < value < high
    silent = next(row for row in document.rows if row["constant"] == "trtllm-hopper.stack.step_s")
    assert (silent["identified"], silent["factor"]) == (False, 1.0)
    assert done.stderr.count("fit ") == 2 + 2 + 2
    assert "without gpu H100, 10 rows" in done.stderr


def test_a_second_run_is_the_same_to_the_byte(cli: Run, mine: str, tmp_path: Path) -> None:
    words = ("calibrate", mine, "--no-leave-one-out", "--json", "--out", "new")
    first = cli(*words).stdout
    sheets = {path.name: path.read_bytes() for path in (tmp_path / "new").rglob("*.yaml")}
    (tmp_path / "new").rename(tmp_path / "old")
    assert cli(*words).stdout == first
    assert {path.name: path.read_bytes() for path in (tmp_path / "new").rglob("*.yaml")} == sheets
    assert set(sheets) == {"vllm-hopper.yaml", "sglang-hopper.yaml"}
    assert {one.how for one in CalibrateDocument.model_validate_json(first).scores} == {"before", "fitted"}


def test_other_commands_use_the_written_sheets(cli: Run, mine: str, tmp_path: Path) -> None:
    document = CalibrateDocument.model_validate_json(
        cli("calibrate", mine, "--no-leave-one-out", "--out", "new", "--json").stdout
    )
    assert sorted(document.files) == sorted(str(p.relative_to(tmp_path)) for p in (tmp_path / "new").rglob("*.yaml"))
    checked = cli("specs", "check", "new")
    assert checked.returncode == 0, checked.stdout
    assert "0 wrong, 0 doubtful" in checked.stdout
    # In a process of its own: systems that measurements name are kept for as long as one runs.
    words = ["validate", "--data", mine, "--specs", "new", "--rows", "rows.csv", "--json"]
    run = [sys.executable, "-m", "roofline.cli", *words]
    root = str(Path(__file__).parents[2])
    done = subprocess.run(run, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": root}, check=False)
    assert done.returncode == 0, done.stderr
    scored = ValidateDocument.model_validate_json(done.stdout)
    for quantity in ("tpot", "ttft"):
        mdape = next(row["mdape"] for row in scored.rows if row["quantity"] == quantity and row["by"] == "")
        fitted = next(one for one in document.scores if (one.how, one.quantity) == ("fitted", quantity))
        assert mdape == pytest.approx(fitted.mdape, rel=1e-6)
    with (tmp_path / "rows.csv").open(encoding="utf-8", newline="") as handle:
        assert all(row["predicted_tpot_s"] for row in csv.DictReader(handle))


def test_people_read_a_table(cli: Run, mine: str) -> None:
    done = cli("calibrate", mine, "--source", "h100", "--no-leave-one-out")
    assert done.returncode == 2
    assert f"10 of its 10 rows can be used and {len(CONSTANTS)} constants are fitted" in done.stderr
    done = cli("calibrate", mine, "--source", "h100,h200", "--no-leave-one-out")
    assert done.returncode == 0, done.stderr
    assert f"{len(CONSTANTS)} constants, 20 of 20 rows" in done.stdout
    line = next(line for line in done.stdout.splitlines() if line.startswith("trtllm-hopper.stack.step_s"))
    assert "1 ms" in line
    assert "not identified by these data" in line
    assert next(line for line in done.stdout.splitlines() if line.startswith("fitted, in sample")).count("%") == 4
    assert "sha256" in done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("absent.csv",), "absent.csv: not a CSV file that can be read"),
        (("mine.csv", "--source", "h300"), "mine.csv: no source named 'h300'"),
        (("flagged.csv",), "flagged.csv: 0 of its 20 rows can be used"),
        (("mine.csv", "--out", "mine.csv"), "--out mine.csv: is a file"),
        (("mine.csv", "--out", "full"), "--out full: is not empty"),
        (("mine.csv", "--out", "no/such"), "does not exist; make it first"),
        (("mine.csv", "--specs", "none"), "--specs none: is not a folder"),
    ],
)
def test_bad_input_is_one_message_and_writes_nothing(
    cli: Run, mine: str, tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    head, *rows = table().splitlines()
    flagged = [f"{head},flags", *(f"{row},duplicate" for row in rows)]
    (tmp_path / "flagged.csv").write_text("\n".join(flagged) + "\n", encoding="utf-8")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "note").touch()
    before = sorted(tmp_path.rglob("*"))
    done = cli("calibrate", *words)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") == 1
    assert said in done.stderr
    assert sorted(tmp_path.rglob("*")) == before
