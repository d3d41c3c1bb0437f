"""`roofline validate` prints what the library finds, writes every row, and says in one message what is wrong."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import pytest

import roofline as rl
from roofline.cli.documents import ValidateDocument
from roofline.cli.validate import HEADERS, IMPORTANCE
from roofline.validation.run import ENVIRONMENT, SHIPPED, data_file
from roofline.validation.score import FIELDS
from tests.cli.conftest import Run

TABLE = """\
row_id,source,model,gpu,num_gpus,weight_dtype,framework,tp,isl,osl,concurrency_or_batch,metric_kind,ttft_ms,tpot_ms,flags
a,one,Llama-3.1-8B,H100,1,fp8,vLLM,1,1024,1024,4,online_serving,40,7,
b,one,Llama-3.1-8B,H100,1,fp8,vLLM,1,1024,1024,64,online_serving,120,12,
c,two,Llama-3.1-8B,H100,1,fp8,vLLM,1,1024,1024,64,online_serving,120,24,duplicate
d,two,No-Such-Model,H100,1,fp8,vLLM,1,1024,1024,64,online_serving,120,12,
e,two,Llama-3.1-8B,No-Such-Part,1,fp8,vLLM,1,1024,1024,64,online_serving,,12,
"""


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.delenv(ENVIRONMENT, raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.csv").write_text(TABLE, encoding="utf-8")
    return "mine.csv"


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


def test_it_prints_what_the_library_finds(cli: Run, table: str) -> None:
    done = cli("validate", "--data", table, "--by", "source,batch", "--json")
    assert done.returncode == 0, done.stderr
    document = ValidateDocument.model_validate_json(done.stdout)
    scores = rl.validate(table, by=("source", "batch"))
    assert (document.points, document.flagged) == (5, 1)
    assert document.provenance["data_sha256"] == scores.measured.digest
    assert len(document.rows) == len(scores.lines)
    for row, line in zip(document.rows, scores.lines, strict=True):
        assert (row["quantity"], row["group"], row["flagged"]) == (line.quantity, line.group, line.flagged)
        assert row["mdape"] == (line.rows.mdape if line.rows.n else None)
    assert [(one.reason, one.rows) for one in document.unpredicted] == [
        (one.reason, one.rows) for one in scores.unpredicted
    ]
    assert sum(one.rows for one in document.unpredicted) == 2


def test_the_same_table_gives_the_same_document(cli: Run, table: str) -> None:
    first, again = (cli("validate", "--data", table, "--json").stdout for _ in range(2))
    assert first == again


def test_rows_are_all_there_as_measured(cli: Run, table: str, tmp_path: Path) -> None:
    assert cli("validate", "--data", table, "--rows", "rows.csv").returncode == 0
    rows = rows_of(tmp_path / "rows.csv")
    assert [row["row_id"] for row in rows] == list("abcde")
    scores = rl.validate(table)
    for i, (row, point) in enumerate(zip(rows, scores.points, strict=True)):
        assert (row["source"], row["flags"]) == (point.source, point.flags)
        assert float(row["measured_tpot_s"]) == pytest.approx(1e-3 * (point.tpot_ms or math.nan))
        assert bool(row["reason"]) == (not row["predicted_tpot_s"])
        for name in FIELDS:
            value = scores.predicted_values[name][i]
            assert (float(row[f"predicted_{name}"]) if row[f"predicted_{name}"] else math.nan) == pytest.approx(
                value, rel=0, nan_ok=True
            )
    assert [row["row_id"] for row in rows if row["reason"]] == ["d", "e"]
    assert rows[0]["kind"] == rows[1]["kind"] == "closed"


def test_flagged_rows_have_a_table_of_their_own(cli: Run, table: str) -> None:
    done = cli("validate", "--data", table)
    assert done.returncode == 0, done.stderr
    clean, apart = done.stdout.split("1 rows with flags")
    assert "4 rows without flags" in clean
    assert "MdAPE" in apart
    assert "2 of 4" in clean  # of four rows with a TPOT two have a sheet for their model and part
    assert done.stdout.count("not predicted") == 2
    assert "sha256" in apart


def test_only_some_sources(cli: Run, table: str) -> None:
    document = ValidateDocument.model_validate_json(
        cli("validate", "--data", table, "--source", "one", "--json").stdout
    )
    assert (document.points, document.flagged, document.unpredicted) == (2, 0, [])


def test_files_of_each_kind(cli: Run, table: str, tmp_path: Path) -> None:
    for name in ("x.csv", "x.parquet", "x.png"):
        done = cli("validate", "--data", table, "--out", name)
        assert done.returncode == 0, done.stderr
        assert f"written to {name}" in done.stdout
        assert (tmp_path / name).stat().st_size > 200
    rows = rows_of(tmp_path / "x.csv")
    assert {row["data"] for row in rows} == {"mine.csv"}
    assert rows[0]["quantity"] == "tpot"
    assert cli("validate", "--data", table, "--rows", "r.parquet").returncode == 0
    assert (tmp_path / "r.parquet").is_file()


def test_the_shipped_table_is_used_where_none_is_named(table: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert data_file() == SHIPPED
    monkeypatch.setenv(ENVIRONMENT, table)
    assert data_file() == Path(table)
    assert data_file("other.csv") == Path("other.csv")
    assert len(rl.validate().points) == 5


def test_every_column_has_a_place_in_the_order() -> None:
    assert set(IMPORTANCE) <= set(HEADERS.values())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--data", "absent.csv"), "absent.csv: not a CSV file that can be read"),
        (("--data", "bad.csv"), "bad.csv:2: tpot_ms = 'fast': give a number"),
        (("--data", "short.csv"), "short.csv:1: no column gpu"),
        (("--source", "thre"), "mine.csv: no source named 'thre'; "),
        (("--by", "colour"), "by colour: rows are grouped by source, gpu, model, framework, batch"),
        (("--by", ","), "no grouping named"),
        (("--out", "x.nc"), "suffix .nc is not one of"),
        (("--rows", "x.png"), "suffix .png is not one of"),
        (("--rows", "no/such/x.csv"), "folder no/such does not exist"),
    ],
)
def test_bad_input_is_one_message(cli: Run, table: str, tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    head, first = TABLE.splitlines()[:2]
    (tmp_path / "bad.csv").write_text(f"{head}\n{first.replace(',7,', ',fast,')}\n", encoding="utf-8")
    (tmp_path / "short.csv").write_text("source,model,metric_kind\na,b,online_serving\n", encoding="utf-8")
    done = cli("validate", *(() if "--data" in words else ("--data", table)), *words)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") == 1
    assert said in done.stderr
