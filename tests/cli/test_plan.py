"""`roofline plan` prints what the library finds, in words where nothing is found, and refuses what it cannot mean."""

from __future__ import annotations

import csv
import shlex
from pathlib import Path

import pytest

import roofline as rl
from roofline.cli import options
from roofline.cli.asked import seconds, slos
from roofline.cli.choices import thinned
from roofline.cli.documents import ExplainDocument, TableDocument
from roofline.planning.choose import MODES
from roofline.planning.objective import OBJECTIVES
from roofline.serving import Lognormal, Workload
from tests.cli.conftest import Run

PLAN = ("plan", "llama-3.1-8b", "hgx-h100", "--recipe", "fp8", "--workload", "8k/1k")


def test_plan_prints_what_the_library_finds(cli: Run) -> None:
    spread = ("--spread", "0.5", "--duty", "0.6", "--chunk", "2048", "--mode", "aggregated", "--mode", "disaggregated")
    done = cli(
        *PLAN, *spread, "--ttft", "2", "--tpot", "20ms", "--percentile", "ttft=90", "--boundary", "rack", "--json"
    )
    assert done.returncode == 0, done.stderr
    document = TableDocument.model_validate_json(done.stdout)
    ds = rl.plan(
        "llama-3.1-8b",
        "hgx-h100",
        "fp8",
        workload=Workload(Lognormal(8192, 0.5), Lognormal(1024, 0.5), load=0.6),
        slo=rl.SLO(ttft_s=2.0, tpot_s=0.02, percentile={"ttft": 90}),
        modes=["aggregated", "disaggregated"],
        chunk=2048,
        boundary="rack",
    )
    assert document.kind == "plan"
    assert (document.provenance["fidelity"], document.provenance["objective"]) == ("serving", "tokens_per_mwh")
    (row,) = document.rows
    for name in ("tokens_per_mwh", "ttft", "tpot", "batch", "accelerators", "memory_share", "decode_replicas"):
        assert row[name] == float(ds[name].item())
    for name in ("mode", "deployment", "recipe", "prefill_deployment"):
        assert row[name] == ds[name].item()


def test_the_table_says_what_serves_and_the_command_takes_it_apart(cli: Run) -> None:
    limits = ("--ttft", "2", "--tpot", "0.02")
    table, document = cli(*PLAN, *limits), cli(*PLAN, *limits, "--json")
    row = TableDocument.model_validate_json(document.stdout).rows[0]
    assert row["mode"] == "disaggregated"
    first = f"{row['prefill_replicas']:.0f}x {row['prefill_deployment']}"
    pools = f"{first} + {row['decode_replicas']:.0f}x {row['deployment']}"
    for words in (pools, "model llama-3.1-8b", "slo ttft 2 s, tpot 0.02 s", "boundary facility", "candidates decided"):
        assert words in table.stdout
    line = next(line for line in table.stdout.splitlines() if line.startswith("take it apart: "))
    program, *words = shlex.split(line.removeprefix("take it apart: "))
    assert program == "roofline"
    apart = ExplainDocument.model_validate_json(cli(*words, "--json").stdout)
    assert apart.subject["deployment"] == row["deployment"]
    assert (apart.subject["batch"], apart.subject["recipe"]) == (row["batch"], "fp8")
    assert apart.subject["context"] == round(Workload.of("8k/1k").mean_context)
    step = sum(operation.total_s for operation in apart.operations)
    assert step <= row["tpot"] < 1.2 * step + 0.01  # what the host adds, and contexts about the mean


def test_drafts_reach_the_command(cli: Run) -> None:
    done = cli("plan", "deepseek-r1", "hgx-h200", "--acceptance", "0.9", "--tpot", "50ms", "--mode", "aggregated")
    assert done.returncode == 0, done.stderr
    line = next(line for line in done.stdout.splitlines() if line.startswith("take it apart: "))
    assert "--drafts 1 --acceptance 0.9" in line
    assert cli(*shlex.split(line.removeprefix("take it apart: roofline "))).returncode == 0


