"""Commands end to end: what they print agrees with the library, bad input is one message and status 2."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import roofline as rl
from roofline.cli.documents import (
    CheckDocument,
    ExplainDocument,
    SheetContentDocument,
    SheetsDocument,
    TableDocument,
    WarmupDocument,
)
from tests.cli.conftest import Run

DECODE = ("decode", "llama-3.1-8b", "hgx-h100", "--recipe", "fp8", "--batch", "1,64", "--context", "2k")


def test_decode_prints_what_the_library_computes(cli: Run) -> None:
    done = cli(*DECODE, "--json")
    assert done.returncode == 0, done.stderr
    document = TableDocument.model_validate_json(done.stdout)
    ds = rl.rollup(rl.decode("llama-3.1-8b", "hgx-h100", "fp8", batch=[1, 64], context=[2048]), "accelerator")
    assert document.kind == "decode"
    assert [row["batch"] for row in document.rows] == [1, 64]
    for row in document.rows:
        for name in ("tpot", "tokens_per_s_per_gpu", "joules_per_token", "tokens_per_mwh", "memory"):
            assert row[name] == float(ds[name].sel(batch=row["batch"]).item())
    assert document.provenance["fidelity"] == "kernel"
    assert document.provenance["command"].startswith("roofline decode llama-3.1-8b")
    assert {column.name: column.unit for column in document.columns}["tpot"] == "s"


def test_boundary_basis_and_fidelity_reach_the_result(cli: Run) -> None:
    rows = {}
    for option in ("accelerator", "rack", "facility"):
        document = TableDocument.model_validate_json(cli(*DECODE, "--json", "--boundary", option).stdout)
        assert document.provenance["boundary"] == option
        rows[option] = document.rows[0]["joules_per_token_at_boundary"]
    assert rows["accelerator"] < rows["rack"] < rows["facility"]
    ideal = TableDocument.model_validate_json(cli(*DECODE, "--json", "--fidelity", "ideal").stdout)
    kernel = TableDocument.model_validate_json(cli(*DECODE, "--json", "--basis", "provisioned").stdout)
    assert kernel.provenance["basis"] == "provisioned"
    assert ideal.rows[0]["tpot"] < kernel.rows[0]["tpot"]


def test_the_table_for_people_names_what_its_numbers_mean(cli: Run) -> None:
    done = cli(*DECODE)
    assert done.returncode == 0
    assert done.stderr == ""
    for words in (
        "llama-3.1-8b",
        "TPOT",
        "tok/s/user",
        "tokens/MWh",
        "fidelity kernel",
        "boundary accelerator",
        "output tokens",
    ):
        assert words in done.stdout


def test_a_cell_that_does_not_fit_says_why_and_has_no_value(cli: Run) -> None:
    done = cli("decode", "llama-3.3-70b", "hgx-h100", "--recipe", "bf16", "--tp", "1,3", "--batch", "1", "--json")
    rows = TableDocument.model_validate_json(done.stdout).rows
    assert {row["tp"]: row["limit"] for row in rows} == {1: "memory", 3: "heads"}
    assert all(row["tpot"] is None for row in rows)


def test_prefill(cli: Run, tmp_path: Path) -> None:
    done = cli(
        "prefill", "llama-3.1-8b", "hgx-h100", "--recipe", "fp8", "--isl", "1k:4k:x2", "--chunk", "512", "--json"
    )
    rows = TableDocument.model_validate_json(done.stdout).rows
    ds = rl.prefill("llama-3.1-8b", "hgx-h100", "fp8", isl=[1024, 2048, 4096], chunk=512)
    np.testing.assert_array_equal([row["prefill_time"] for row in rows], ds["prefill_time"].values.ravel())
    assert TableDocument.model_validate_json(done.stdout).provenance["token_basis"] == "input"


@pytest.mark.parametrize("suffix", ["csv", "parquet", "nc", "zarr", "png", "svg"])
def test_out_by_suffix(cli: Run, tmp_path: Path, suffix: str) -> None:
    done = cli(*DECODE, "--out", f"x.{suffix}")
    assert done.returncode == 0, done.stderr
    assert f"written to x.{suffix}" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == [f"x.{suffix}"]


def test_a_csv_stands_alone(cli: Run, tmp_path: Path) -> None:
    cli(*DECODE, "--out", "x.csv")
    with (tmp_path / "x.csv").open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert len(rows) == 2
    for row in rows:
        assert (row["fidelity"], row["boundary"], row["basis"], row["token_basis"]) == (
            "kernel",
            "accelerator",
            "metered",
            "output",
        )
        assert "accelerator/h100-sxm=" in row["sheets"]
        assert float(row["tpot [s]"]) > 0


def test_explain_adds_up_and_names_sources(cli: Run) -> None:
    arguments = ("explain", "deepseek-r1", "gb300-nvl72", "--tp", "8", "--batch", "16", "--context", "4k")
    document = ExplainDocument.model_validate_json(cli(*arguments, "--json").stdout)
    ds = rl.decode("deepseek-r1", "gb300-nvl72", document.subject["recipe"], tp=8, batch=16, context=4096)
    total = sum(row.total_s for row in document.operations)
    assert total == pytest.approx(float(ds["step_time"].item()), rel=1e-9)
    assert sum(row.share for row in document.operations) == pytest.approx(1.0)
    assert all(row.source for row in document.operations)
    for row in document.operations:
        assert row.intensity is None or row.intensity == pytest.approx(row.flop / row.bytes)
    printed = cli(*arguments).stdout
    for words in ("experts", "FLOP/B", "eta_m", "measured:", "ridge points"):
        assert words in printed


def test_explain_draws_and_writes(cli: Run, tmp_path: Path) -> None:
    base = ("explain", "llama-3.1-8b", "hgx-h100", "--isl", "2k")
    assert cli(*base, "--out", "r.png").returncode == 0
    assert (tmp_path / "r.png").read_bytes().startswith(b"\x89PNG")
    assert cli(*base, "--out", "r.csv").returncode == 0
    header = (tmp_path / "r.csv").read_text(encoding="utf-8").splitlines()[0]
    assert header.startswith("model,system,recipe,deployment")
    assert "time_s [s]" in header


def test_heatmap_small(cli: Run, tmp_path: Path) -> None:
    arguments = (
        "heatmap",
        "--model",
        "llama-3.1-8b",
        "--system",
        "hgx-h100,vr-nvl72",
        "--context",
        "2k,8k",
        "--batch-per-gpu",
        "1:64:x4",
    )
    done = cli(*arguments)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "roofline-heatmap.png").read_bytes().startswith(b"\x89PNG")
    assert "every cell: roofline-heatmap.png" in done.stdout
    document = TableDocument.model_validate_json(cli(*arguments, "--out", "h.csv", "--json").stdout)
    with (tmp_path / "h.csv").open(encoding="utf-8", newline="") as handle:
        cells = list(csv.DictReader(handle))
    assert {cell["batch_per_gpu"] for cell in cells} == {"1", "4", "16", "64"}
    for row in document.rows:
        mine = [float(c["tokens_per_mwh [1/MWh]"] or 0) for c in cells if c["system"] == row["system"]]
        assert row["tokens_per_mwh"] == max(mine)
        assert row["tokens_per_mwh"] * row["joules_per_token_at_boundary"] == pytest.approx(3.6e9)
    assert {row["system"]: row["system_grade"] for row in document.rows}["vr-nvl72"] == "estimated"


def test_specs_list_show_check(cli: Run, tmp_path: Path) -> None:
    listed = SheetsDocument.model_validate_json(cli("specs", "list", "--json").stdout).sheets
    assert {"accelerator", "system", "facility", "efficiency", "model", "prices", "recipe", "stack"} == {
        sheet.kind for sheet in listed
    }
    assert all(Path(sheet.file).is_file() and sheet.name for sheet in listed)
    shown = SheetContentDocument.model_validate_json(cli("specs", "show", "h100", "--json").stdout)
    assert shown.id == "h100-sxm"
    assert shown.sheet["memory"]["bytes_per_s"] == 3.35e12
    printed = cli("specs", "show", "hgx-h100").stdout
    assert "scale_up.domain" in printed
    checked = CheckDocument.model_validate_json(cli("specs", "check", "--json").stdout)
    assert checked.checked == len(listed)
    assert [finding for finding in checked.findings if finding.severity == "error"] == []


def test_specs_check_of_a_wrong_sheet_fails_and_places_it(cli: Run, tmp_path: Path) -> None:
    folder = tmp_path / "facilities"
    folder.mkdir()
    (folder / "hut.yaml").write_text("name: Hut\ncooling: air\npue: 0.5\n", encoding="utf-8")
    done = cli("specs", "check", str(folder))
    assert done.returncode == 2
    assert "hut.yaml:3: pue" in done.stdout
    assert "Traceback" not in done.stderr


def test_a_user_s_sheets_go_first(cli: Run, tmp_path: Path) -> None:
    folder = tmp_path / "mine" / "facilities"
    folder.mkdir(parents=True)
    sheet = "name: Iceland\ncooling: air\npue: 1.01\nsources: {pue: {ref: a made-up site, grade: estimated}}\n"
    (folder / "air.yaml").write_text(sheet, encoding="utf-8")
    base = (*DECODE, "--boundary", "facility", "--json")
    mine = TableDocument.model_validate_json(cli(*base, "--specs", "mine").stdout).rows[0]
    theirs = TableDocument.model_validate_json(cli(*base).stdout).rows[0]
    assert mine["tpot"] == theirs["tpot"]
    assert mine["joules_per_token_at_boundary"] < theirs["joules_per_token_at_boundary"]


def test_warmup_says_where_the_kernels_are_kept(cli: Run) -> None:
    document = WarmupDocument.model_validate_json(cli("warmup", "--json").stdout)
    assert document.seconds > 0
    assert document.cache == "" or Path(document.cache).is_dir()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("decode", "lama-3.1-8b", "hgx-h100"), ["lama-3.1-8b", "did you mean llama-3.1-8b"]),
        (("decode", "llama-3.1-8b", "hgx-h101"), ["hgx-h101", "did you mean"]),
        (("decode", "llama-3.1-8b", "hgx-h100", "--recipe", "fp9"), ["fp9"]),
        (("decode", "llama-3.1-8b", "hgx-h100", "--batch", "0"), ["--batch", "below 1"]),
        (("decode", "llama-3.1-8b", "hgx-h100", "--batch", "-4"), ["--batch"]),
        (("decode", "llama-3.1-8b", "hgx-h100", "--batch", "1.5"), ["--batch", "whole number"]),
        (("decode", "llama-3.1-8b", "hgx-h100", "--context", "nan"), ["--context", "whole number"]),
        (("decode", "llama-3.1-8b", "hgx-h100", "--tp", "x"), ["--tp"]),
        (
            ("decode", "llama-3.1-8b", "hgx-h100", "--out", "x.xlsx"),
            [".xlsx", ".csv", ".parquet", ".nc", ".zarr", ".png"],
        ),
        (("decode", "llama-3.1-8b", "hgx-h100", "--out", "no/such/x.csv"), ["no/such", "does not exist"]),
        (("decode", "llama-3.1-8b", "hgx-h100", "--out", "/proc/x.csv"), ["/proc/x.csv", "cannot write"]),
        (("decode", "llama-3.1-8b", "hgx-h100", "--specs", "nowhere"), ["--specs nowhere", "not a folder"]),
        (("decode", "llama-3.1-8b", "hgx-h100", "--fidelity", "magic"), ["magic", "ideal"]),
        (("decode", "llama-3.1-8b"), ["SYSTEM"]),
        (("prefill", "llama-3.1-8b", "hgx-h100", "--isl", "1k", "--cached", "1024"), ["cached"]),
        (("explain", "llama-3.3-70b", "hgx-h100"), ["do not fit in memory"]),
        (("explain", "llama-3.1-8b", "hgx-h100", "--context", "1,2"), ["--context 1,2", "one value"]),
        (("explain", "llama-3.1-8b", "hgx-h100", "--context", "1", "--isl", "2"), ["--context", "--isl"]),
        (("explain", "llama-3.1-8b", "hgx-h100", "--out", "x.nc"), [".nc", ".csv", ".png"]),
        (("heatmap", "--system", "hgx"), ["hgx"]),
        (("specs", "show", "nothing-like-it"), ["nothing-like-it"]),
        (("specs", "list", "planets"), ["planets"]),
        (("specs", "check", "no-such-file.yaml"), ["no-such-file.yaml"]),
    ],
)
def test_bad_input_is_one_message_and_status_2(
    cli: Run, tmp_path: Path, arguments: tuple[str, ...], words: list[str]
) -> None:
    done = cli(*arguments)
    assert done.returncode == 2, (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr
    assert not list(tmp_path.iterdir())


def test_help_names_every_command(cli: Run) -> None:
    said = cli("--help").stdout
    for command in ("decode", "prefill", "explain", "heatmap", "warmup", "specs"):
        assert command in said
    assert cli("--version").stdout == f"roofline {rl.__version__}\n"


def test_a_process_of_its_own_exits_as_documented(tmp_path: Path) -> None:
    def status(*arguments: str) -> tuple[int, str]:
        command = [sys.executable, "-W", "error", "-m", "roofline.cli", *arguments]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
        assert "Traceback" not in done.stderr
        return done.returncode, done.stdout

    assert status("decode", "llama-3.1-8b", "no-such-system") == (2, "")
    code, printed = status(*DECODE, "--json")
    assert code == 0
    assert TableDocument.model_validate_json(printed).provenance["command"] == f"roofline {' '.join(DECODE)} --json"


def test_a_reader_that_stops_reading_is_no_error(tmp_path: Path) -> None:
    # More than a pipe holds, so that the writer is still writing when the reader is gone.
    arguments = "decode llama-3.1-8b hgx-h100 --recipe fp8 --batch 1:64 --context 1k:16k:1k --json"
    command = ["bash", "-c", f"{sys.executable} -m roofline.cli {arguments} | head -c 10"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == '{\n  "kind"'
    assert done.stderr == ""


def test_json_is_one_document_on_stdout(cli: Run) -> None:
    done = cli(*DECODE, "--json", "--out", "x.csv")
    document: dict[str, Any] = json.loads(done.stdout)
    assert document["file"] == "x.csv"
    assert done.stderr == ""
