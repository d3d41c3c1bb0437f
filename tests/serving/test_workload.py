"""Workloads: derived figures against sums written out, sampling, round trips, and what is refused."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import roofline
from roofline.errors import InputError
from roofline.serving import Closed, Lognormal, Open, Pairs, Workload
from roofline.serving.presets import PRESETS

PROFILE = settings(max_examples=60, deadline=None)
TOKENS = st.integers(1, 3000)
FIXED = st.builds(Workload, TOKENS, TOKENS)
SPREAD = st.builds(Lognormal, st.floats(2.0, 1e5), st.floats(0.05, 3.0))
LISTED = st.lists(st.tuples(TOKENS, TOKENS), min_size=1, max_size=30).map(
    lambda rows: Workload([isl for isl, _ in rows], [osl for _, osl in rows])
)
SPREADS = (
    st.builds(Workload, SPREAD, SPREAD) | st.builds(Workload, TOKENS, SPREAD) | st.builds(Workload, SPREAD, TOKENS)
)
ANY = FIXED | LISTED | SPREADS


def rows(workload: Workload) -> list[tuple[int, int]]:
    if isinstance(workload.isl, Pairs):
        return [(int(i), int(o)) for i, o in zip(workload.isl.isl, workload.isl.osl, strict=True)]
    return [(int(workload.mean_isl), int(workload.mean_osl))]


@PROFILE
@given(FIXED | LISTED)
def test_mean_context_is_the_sum_over_all_decoded_tokens(workload: Workload) -> None:
    contexts = [isl + step for isl, osl in rows(workload) for step in range(1, osl + 1)]
    assert workload.mean_context == pytest.approx(math.fsum(contexts) / len(contexts), rel=1e-12)
    assert workload.mean_isl == pytest.approx(np.mean([isl for isl, _ in rows(workload)]))
    assert workload.osl_cv * workload.mean_osl == pytest.approx(np.std([osl for _, osl in rows(workload)]))


@PROFILE
@given(FIXED | LISTED, st.integers(1, 40))
def test_nodes_are_means_of_equal_shares_of_the_decoded_tokens(workload: Workload, count: int) -> None:
    nodes, weights = workload.nodes(count)
    assert nodes.shape == weights.shape == (count,)
    assert weights.sum() == pytest.approx(1.0, abs=1e-12)
    assert nodes @ weights == pytest.approx(workload.mean_context, rel=1e-9)
    fine = np.concatenate([isl + 0.5 + (np.arange(osl * count) + 0.5) / count for isl, osl in rows(workload)])
    expected = np.sort(fine).reshape(count, -1).mean(axis=1)
    np.testing.assert_allclose(nodes, expected, atol=1.0, rtol=1e-9)


@PROFILE
@given(SPREADS, st.integers(1, 200))
def test_nodes_of_spread_lengths_keep_the_mean_context(workload: Workload, count: int) -> None:
    nodes, weights = workload.nodes(count)
    assert nodes.shape == (count,)
    assert weights.sum() == pytest.approx(1.0, abs=1e-12)
    assert nodes @ weights == pytest.approx(workload.mean_context, rel=1e-6)
    assert (nodes > 0.0).all()
    assert (np.diff(nodes) >= -1e-9 * nodes[1:]).all()


@pytest.mark.parametrize("function", [np.sqrt, np.log, lambda c: np.maximum(c - 1500.0, 0.0)])
def test_nodes_integrate_functions_of_the_context(function: Any) -> None:
    workload = Workload(Lognormal(1000.0, 0.6), Lognormal(300.0, 0.8))
    isl, osl = workload.pairs(200_000, 1)
    share = np.random.default_rng(2).random(osl.size)
    sampled = (function(isl + 0.5 + osl * share) * osl).sum() / osl.sum()
    nodes, weights = workload.nodes(32)
    assert function(nodes) @ weights == pytest.approx(sampled, rel=0.02)


@pytest.mark.parametrize(
    "workload",
    [
        Workload(Lognormal(2000.0, 0.8), Lognormal(400.0, 1.2), cached=500),
        Workload(Lognormal(2000.0, 0.8), 64, cached_share=0.7),
        Workload(1500, Lognormal(900.0, 0.4), cached=100),
        Workload([100, 900, 4000], [20, 5, 400], cached=99),
        Workload(777, 33),
    ],
)
def test_samples_have_the_moments_of_the_closed_forms(workload: Workload) -> None:
    isl, osl = workload.pairs(400_000, 7)
    assert (isl >= 1.0).all()
    assert (osl == np.rint(osl)).all()
    assert isl.mean() == pytest.approx(workload.mean_isl, rel=0.01)
    assert osl.mean() == pytest.approx(workload.mean_osl, rel=0.01)
    assert isl.std() == pytest.approx(workload.isl_cv * workload.mean_isl, rel=0.03, abs=1e-9)
    assert osl.std() == pytest.approx(workload.osl_cv * workload.mean_osl, rel=0.03, abs=1e-9)
    context = (isl * osl + 0.5 * osl * (osl + 1.0)).sum() / osl.sum()
    assert context == pytest.approx(workload.mean_context, rel=0.02)
    computed = workload.computed(isl)
    assert computed.mean() == pytest.approx(workload.mean_computed, rel=0.01)
    for chunk in (16, 256, 2048):
        assert np.ceil(computed / chunk).mean() == pytest.approx(workload.mean_chunks(chunk), rel=0.01)


def test_the_same_seed_draws_the_same() -> None:
    workload = Workload.of("code")
    assert np.array_equal(workload.pairs(50, 3), workload.pairs(50, 3))
    assert not np.array_equal(workload.pairs(50, 3), workload.pairs(50, 4))


@PROFILE
@given(ANY, st.integers(1, 5000))
def test_chunks_lie_between_their_bounds(workload: Workload, chunk: int) -> None:
    chunks, least = workload.mean_chunks(chunk), workload.mean_computed / chunk
    assert chunks >= 1.0
    rounding = 0.5 / chunk + 1e-6 * least
    assert least - rounding <= chunks <= least + 1.0 + rounding
    assert workload.mean_chunks(chunk + 1) <= chunks * (1.0 + 1e-9)


def test_chunks_of_long_tails_are_summed_to_the_end() -> None:
    workload = Workload(Lognormal(50_000.0, 2.0), 10)
    assert workload.mean_chunks(1) == pytest.approx(50_000.0, rel=1e-4)
    assert workload.mean_chunks(10) == pytest.approx(5_000.5, rel=1e-4)


@pytest.mark.parametrize(
    ("cached", "share", "chunk", "chunks"),
    [(0, 0.0, 2048, 4), (0, 0.0, 8192, 1), (1, 0.0, 8191, 1), (8191, 0.0, 1, 1), (0, 0.5, 1024, 4), (0, 0.75, 2047, 2)],
)
def test_chunks_of_a_fixed_prompt(cached: int, share: float, chunk: int, chunks: int) -> None:
    assert Workload(8192, 1, cached, share).mean_chunks(chunk) == chunks


@PROFILE
@given(
    ANY, st.sampled_from([{}, {"concurrency": 8}, {"rate": 2.5}, {"rate": 1.0, "rate_cv": 3.0}]), st.floats(0.01, 1.0)
)
def test_workloads_survive_a_round_trip(workload: Workload, arrival: dict[str, float], load: float) -> None:
    first = workload.replace(load=[load] * 24, name="mine", **arrival)
    again = Workload.of(json.loads(json.dumps(first.as_dict())))
    assert again == first
    assert hash(again) == hash(first)
    assert Workload.of(first) == first


def test_names_sizes_and_mappings_are_understood() -> None:
    assert (Workload.of("8k/1k").isl, Workload.of(" 1.5K / 1m ").osl) == (8192, 1024**2)
    assert Workload.of("8192/1024").replace(name="") == Workload(8192, 1024)
    assert Workload.of({"isl": 100, "osl": {"mean": 50, "cv": 1}}).osl == Lognormal(50.0, 1.0)
    assert Workload.of(isl=100, osl=50, osl_cv=0.5).osl == Lognormal(50.0, 0.5)
    assert Workload.of("8k/1k", isl_cv=0.3).isl == Lognormal(8192.0, 0.3)
    assert Workload.of("CHAT", concurrency=64).arrivals == Closed(64)
    assert Workload.of("chat", rate=3.0, rate_cv=2.0).arrivals == Open(3.0, 2.0)
    assert Workload.of("chat").arrivals is None
    bursty = Workload.of("agent", rate=3.0, rate_cv=2.0)
    assert Workload.of(bursty, concurrency=5).arrivals == Closed(5)
    assert (Workload.of(bursty, cached=100).cached_share, Workload.of(bursty, cached=100).name) == (0.0, "agent")
    assert roofline.Workload is Workload


@pytest.mark.parametrize("name", PRESETS)
def test_presets_say_where_they_come_from(name: str) -> None:
    workload = Workload.of(name)
    assert workload.name == name
    assert workload.source is not None
    assert workload.source.grade == "estimated"
    assert Workload.of(json.loads(json.dumps(workload.as_dict()))) == workload
    changed = Workload.of(name, osl=7)
    assert (changed.source, changed.name) == (None, "")
    assert {"chat", "code", "summarise", "reasoning", "agent"} <= set(PRESETS)


def test_requests_are_those_of_the_simulator() -> None:
    assert Workload(100, 20, cached=30).requests.cached == 30
    shared = Workload(Lognormal(1000.0, 0.5), 20, cached_share=0.75).requests
    assert (shared.isl, shared.cached) == (Lognormal(250.0, 0.5), 0)
    assert Workload([100, 200], [1, 2], cached_share=0.75).requests.isl.tolist() == [25.0, 50.0]  # type: ignore[union-attr]
    assert Workload(101, 20, cached_share=0.5).requests.isl == 51


def test_load_over_the_day() -> None:
    assert Workload(10, 10, load=0.4).duty == pytest.approx(0.4)
    day = Workload(10, 10, load=[0.0] * 12 + [1.0] * 12)
    assert (day.duty, day.hours[0], len(day.hours)) == (0.5, 0.0, 24)


def table(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_pairs_come_from_csv_and_parquet(tmp_path: Path) -> None:
    path = table(tmp_path / "mine.csv", "user, isl ,osl\na,100,20\nb,3e3,40\n")
    workload = Workload.of(path, cached=50)
    assert rows(workload) == [(100, 20), (3000, 40)]
    assert (workload.name, workload.mean_isl) == ("mine", 1550.0)
    assert Workload.of(str(path)).isl == workload.isl
    parquet = pytest.importorskip("pyarrow.parquet")
    arrow = pytest.importorskip("pyarrow")
    parquet.write_table(arrow.table({"osl": [20, 40], "isl": [100, 3000]}), tmp_path / "mine.parquet")
    assert Workload.of(tmp_path / "mine.parquet").isl == workload.isl
    parquet.write_table(arrow.table({"osl": [20, 0], "isl": [100, 3000]}), tmp_path / "bad.parquet")
    with pytest.raises(InputError, match=r"bad\.parquet: row 2: osl = 0"):
        Workload.of(tmp_path / "bad.parquet")
    parquet.write_table(arrow.table({"osl": ["x", "y"], "isl": [1, 2]}), tmp_path / "text.parquet")
    with pytest.raises(InputError, match=r"text\.parquet: osl: is of string"):
        Workload.of(tmp_path / "text.parquet")
    with pytest.raises(InputError, match="not a Parquet file"):
        Workload.of(table(tmp_path / "no.parquet", "isl,osl\n1,1\n"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("isl,osl\n100,20\n100,-3\n", r"w\.csv:3: osl = -3: give a whole number of tokens"),
        ("isl,osl\n100,20\n\n100,0\n", r"w\.csv:4: osl = 0"),
        ("isl,osl\n1.5,20\n", r"w\.csv:2: isl = 1\.5"),
        ("isl,osl\nnan,20\n", r"w\.csv:2: isl = nan"),
        ("isl,osl\n10,20\n10\n", r"w\.csv:3: osl = None: give a number"),
        ("isl,osl\n10,many\n", r"w\.csv:2: osl = 'many': give a number"),
        ("isl,out\n10,20\n", r"w\.csv:1: no column osl; found isl, out"),
        ("", r"w\.csv:1: no column isl, osl; found none"),
        ("isl,osl\n", r"w\.csv: has no rows"),
    ],
)
def test_what_is_wrong_in_a_csv_is_placed(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        Workload.of(table(tmp_path / "w.csv", text))


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=re.escape(f"{tmp_path / 'none.csv'}: no such file")):
        Workload.of(tmp_path / "none.csv")
    with pytest.raises(InputError, match=r"suffix \.txt is not one of"):
        Workload.of(tmp_path / "w.txt")
    (tmp_path / "w.csv").write_bytes(b"isl,osl\n\xff\xfe,1\n")
    with pytest.raises(InputError, match="not a CSV file that can be read"):
        Workload.of(tmp_path / "w.csv")


@pytest.mark.parametrize(
    ("source", "keywords", "said"),
    [
        (None, {"isl": 0, "osl": 1}, "isl = 0: give a finite number >= 1"),
        (None, {"isl": 10, "osl": -1}, "osl = -1"),
        (None, {"isl": 10, "osl": 0}, "osl = 0"),
        (None, {"isl": math.nan, "osl": 5}, "isl = nan"),
        (None, {"isl": 10.5, "osl": 5}, "isl = 10.5: give a whole number"),
        (None, {"isl": True, "osl": 5}, "isl = True"),
        (None, {"isl": 10}, "osl: missing"),
        (None, {}, "isl: missing; give isl and osl, a name"),
        (None, {"isl": 10, "osl": 5, "cached": 10}, "cached = 10: not below isl, 10"),
        (None, {"isl": 10, "osl": 5, "cached": -1}, "cached = -1"),
        (None, {"isl": [10, 20], "osl": [5, 5], "cached": 10}, "not below the shortest isl, 10"),
        (None, {"isl": {"mean": 10, "cv": 1}, "osl": 5, "cached": 10}, "not below the mean isl, 10"),
        (None, {"isl": 10, "osl": 5, "cached_share": 1.0}, "cached_share = 1: give a share below 1"),
        (None, {"isl": 10, "osl": 5, "cached_share": 0.5, "cached": 2}, "both given"),
        (None, {"isl": 10, "osl": 5, "concurrency": 0}, "concurrency = 0"),
        (None, {"isl": 10, "osl": 5, "rate": 0.0}, "rate = 0.0"),
        (None, {"isl": 10, "osl": 5, "rate": 1.0, "concurrency": 4}, "concurrency, rate: both given"),
        (None, {"isl": 10, "osl": 5, "rate_cv": 2.0}, "rate_cv = 2: without a rate"),
        (None, {"isl": 10, "osl": 5, "load": 0.0}, "load = 0"),
        (None, {"isl": 10, "osl": 5, "load": 1.1}, "load = 1.1: give a share from 0 to 1"),
        (None, {"isl": 10, "osl": 5, "load": [1.0] * 23}, "load: has 23 shares; give 24"),
        (None, {"isl": 10, "osl": 5, "load": [0.0] * 24}, "load: is 0 in every hour"),
        (None, {"isl": 10, "osl": 5, "load": [1.0] * 23 + [math.nan]}, r"load\[23\] = nan"),
        (None, {"isl": [10, 0], "osl": [5, 5]}, r"isl\[2\] = 0: give a whole number of tokens"),
        (None, {"isl": [10], "osl": [5, 5]}, "have 1 and 2 values"),
        (None, {"isl": [10], "osl": 5}, "isl: is a list, osl is not"),
        (None, {"isl": [], "osl": []}, "isl: has shape"),
        (None, {"isl": ["a"], "osl": [1]}, "give whole numbers of tokens"),
        (None, {"isl": Pairs([1], [1]), "osl": 1}, "osl: given beside pairs"),
        (None, {"isl": {"mean": 10}, "osl": 5}, "give mean and cv"),
        (None, {"isl": {"mean": -10, "cv": 1}, "osl": 5}, "isl: mean = -10"),
        (None, {"isl": 10, "osl": 5, "osl_cv": -1}, "osl_cv = -1"),
        (None, {"isl": [10], "osl": [5], "isl_cv": 1.0}, "has no mean to spread"),
        (None, {"isl": 10, "osl": 5, "ratee": 1}, "did you mean rate"),
        (None, {"isl": 10, "osl": 5, "source": {"ref": "x"}}, "source = .*: give ref and grade"),
        ("chta", {}, "no workload named 'chta'; did you mean chat"),
        ("zzz", {}, "known: agent, .*; or write ISL/OSL such as 8k/1k"),
        ("8k/", {}, "osl = '': give tokens as in 8k/1k"),
        ("8q/1k", {}, "isl = '8q': give tokens"),
        ("-8k/1k", {}, "isl = -8192"),
        ("8k/0", {}, "osl = 0.0"),
        ("nan/1k", {}, "isl = nan"),
        (7, {}, "workload = 7: give a name"),
    ],
)
def test_what_is_no_workload_is_refused(source: Any, keywords: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        Workload.of(source, **keywords)


def test_counts_are_refused_below_one() -> None:
    workload = Workload(10, 10)
    for call in (lambda: workload.nodes(0), lambda: workload.mean_chunks(0), lambda: workload.pairs(0, 1)):
        with pytest.raises(InputError, match="= 0: give a finite number >= 1"):
            call()
