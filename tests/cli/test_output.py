"""Tables for people: what a terminal has room for is printed whole, the rest is counted; nothing empty is shown."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import roofline as rl
from roofline.cli import evaluate
from roofline.cli.output import print_cells
from tests.cli.conftest import Run

DECODE = ("decode", "llama-3.1-8b", "hgx-h100", "--recipe", "fp8", "--batch", "1,64", "--context", "2k")


@pytest.mark.parametrize("arguments", [DECODE, (*DECODE, "--json"), ("specs", "list")])
def test_a_full_disk_behind_stdout_is_one_message(arguments: tuple[str, ...], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "roofline.cli", *arguments]
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        done = subprocess.run(
            command, cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, text=True, timeout=120, check=False
        )
    assert done.returncode == 2
    assert done.stderr == "error: cannot write to stdout: No space left on device\n"


def test_too_little_memory_is_one_message(cli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def hungry(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(rl, "decode", hungry)
    done = cli(*DECODE)
    assert done.returncode == 2
    assert done.stderr.startswith("error: the grid needs more memory than there is: fewer")
    assert done.stderr.count("\n") == 1


def test_help_says_what_the_library_does(cli: Run) -> None:
    for command in ("decode", "prefill"):
        said = " ".join(cli(command, "--help").stdout.split())
        assert "Expert-parallel degrees; default 1" in said
    ds = rl.decode("mixtral-8x7b", "hgx-h100", tp=8, batch=1, context=1024)
    assert ds["ep"].values.tolist() == [1]
    explained = cli("explain", "--help").stdout
    assert ".csv" in explained
    assert ".nc" not in explained
    assert ".zarr" not in explained
    assert "powers of two up to what the system can join" in " ".join(cli("heatmap", "--help").stdout.split())


def test_widened_operands_are_named_only_where_there_are_some(cli: Run) -> None:
    assert "widened" not in cli(*DECODE).stdout
    base = ("decode", "llama-3.3-70b", "--tp", "8", "--batch", "1")
    assert "widened: attn, ffn" in cli(*base, "hgx-h100", "--recipe", "nvfp4").stdout
    both = cli(*base, "hgx-h100,hgx-b200", "--recipe", "nvfp4").stdout
    assert "widened" in both.splitlines()[1]


def test_limits_are_explained_under_the_table(cli: Run) -> None:
    base = ("decode", "llama-3.3-70b", "hgx-h100", "--recipe", "bf16", "--batch", "1,4")
    some = cli(*base, "--tp", "1,3,8")
    assert "memory: weights, KV cache and activations do not fit in memory (2 of 6 cells)" in some.stdout
    assert "heads: query heads do not divide by tp (2 of 6 cells)" in some.stdout
    assert "No cell runs" not in some.stdout
    none = cli(*base, "--tp", "1")
    assert none.returncode == 0
    assert none.stdout.startswith("No cell runs")
    assert "(2 of 2 cells)" in none.stdout
    assert "of 2 cells" not in cli(*base, "--tp", "8").stdout


def test_the_heatmap_table_counts_accelerators(cli: Run) -> None:
    done = cli("heatmap", "--model", "llama-3.1-8b", "--system", "hgx-h100", "--context", "2k", "--batch-per-gpu", "8")
    header, _, row = done.stdout.splitlines()[1:4]
    words = dict(
        zip((w.strip() for w in header.split("  ") if w), (w.strip() for w in row.split("  ") if w), strict=True)
    )
    degrees = [int(part.lstrip("tpd")) for part in words["deployment"].split()]
    assert int(words["GPUs"]) == max(degrees)


@pytest.mark.parametrize("columns", [40, 60, 80, 120])
def test_a_narrow_terminal_gets_fewer_columns_and_whole_values(
    columns: int, cli: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    wide = cli(*DECODE, "--tp", "1,8").stdout
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    narrow = [_plain(line) for line in cli(*DECODE, "--tp", "1,8").stdout.splitlines()]
    rule = next(i for i, line in enumerate(narrow) if line.startswith("───"))
    assert all(len(line) <= columns for line in narrow[: rule + 5])
    values = {word.strip() for line in wide.splitlines() for word in line.split("  ")}
    for line in [narrow[rule - 1], *narrow[rule + 1 : rule + 5]]:
        assert {word.strip() for word in line.split("  ")} <= values
    assert "TPOT" in narrow[rule - 1]
    shown = len([word for word in narrow[rule - 1].split("  ") if word.strip()])
    everything = len([word for word in wide.splitlines()[1].split("  ") if word.strip()])
    if shown < everything:
        said = f"{everything - shown} columns more: --json, --out x.csv or a wider terminal"
        assert narrow[rule + 5] == said.replace("1 columns", "1 column")


def test_prose_is_folded_and_numbers_are_not(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    rows = [["many words about one thing " * 3, "123456789.25 GB"]]
    print_cells(["what", "size"], rows, left=[True, False], title="", prose={"what"})
    printed = capsys.readouterr().out
    assert "123456789.25 GB" in printed
    assert "more" not in printed
    assert printed.count("many") == 3


def test_every_column_has_a_place_in_the_order() -> None:
    assert set(evaluate.IMPORTANCE) == set(evaluate.SHOWN)


def _plain(line: str) -> str:
    import re

    return re.sub(r"\x1b\[[0-9;]*m", "", line).rstrip()