def test_what_meets_no_limit_and_what_runs_nowhere_say_so_in_words(cli: Run, tmp_path: Path) -> None:
    done = cli(
        *("plan", "llama-3.1-8b,deepseek-r1", "hgx-h100,groq3-lpx", "--mode", "aggregated"),
        *("--slo", "ttft=0.001", "--slo", "none", "--out", "x.csv"),
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert sum("x over its limit" in line and "TTFT" in line for line in lines) == 2
    assert any(line.startswith("memory: weights, KV cache") for line in lines)
    assert any(line.startswith("power: the power of the part") for line in lines)
    assert any(line.startswith("groq3-lpx: no power or energy, undisclosed") for line in lines)
    with (tmp_path / "x.csv").open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert len(rows) == 8
    missed = next(row for row in rows if row["nearest_miss"])
    assert (missed["nearest_miss"], missed["mode"], missed["tpot [s]"]) == ("ttft", "", "")
    assert float(missed["nearest_factor"]) > 1.0
    for row in rows:
        assert (row["fidelity"], row["objective"], row["stack"]) == ("serving", "tokens_per_mwh", "default")
        assert row["command"].startswith("roofline plan ")


def test_nothing_at_all_has_no_command_to_take_it_apart(cli: Run) -> None:
    done = cli("plan", "llama-3.1-8b", "groq3-lpx")
    assert done.returncode == 0
    assert "take it apart" not in done.stdout
    assert "power" in done.stdout


def test_accelerators_for_a_load(cli: Run) -> None:
    done = cli(*PLAN, "--tpot", "20ms", "--objective", "min_gpus", "--rate", "40", "--json")
    (row,) = TableDocument.model_validate_json(done.stdout).rows
    assert row["total_accelerators"] == row["replicas"] * row["accelerators"]
    assert row["replicas"] * row["request_rate"] >= 40.0
    assert "all GPUs" in cli(*PLAN, "--tpot", "20ms", "--objective", "min_gpus", "--rate", "40").stdout


def test_another_system_may_compute_prompts(cli: Run) -> None:
    cheap = ("--objective", "tokens_per_s_per_gpu", "--mode", "disaggregated", "--tpot", "20ms")
    done = cli(*PLAN, *cheap, "--prefill-system", "hgx-b200")
    assert done.returncode == 0, done.stderr
    assert " on dgx-b200 + " in done.stdout


@pytest.mark.parametrize("suffix", ["csv", "parquet", "nc", "zarr"])
def test_out_by_suffix(cli: Run, tmp_path: Path, suffix: str) -> None:
    done = cli(*PLAN, "--slo", "tpot=20ms", "--slo", "none", "--mode", "static", "--out", f"x.{suffix}")
    assert done.returncode == 0, done.stderr
    assert f"written to x.{suffix}" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == [f"x.{suffix}"]


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (("--ttft", "0"), "--ttft 0: '0' is no time above 0; write seconds as 2 or 0.02, or 20ms"),
        (("--tpot", "fast"), "--tpot fast: 'fast' is no time above 0"),
        (("--ttft", "2", "--slo", "tpot=1"), "--ttft and --slo: give one of them; e.g. --slo ttft=2"),
        (("--slo", "ttf=2"), "--slo ttf=2: no limit named 'ttf'; did you mean ttft"),
        (("--slo", "2"), "'2' is no limit; write it as ttft=2,tpot=20ms"),
        (("--slo", "ttft=2,ttft=3"), "ttft is given twice"),
        (("--slo", "ttft=2,percentile=most"), "'most' is not a number; write a percentile as 99"),
        (("--percentile", "99"), "--percentile 99: of no limit; give --ttft, --tpot or --latency too"),
        (("--ttft", "2", "--percentile", "100"), "percentile = 100.0: give a number above 0 and below 100"),
        (("--objective", "min_gpus"), "--objective min_gpus: for which load? give requests a second: --rate 20"),
        (("--objective", "best"), "'best' is not one of"),
        (("--mode", "both"), "'both' is not one of"),
        (("--mode", "attention_ffn"), "ffn_systems"),
        (("--rate", "0"), "rate = 0.0"),
        (("--acceptance", "2"), "2 is not a share from 0 to 1"),
        (("--workload", "8k//1k"), "8k//1k"),
        (("--workload", "8k/1"), "osl = 1: nothing is decoded"),
        (("--duty", "2"), "load = 2.0: give a share from 0 to 1"),
        (("--chunk", "0"), "--chunk 0: 0 is below 1"),
        (("--prefill-system", "h10"), "no system or accelerator named 'h10'"),
        (("--stack", "sglangg"), "no stack named 'sglangg'; did you mean sglang"),
        (("--out", "x.png"), "suffix .png is not one of"),
    ],
)
def test_bad_input_is_one_message(cli: Run, bad: tuple[str, ...], said: str) -> None:
    done = cli(*PLAN, *bad)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert said in done.stderr


def test_options_name_what_the_library_knows() -> None:
    assert [one.value for one in options.Objective] == list(OBJECTIVES)
    assert [one.value for one in options.Mode] == list(MODES)
    assert [one.value for one in options.UnitMode] == [mode for mode in MODES if mode != "attention_ffn"]


def test_limits_as_people_write_them() -> None:
    assert seconds("20ms", "--tpot") == pytest.approx(0.02)
    assert seconds(".5 s", "--tpot") == 0.5
    assert slos(None, None, None, None, None) == [rl.SLO()]
    assert slos(None, None, None, None, ["none", "latency=30, percentile=95"]) == [
        rl.SLO(),
        rl.SLO(latency_s=30.0, percentile=95.0),
    ]
    assert slos("2", "20ms", None, "99", None) == [rl.SLO(ttft_s=2.0, tpot_s=0.02, percentile=99.0)]


def test_a_long_line_is_thinned_evenly_with_both_ends() -> None:
    rows = [{"system": system, "point": n} for system in "ab" for n in range(100)]
    kept = thinned(rows, ["system"], 5)
    assert [row["point"] for row in kept if row["system"] == "a"] == [0, 25, 50, 74, 99]
    assert len(kept) == 10
    assert thinned(rows, ["system"], 100) == rows


def test_a_sheet_of_ones_own_is_named_as_it_was_typed(cli: Run, tmp_path: Path) -> None:
    shipped = Path(rl.__file__).parent.parent / "model_specs" / "llama-3.1-8b.yaml"
    (tmp_path / "our model.yaml").write_text(shipped.read_text(encoding="utf-8"), encoding="utf-8")
    done = cli("plan", "our model.yaml", "hgx-h100", "--recipe", "fp8", "--tpot", "20ms", "--mode", "static")
    assert done.returncode == 0, done.stderr
    line = next(line for line in done.stdout.splitlines() if line.startswith("take it apart: "))
    assert "'our model.yaml'" in line
    assert cli(*shlex.split(line.removeprefix("take it apart: roofline "))).returncode == 0
