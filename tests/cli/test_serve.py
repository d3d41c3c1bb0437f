"""`roofline serve` prints what the library computes, and refuses what it cannot mean."""

from __future__ import annotations

import pytest

import roofline as rl
from roofline.cli.documents import TableDocument
from roofline.serving import Lognormal, Workload
from tests.cli.conftest import Run

SERVE = ("serve", "llama-3.1-8b", "hgx-h100", "--recipe", "fp8", "--workload", "1k/256", "--spread", "0.5")


def test_serve_prints_what_the_library_computes(cli: Run) -> None:
    done = cli(*SERVE, "--concurrency", "1,32", "--boundary", "facility", "--json")
    assert done.returncode == 0, done.stderr
    document = TableDocument.model_validate_json(done.stdout)
    work = Workload(Lognormal(1024, 0.5), Lognormal(256, 0.5))
    ds = rl.rollup(rl.serve("llama-3.1-8b", "hgx-h100", "fp8", workload=work, concurrency=[1, 32]), "facility")
    assert document.kind == "serve"
    assert document.provenance["fidelity"] == "serving"
    for row in document.rows:
        for name in ("ttft", "tpot", "tokens_per_mwh"):
            assert row[name] == float(ds[name].sel(concurrency=row["concurrency"]).item())


def test_a_rate_has_percentiles_and_doubts_in_the_table(cli: Run, tmp_path) -> None:
    done = cli(*SERVE, "--rate", "5,1000", "--slots", "64", "--out", "served.csv")
    assert done.returncode == 0, done.stderr
    assert "TTFT p99" in done.stdout
    assert "unstable" in done.stdout
    assert len((tmp_path / "served.csv").read_text().splitlines()) == 3


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (("--concurrency", "1", "--rate", "2"), "give either concurrency"),
        (("--workload", "8k//1k"), "8k//1k"),
        (("--workload", "nothing.csv"), "nothing.csv"),
        (("--rate", "fast"), "--rate fast: 'fast' is not a number"),
        (("--stack", "sglangg"), "no stack named 'sglangg'; did you mean sglang"),
        (("--out", "x.png"), "suffix .png is not one of"),
        (("--cached", "4k"), ""),
    ],
)
def test_bad_input_is_one_message(cli: Run, bad: tuple[str, ...], said: str) -> None:
    done = cli(*SERVE, *bad)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert said in done.stderr
