"""Every benchmark runs and writes what its README promises. Nothing timed is asserted."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.__main__ import CASES, quantity, share
from bench.shapes import FULL, TINY, blocks

ROOT = Path(__file__).parent.parent.parent


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bench", *arguments], cwd=ROOT, capture_output=True, text=True, check=False, timeout=600
    )


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    path = tmp_path_factory.mktemp("bench") / "tiny.json"
    done = bench("--tiny", "--out", str(path))
    assert done.returncode == 0, done.stderr
    assert "ratios of this run" in done.stdout
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document


def rows_of(result: dict[str, Any], case: str) -> list[dict[str, Any]]:
    return [row for row in result["rows"] if row["case"].startswith(case)]


def test_every_row_has_figures_or_says_why_not(result: dict[str, Any]) -> None:
    assert result["tiny"] is True
    for row in result["rows"]:
        if row["skipped"]:
            assert row["median"] is None
            continue
        low, high = row["spread"]
        assert 0 < low <= row["median"] <= high < math.inf
        assert row["unit"]
        assert row["repeats"] >= 1
        assert all(0 < ratio < math.inf for ratio in row["ratios"].values())


@pytest.mark.parametrize(
    "case",
    [
        "new process",
        "compile",
        "peak memory",
        "plain Python",
        "memory fill",
        "decode",
        "rl.decode",
        "prefill",
        "every model",
        "plan, ",
        "plan of the zoo",
    ],
)
def test_every_case_is_measured(result: dict[str, Any], case: str) -> None:
    found = rows_of(result, case)
    assert found
    assert not any(row["skipped"] for row in found)


def test_heatmap_is_skipped_with_a_reason_where_it_is_small(result: dict[str, Any]) -> None:
    (row,) = rows_of(result, "roofline heatmap")
    assert "--tiny" in row["skipped"]


def test_decode_has_both_fidelities_and_both_yardsticks(result: dict[str, Any]) -> None:
    found = rows_of(result, "decode, ")
    for fidelity in ("kernel", "ideal"):
        for variables in ("step", "eight", "as labelled"):
            threads = [row["phase"] for row in found if row["case"] == f"decode, {fidelity}, {variables}"]
            assert "1 thread" in threads
            assert len(threads) == 2
    assert all(set(row["ratios"]) == {"of memory fill", "times plain Python"} for row in found)


def test_a_plan_is_beside_an_unpruned_search_and_plain_python(result: dict[str, Any]) -> None:
    found = [row for row in rows_of(result, "plan, ") if row["phase"] == "1 thread"]
    ends = {name: [row for row in found if row["case"].endswith(name)] for name in ("decided", "evaluated", "computed")}
    assert all(len(rows) == 1 for rows in ends.values())
    assert "times pruned" in ends["computed"][0]["ratios"]
    for name in ("decided", "evaluated"):
        assert set(ends[name][0]["ratios"]) == {"times plain Python"}
        assert ends[name][0]["parameters"]["candidates"] > 0
    assert ends["evaluated"][0]["median"] <= ends["decided"][0]["median"]
    (zoo,) = rows_of(result, "plan of the zoo")
    assert zoo["parameters"]["candidates decided"] > 0


def test_every_cell_of_a_sweep_has_a_value(result: dict[str, Any]) -> None:
    assert {row["parameters"]["have a value"] for row in rows_of(result, "decode, ")} == {1.0}


def test_the_machine_is_named(result: dict[str, Any]) -> None:
    facts = result["machine"]
    assert {"cpu", "cores", "python", "numpy", "numba", "roofline", "kernels", "date"} <= set(facts)
    assert all(facts.values())


def test_the_baseline_is_a_full_run_of_every_case(result: dict[str, Any]) -> None:
    baseline = json.loads((ROOT / "bench" / "results" / "baseline.json").read_text(encoding="utf-8"))
    assert baseline["tiny"] is False
    assert set(baseline["machine"]) == set(result["machine"])
    assert not any(row["skipped"] for row in baseline["rows"])
    named = {(row["case"], row["phase"]) for row in baseline["rows"]}
    tiny = {(row["case"], row["phase"]) for row in result["rows"] if "threads" not in row["phase"]}
    assert tiny <= named


@pytest.mark.parametrize("arguments", [("--case", "decod"), ("--repeats", "0"), ("--out", "no/such/folder/x.json")])
def test_bad_arguments_are_refused(arguments: tuple[str, str]) -> None:
    done = bench(*arguments)
    assert done.returncode == 2
    assert arguments[0] in done.stderr
    assert "Traceback" not in done.stderr


def test_blocks_are_split_without_losing_cells() -> None:
    (block, *_) = blocks(TINY, "kernel")
    pieces = list(block.split(1 << 24))
    assert len(pieces) == block.batch.shape[0] > 1
    assert sum(piece.cells for piece in pieces) == block.cells


def test_the_full_sweep_has_all_kinds_of_attention() -> None:
    assert len(FULL.models) == len(set(FULL.models)) == 11
    assert {"gemma-3-27b", "deepseek-r1", "gpt-oss-120b"} <= set(FULL.models)


def test_figures_are_printed_for_people() -> None:
    assert quantity(0.0123, "s") == "12.3 ms"
    assert quantity(1.5e9, "cells/s") == "1.5 Gcells/s"
    assert quantity(12.0, "cells/s") == "12 cells/s"
    assert share(0.861, "of memory fill") == "86.1 % of memory fill"
    assert share(12.34, "times plain Python") == "12.3 times plain Python"


def test_cases_are_named_once() -> None:
    assert len(CASES) == len(set(CASES))
