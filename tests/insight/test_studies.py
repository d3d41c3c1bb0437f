"""Shipped claims: their arithmetic by hand, where they sit on a curve, and what a bad study says."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roofline.errors import InputError
from roofline.insight.mixtures import Side
from roofline.insight.studies import Rerun, crossings, names, rerun, study, sums
from roofline.specs import Model

SMALL: dict[str, Any] = {
    "name": "H200 over H100",
    "claim": {
        "says": "1.4 times the tokens",
        "source": "nowhere",
        "tokens": "output",
        "old": {"tokens_per_s_per_gpu": 1000, "provisioned_w": 1000, "usd_per_hour": 1.0},
        "new": {"tokens_per_s_per_gpu": 3000, "provisioned_w": 1500, "usd_per_hour": 2.0},
        "ratios": {"tokens_per_mwh": 2.0},
        "vintages": {"later": [500, 1500]},
        "factors": {"silicon": 1.4},
    },
    "compare": {
        "old": "dgx-h100", "new": "dgx-h200", "model": "llama-3.1-8b", "isl": 512, "osl": 128, "at": 100,
        "interactivity": [50, 100, 200], "most_accelerators": 1, "levers": ["silicon", "interconnect", "facility"],
    },
    "ratios_sought": [1.01],
}  # fmt: skip


@pytest.mark.parametrize("name", names())
def test_shipped_studies_name_what_there_is(name: str) -> None:
    one = study(name)
    assert Model.load(one.compare["model"]).id
    assert Side.of(one.compare["old"]).system.id != Side.of(one.compare["new"]).system.id
    assert "tokens_per_mwh" in one.claim.ratios
    assert one.claim.notes


def test_the_arithmetic_of_50_and_35() -> None:
    found = {line.what: line for line in sums(study("gb300-over-hopper").claim)}
    by_hand = {
        "total tokens/s per accelerator, new over old": 6000 / 90,
        "tokens per provisioned MWh, as published": 6000 / 90 / (2.10 / 1.73),
        "tokens per provisioned MWh, semianalysis-2026": 6000 / 90 / (2.12 / 1.37),
        "tokens per USD": 6000 / 90 / (2.65 / 1.41),
        "USD per million total tokens, old": 1e6 / (90 * 3600) * 1.41,
        "USD per million total tokens, new": 1e6 / (6000 * 3600) * 2.65,
        "total tokens/s per provisioned MW, old": 90 / 1.73e-3,
        "total tokens/s per provisioned MW, new": 6000 / 2.10e-3,
    }
    assert set(found) == set(by_hand)
    for what, value in by_hand.items():
        assert math.isclose(found[what].value, value, rel_tol=1e-12), what
    assert found["tokens per provisioned MWh, as published"].published == 50
    assert found["tokens per USD"].published == 35
    assert 50 <= found["tokens per provisioned MWh, as published"].value < 55
    assert 35 <= found["tokens per USD"].value < 36
    assert found["tokens per provisioned MWh, semianalysis-2026"].value < 44


def test_a_claim_without_levels_has_no_arithmetic() -> None:
    assert sums(study("b200-over-hopper").claim) == []


@pytest.fixture(scope="module")
def small() -> Rerun:
    """A study of a small model."""
    return rerun(SMALL)


def test_a_study_reruns(small: Rerun) -> None:
    assert math.isclose(float(small.ds["factor"].prod()), float(small.ds.attrs["ratio"]), rel_tol=1e-9)
    product = math.prod(ours for ours, _ in small.factors.values())
    assert math.isclose(product, float(small.ds.attrs["ratio"]), rel_tol=1e-9)
    assert small.factors["silicon"][1] == 1.4
    assert small.factors["interconnect"][1] == 1.0
    assert small.watts_left == {}


def test_places_are_where_our_curves_pass(small: Rerun) -> None:
    x = small.ds["interactivity"].values
    for place in small.places:
        of = place.what.partition(", ")[2]
        if of:
            curve = small.ds["tokens_per_s_per_gpu"].sel(side=of).values
        else:
            curve = small.ds["ratio_tokens_per_mwh"].values
        for at in place.at:
            assert math.isclose(math.exp(np.interp(at, x, np.log(curve))), place.value, rel_tol=1e-9)
    assert [place.value for place in small.places] == [2.0, 1.01, 1000, 3000]


def test_options_go_before_the_study(small: Rerun) -> None:
    found = rerun(SMALL, attribution=False, isl=1024)
    assert "factor" not in found.ds
    assert found.ds.attrs["workload"] == "1024/128"
    assert small.ds.attrs["workload"] == "512/128"


def test_where_feed_forwards_are_of_unknown_watts_it_says_what_they_may_take() -> None:
    found = rerun("rubin-lpx", attribution=False, interactivity=(100,), at=100)
    ds = found.ds.sel(interactivity=100.0)
    old, new = ds.sel(side="old"), ds.sel(side="new")
    lpus = float(new["ffn_accelerators"] * new["decode_replicas"])
    rubins = float(new["accelerators"]) - lpus
    left = found.watts_left[100.0]
    per_s_and_w = float(new["output_tokens_per_s"]) / (2726.0 * rubins + left * lpus)
    assert math.isclose(per_s_and_w / (float(old["tokens_per_s_per_gpu"]) / 2120.0), 35.0, rel_tol=1e-9)
    assert np.isnan(ds["ratio_tokens_per_mwh"])
    assert str(new["system_name"].item()).endswith(" with Groq 3 LPX")


@given(st.lists(st.floats(0.1, 100.0), min_size=2, max_size=8), st.floats(0.1, 100.0))
def test_a_curve_passes_a_value_between_points_above_and_below(y: list[float], value: float) -> None:
    x = np.arange(1.0, len(y) + 1)
    found = crossings(x, np.array(y), value)
    signs = [math.copysign(1, v - value) if v != value else 0 for v in y]
    between = sum(a * b < 0 for a, b in pairwise(signs))
    assert len(found) == between + signs.count(0)
    assert list(found) == sorted(found)
    for at in found:
        assert math.isclose(math.exp(np.interp(at, x, np.log(y))), value, rel_tol=1e-6)


def test_a_curve_with_a_gap_is_not_crossed_over_it() -> None:
    assert crossings(np.array([1.0, 2.0, 3.0]), np.array([1.0, np.nan, 4.0]), 2.0) == ()


def changed(path: str, value: Any) -> dict[str, Any]:
    """SMALL with one key, given by a dotted path, set or (None) left out."""
    *parents, last = path.split(".")
    whole: dict[str, Any] = {**SMALL}
    node = whole
    for parent in parents:
        node[parent] = {**node[parent]}
        node = node[parent]
    if value is None:
        node.pop(last)
    else:
        node[last] = value
    return whole


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("colour", "red", "no key named 'colour'"),
        ("claim", None, "claim is missing"),
        ("claim", "50x", "claim: expected a mapping"),
        ("claim.source", None, "claim: source is missing"),
        ("claim.says_who", "me", "no key named 'says_who'"),
        ("claim.tokens", "words", "claim.tokens = 'words'"),
        ("claim.old", {"tokens_per_s": 3}, "no key named 'tokens_per_s'"),
        ("claim.old", {"tokens_per_s_per_gpu": -3}, "give a number above 0"),
        ("claim.old", {"tokens_per_s_per_gpu": "many"}, "give a number above 0"),
        ("claim.new", {"tokens_per_s_per_gpu": 3}, "is given of one side"),
        ("claim.ratios", {"speed": 2}, "no key named 'speed'"),
        ("claim.ratios", 50, "expected names with numbers"),
        ("claim.vintages", {"later": [1]}, "give W of old and new"),
        ("claim.vintages", 5, "give W of old and new"),
        ("compare", "this", "expected keywords of roofline.compare"),
        ("compare.model", None, "model is missing"),
        ("ratios_sought", [0], "give a number above 0"),
    ],
)
def test_a_bad_study_says_what_is_wrong(path: str, value: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        study(changed(path, value))


def test_a_file_is_named_in_what_it_says(tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("name: x\nclaim: {says: a, source: b}\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"bad\.yaml: compare is missing"):
        study(bad)
    bad.write_text(
        "name: x\nclaim: {says: a, source: b}\ncompare: {old: dgx-h100, new: dgx-h200, model: llama-3.1-8b, hue: 3}\n",
        encoding="utf-8",
    )
    with pytest.raises(InputError, match=r"study .*bad\.yaml: no field of a side named 'hue'"):
        rerun(bad)
    bad.write_text("name: [x\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"bad\.yaml:\d"):
        study(bad)
    with pytest.raises(InputError, match="cannot be read"):
        study(tmp_path / "none.yaml")
    with pytest.raises(InputError, match="no study named 'gb300-over-hoper'; did you mean gb300-over-hopper"):
        study("gb300-over-hoper")
