"""`roofline compare` as a user runs it."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from roofline.cli.compare import compare
from roofline.cli.compare_documents import CompareDocument
from roofline.errors import InputError

app = typer.Typer(pretty_exceptions_enable=False)
app.command("compare")(compare)


@app.callback()
def _root() -> None:
    """As in the program, a command among others."""


ASKED = (
    *("compare", "dgx-h100", "dgx-h200", "--model", "llama-3.1-8b", "--isl", "512", "--osl", "128"),
    *("--interactivity", "20,60,120", "--at", "60", "--max-accelerators", "1"),
)
LEVERS = ("--levers", "silicon,interconnect,facility")


def run(*words: str) -> str:
    """What a command prints. An error that a user can mend is raised."""
    done = CliRunner().invoke(app, list(words), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_it_prints_the_curve_and_the_factors() -> None:
    said = run(*ASKED, *LEVERS, "--price", "1.3,1.41")
    assert "HGX H200 (new) over HGX H100 (old), llama-3.1-8b, ISL/OSL 512/128" in said
    assert "at 60 tokens/s of a user: factors that multiply to it" in said
    assert "served by: what is best for tokens/MWh" in said
    for word in ("tokens/MWh", "tokens/USD", "silicon", "aggregated alone", "boundary facility", "metered"):
        assert word in said


def test_json_is_the_published_document() -> None:
    found = CompareDocument.model_validate_json(run(*ASKED, *LEVERS, "--json"))
    assert found.kind == "compare"
    assert found.interactivity == [20, 60, 120]
    assert found.at == found.at_reported == 60
    assert found.ratio is not None
    factors = [row.factor for row in found.factors if row.factor is not None]
    assert math.isclose(math.prod(factors), found.ratio, rel_tol=1e-9)
    assert len(found.mixtures) == 2 ** len(found.factors)
    assert found.mixtures[0].moved == []
    first, last = found.mixtures[0].value, found.mixtures[-1].value
    assert first is not None
    assert last is not None
    assert math.isclose(last / first, found.ratio, rel_tol=1e-12)
    assert len(found.rows) == 6
    assert found.provenance["measure"] == "tokens_per_mwh"
    assert all(len(one.ratio) == 3 for one in found.baselines)
    assert found.claim is None


def test_the_curve_alone() -> None:
    found = json.loads(run(*ASKED, "--curve-only", "--json"))
    assert found["factors"] == found["mixtures"] == []
    assert found["ratio"] is None


def test_a_mixture_that_misses_the_limits_is_named() -> None:
    words = [*ASKED]
    words[words.index("--at") + 1] = "5000"
    said = run(*words, *LEVERS)
    assert "undefined at 5000: old: tpot" in said
    assert "at 120 tokens/s of a user" in said
    assert run(*words, *LEVERS, "--interactivity", "5000").count("no factors: no interactivity up to 5000") == 1


def test_files_by_suffix(tmp_path: Path) -> None:
    run(*ASKED, *LEVERS, "--out", str(tmp_path / "x.csv"))
    with (tmp_path / "x.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["side"] for row in rows] == ["old"] * 3 + ["new"] * 3
    assert {row["boundary"] for row in rows} == {"facility"}
    with (tmp_path / "x-factors.csv").open(encoding="utf-8") as file:
        factors = list(csv.DictReader(file))
    product = math.prod(float(row["factor"]) for row in factors)
    assert math.isclose(product, float(factors[0]["ratio"]), rel_tol=1e-9)
    assert {row["at_reported [1/s]"] for row in factors} == {"60.0"}
    run(*ASKED, *LEVERS, "--out", str(tmp_path / "x.png"))
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")


def test_sides_may_serve_differently() -> None:
    words = ("--old-mode", "aggregated", "--mode", "disaggregated", "--mode", "aggregated", "--curve-only", "--json")
    found = json.loads(run(*ASKED, *words, "--percentile", "90", "--one-domain"))
    assert found["provenance"]["modes"] == "old aggregated; new aggregated, disaggregated"
    assert found["provenance"]["across_domains"] == "no"
    slower = [row["tpot [s]"] if "tpot [s]" in row else row["tpot"] for row in found["rows"] if row["mode"]]
    assert all(tpot <= 1 / 20 for tpot in slower)


def test_a_study_of_ones_own(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text(
        """
name: H200 over H100
claim:
  says: 1.4 times the tokens
  source: nowhere
  tokens: output
  old: {tokens_per_s_per_gpu: 1000, provisioned_w: 1730, usd_per_hour: 1.3}
  new: {tokens_per_s_per_gpu: 1400, provisioned_w: 1730, usd_per_hour: 1.41}
  ratios: {tokens_per_mwh: 1.4, tokens_per_usd: 1.3}
  factors: {silicon: 1.4}
compare: {old: dgx-h100, new: dgx-h200, model: llama-3.1-8b, isl: 512, osl: 128, levers: [silicon, interconnect]}
""",
        encoding="utf-8",
    )
    words = ("compare", "--study", str(own), "--interactivity", "20,60,120", "--at", "60", "--max-accelerators", "1")
    said = run(*words)
    for word in ("claim: 1.4 times the tokens", "1400 / 1000", "factors beside the published ones", "source: nowhere"):
        assert word in said
    found = CompareDocument.model_validate_json(run(*words, "--json"))
    assert found.claim is not None
    assert found.claim.sums[0].value == pytest.approx(1.4)
    assert found.claim.factors["silicon"][1] == 1.4
    assert [place.value for place in found.claim.places] == [1.4, 1.3, 1000, 1400]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("compare", "dgx-h100"), "give two systems, the old one first"),
        (("compare", "dgx-h100", "dgx-h200"), "--model: missing"),
        ((*ASKED, "--isl", "1k,2k"), "--isl 1k,2k: give one length"),
        ((*ASKED, "--price", "1.3"), "--price 1.3: give USD per accelerator-hour of both"),
        ((*ASKED, "--price", "1.3,-1"), "--price 1.3,-1: give USD per accelerator-hour of both, above 0"),
        ((*ASKED, "--price", "1.3,cheap"), "--price 1.3,cheap: give USD per accelerator-hour of both, above 0"),
        ((*ASKED, "--price", "1.3,1.4", "--tier", "neocloud"), "leave one of them out"),
        ((*ASKED, "--prices", "mine"), "no prices named 'mine'"),
        ((*ASKED, "--levers", "flops,silicon"), "name one of them"),
        ((*ASKED, "--old-acceptance", "often"), "--old-acceptance often"),
        ((*ASKED, "--out", "x.doc"), "suffix .doc"),
        ((*ASKED, "--study", "gb300-over-hopper"), "OLD: the study says it"),
        (("compare", "--study", "rubin-lpx", "--price", "1,2"), "--price: the study says it"),
        (("compare", "--study", "no-such"), "no study named 'no-such'"),
        (("compare", "dgx-h100", "ironwood-rack", *ASKED[3:], "--measure", "tokens_per_usd"), "usd_per_hour .--price."),
    ],
)
def test_bad_input_says_what_is_wrong(words: tuple[str, ...], said: str) -> None:
    with pytest.raises(InputError, match=said):
        run(*words)
