"""A calibration finds the constants that data were made with, keeps to its priors, and writes sheets that agree."""

from __future__ import annotations

import csv
import itertools
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from roofline.errors import InputError
from roofline.specs import Efficiency, Stack, System
from roofline.specs.check import check
from roofline.specs.folders import ENVIRONMENT
from roofline.validation import fitted_sheets, names
from roofline.validation.calibrate import CONSTANTS, Calibration, calibrate
from roofline.validation.conditions import Case, case_of
from roofline.validation.fitting import HEAVIEST, Model, Prior, weights
from roofline.validation.measured import read
from roofline.validation.predict import evaluate, predict, prepare

HEADER = (
    "row_id,source,model,gpu,num_gpus,weight_dtype,framework,tp,isl,osl,concurrency_or_batch,metric_kind,"
    "ttft_ms,tpot_ms,flags"
)
FACTORS = (
    Prior("all.gemm.eta_memory", 1.0, 0.15, 0.5, 2.0),
    Prior("all/fp8.gemm.fixed_s", 1.0, 0.3, 0.2, 5.0),
    Prior("all/fp8.gemm.eta_memory", 1.0, 0.15, 0.5, 2.0),
)
"""On efficiency sheets: none is fitted unless it is asked for."""

PRIORS = (*CONSTANTS, *FACTORS)
TRUTH = {
    "trtllm-hopper.stack.step_s": 0.7e-3,
    "trtllm-blackwell.stack.step_s": 0.5e-3,
    "sglang-hopper.stack.step_s": 0.9e-3,
    "sglang-blackwell.stack.step_s": 1.3e-3,
    "vllm-hopper.stack.step_s": 2.0e-3,
    "vllm-blackwell.stack.step_s": 1.5e-3,
    "sglang-cdna4.stack.step_s": 1.0e-3,  # no row tells it
    "trtllm.stack.sequence_s": 9e-6,
    "sglang.stack.sequence_s": 25e-6,
    "vllm.stack.sequence_s": 31e-6,
    "sglang.stack.ttft_s": 35e-3,
    "vllm-hopper.stack.ttft_s": 50e-3,
    "vllm-blackwell.stack.ttft_s": 70e-3,
    "sglang-blackwell.stack.wait_steps": 6.0,
    "all.gemm.eta_memory": 1.1,
    "all/fp8.gemm.fixed_s": 1.3,
    "all/fp8.gemm.eta_memory": 0.9,
}
Rows = list[dict[str, str]]


def conditions() -> Rows:
    """Three servers, three parts of two generations, two models, two formats, several loads."""
    grid = itertools.product(
        ("TensorRT-LLM", "SGLang", "vLLM"),
        (("H100", "Llama-3.1-8B", 1), ("H200", "Llama-3.1-8B", 1), ("H200", "Qwen3-32B", 2), ("B200", "Qwen3-32B", 1)),
        ("fp8", "bf16"),
        ((4, 1024), (32, 1024), (32, 4096), (128, 1024)),
    )
    rows = []
    for i, (framework, (gpu, model, tp), weight, (load, isl)) in enumerate(grid):
        row = dict.fromkeys(HEADER.split(","), "")
        row |= {"row_id": f"r{i:03d}", "source": "made", "model": model, "gpu": gpu, "num_gpus": str(tp)}
        row |= {"weight_dtype": weight, "framework": framework, "tp": str(tp), "isl": str(isl), "osl": "512"}
        rows.append(row | {"concurrency_or_batch": str(load), "metric_kind": "online_serving"})
    return rows


def table(path: Path, rows: Rows) -> Path:
    with path.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.DictWriter(handle, HEADER.split(","), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return path


def cases_of(path: Path) -> list[Case]:
    return [case for case in map(case_of, read(path).points) if isinstance(case, Case)]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Rows:
    """Rows as the model with `TRUTH` would have been measured, with an error of 3 %."""
    rows = conditions()
    path = table(tmp_path_factory.mktemp("made") / "made.csv", [row | {"tpot_ms": "1"} for row in rows])
    model = Model(cases_of(path), PRIORS, TRUTH)
    noise = np.exp(np.random.default_rng(5).normal(0.0, 0.03, (len(rows), 2)))
    for row, (tpot_s, ttft_s) in zip(rows, model.predict(TRUTH) * noise, strict=True):
        row |= {"tpot_ms": f"{1e3 * tpot_s:.6g}", "ttft_ms": f"{1e3 * ttft_s:.6g}"}
    return rows


Fitting = Callable[..., Calibration]


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Fitting:
    """A calibration of some rows, without leaving any out unless told."""
    folder = tmp_path_factory.mktemp("fits")

    def run(rows: Rows, leave_one_out: bool = False, priors: Sequence[Prior] = PRIORS) -> Calibration:
        return calibrate(table(folder / "data.csv", rows), leave_one_out=leave_one_out, priors=priors)

    return run


@pytest.fixture(scope="module")
def found(made: Rows, fitted: Fitting) -> Calibration:
    """The calibration of all of them."""
    return fitted(made)


def off(calibration: Calibration) -> dict[str, float]:
    """How far each constant is from the truth, over half of its 90 % interval."""
    held = calibration.constants
    return {c.name: abs(math.log(c.value / TRUTH[c.name])) / (math.log(c.high / c.low) / 2.0) for c in held}


def test_it_finds_the_constants_that_the_data_were_made_with(found: Calibration) -> None:
    assert [c.name for c in found.constants] == [prior.name for prior in PRIORS] == list(TRUTH)
    far = off(found)
    assert sum(value <= 1.0 for value in far.values()) >= 13, far  # 90 % of 17 on average
    assert max(far.values()) < 2.0, far  # 3.3 standard deviations
    sure = [c for c in found.constants if c.identified]
    assert len(sure) >= 13
    for c in sure:
        assert c.low < c.value < c.high
        assert c.high / c.low < c.prior_high / c.prior_low
    assert found.score("fitted", "tpot").mdape < 0.03 < found.score("before", "tpot").mdape
    assert found.score("fitted", "ttft").mdape < 0.04 < found.score("before", "ttft").mdape


def test_priors_hold_what_the_data_do_not_say(made: Rows, fitted: Fitting) -> None:
    few = fitted([row for row in made if row["framework"] != "vLLM" and row["weight_dtype"] == "bf16"])
    silent = {name for name in TRUTH if name.startswith("vllm")}
    silent |= {"all/fp8.gemm.fixed_s", "all/fp8.gemm.eta_memory"}
    for c in few.constants:
        if c.name in silent:
            assert not c.identified
            assert "not identified" in c.said
            assert c.value == pytest.approx(c.start, rel=1e-3)
            assert (c.low, c.high) == pytest.approx((c.prior_low, c.prior_high), rel=1e-3)
    assert {c.name for c in few.constants if not c.identified} >= silent
    assert next(c for c in few.constants if c.name == "sglang-hopper.stack.step_s").identified


def test_the_order_of_rows_does_not_count(made: Rows, found: Calibration, fitted: Fitting) -> None:
    nameless = [row | {"row_id": ""} for row in made]  # ids are then made of lines
    first, again = fitted(nameless), fitted(nameless[::-1])
    assert first.values == again.values == found.values
    assert [c.high for c in first.constants] == [c.high for c in again.constants]


def test_outliers_hardly_move_it(made: Rows, found: Calibration, fitted: Fitting) -> None:
    rows = [dict(row) for row in made]
    for i in np.random.default_rng(9).choice(len(rows), len(rows) // 10, replace=False):
        rows[i]["tpot_ms"] = str(3.0 * float(rows[i]["tpot_ms"]))
    moved = fitted(rows)
    assert moved.score("fitted", "tpot").mdape < 0.04
    for before, after in zip(found.constants, moved.constants, strict=True):
        # The intervals grow with the spread; a plain square would move step_s by several times them.
        assert abs(math.log(after.value / before.value)) < math.log(after.high / after.low) / 2.0, before.name


def test_what_is_left_out_is_predicted_by_the_others(made: Rows, fitted: Fitting, tmp_path: Path) -> None:
    left = fitted(made, leave_one_out=True)
    assert left.values == fitted(made).values
    for how, fits in (("without-model", 2), ("without-gpu", 3), ("without-framework", 3)):
        assert [one.fits for one in left.scores if one.how == how] == [fits, fits]
        assert left.score(how, "tpot").n == len(made)
    # Constants of a server are its own: without its rows they stay at their priors.
    assert left.score("without-framework", "tpot").mdape > 2.0 * left.score("fitted", "tpot").mdape
    pooled = []
    for gpu in ("H100", "H200", "B200"):
        mine = table(tmp_path / f"{gpu}.csv", [row for row in made if row["gpu"] == gpu])
        values = fitted([row for row in made if row["gpu"] != gpu]).values
        truth = np.array([point.tpot_s for point in read(mine).points], dtype=float)
        pooled.append(np.abs(Model(cases_of(mine), PRIORS, values).predict(values)[:, 0] / truth - 1.0))
    by_hand = float(np.median(np.concatenate(pooled)))
    assert left.score("without-gpu", "tpot").mdape == pytest.approx(by_hand, rel=0.05)


def test_models_of_one_shape_are_left_out_together(made: Rows, fitted: Fitting) -> None:
    big = [row | {"model": "DeepSeek-R1", "gpu": "B200", "tp": "8", "num_gpus": "8"} for row in made[:12]]
    same = [row | {"model": "DeepSeek-V3", "row_id": f"v{i}"} for i, row in enumerate(big)]
    one = fitted([*big, *same], leave_one_out=True)
    assert [(s.fits, s.errors.n) for s in one.scores if s.how == "without-model"] == [(0, 0), (0, 0)]


def test_predictions_are_those_of_tuned_constants(made: Rows, tmp_path: Path) -> None:
    cases = cases_of(table(tmp_path / "data.csv", made))
    plain = {name: value for name, value in TRUTH.items() if "/" not in name}
    wanted = evaluate(prepare(cases), plain)
    model = Model(cases, PRIORS)
    for _ in range(2):  # kernels' times are kept
        held = model.predict(plain)
        np.testing.assert_allclose(held, np.column_stack([wanted.tpot_s, wanted.ttft_s]), rtol=1e-12)
        model.predict(TRUTH)
    untuned = predict(cases)
    np.testing.assert_allclose(model.predict({})[:, 0], untuned.tpot_s, rtol=1e-12)


def test_written_sheets_predict_what_was_fitted(
    found: Calibration, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "mine"
    files = fitted_sheets.write(found, folder)
    assert [str(path.relative_to(folder)) for path in files] == [
        *("efficiency/b200.yaml", "efficiency/h100.yaml", "efficiency/h200.yaml"),
        *("stacks/sglang-blackwell.yaml", "stacks/sglang-hopper.yaml"),
        *("stacks/trtllm-blackwell.yaml", "stacks/trtllm-hopper.yaml"),
        *("stacks/vllm-blackwell.yaml", "stacks/vllm-hopper.yaml"),
    ]
    assert sorted(tmp_path.iterdir()) == [folder]
    assert check(folder) == []
    at = found.values
    np.testing.assert_allclose(Model(found.cases, PRIORS, at).predict(at), found.predicted, rtol=1e-9)
    monkeypatch.setenv(ENVIRONMENT, str(folder))
    again = predict([replace(case, system=System.load(case.system.id)) for case in found.cases])
    np.testing.assert_allclose(np.column_stack([again.tpot_s, again.ttft_s]), found.predicted, rtol=1e-9)


def test_written_numbers_say_where_they_come_from(found: Calibration, tmp_path: Path) -> None:
    fitted_sheets.write(found, tmp_path / "mine")
    stack, other = (Stack.load(tmp_path / "mine" / "stacks" / f"sglang-{on}.yaml") for on in ("blackwell", "hopper"))
    shipped = Stack.load("sglang-blackwell")
    own, shared = "sglang-blackwell", "sglang"
    groups = {"step_s": own, "sequence_s": shared, "ttft_s": shared, "wait_steps": own}
    for field, group in groups.items():
        held = next(c for c in found.constants if c.name == f"{group}.stack.{field}")
        assert getattr(stack, field) == held.value == found.values[held.name]
        assert (getattr(other, field) == held.value) == (group == shared)
        source, was = stack.source_of(field), shipped.source_of(field)
        assert source is not None
        assert was is not None
        assert source.grade == ("measured" if held.identified else was.grade)
        assert f"data.csv (sha256 {found.measured.digest}, {len(found.points)} rows)" in source.ref
        assert "90 % interval" in source.ref
    for field in ("framework", "prompts", "prompt_tokens"):
        assert getattr(stack, field) == getattr(shipped, field)
        assert stack.source_of(field) == shipped.source_of(field)
    assert (other.aliases, other.wait_steps) == (("sglang",), 0.0)
    kit = Efficiency.load(tmp_path / "mine" / "efficiency" / "h200.yaml")
    before = Efficiency.load("h200")
    wide, fp8 = found.values["all.gemm.eta_memory"], found.values["all/fp8.gemm.eta_memory"]
    assert kit.operations.gemm["bf16"].eta_memory == pytest.approx(before.operations.gemm["bf16"].eta_memory * wide)
    assert kit.operations.gemm["fp8"].eta_memory == pytest.approx(before.operations.gemm["fp8"].eta_memory * wide * fp8)
    assert kit.operations.experts == before.operations.experts
    source = kit.source_of("operations.gemm.bf16.eta_memory")
    assert source is not None
    assert source.ref.startswith("aiconfigurator-core")
    assert "times" in source.ref
    assert found.measured.digest in source.ref


def test_shares_stay_within_one(found: Calibration, tmp_path: Path) -> None:
    high = [replace(c, value=1.9) if c.name == "all.gemm.eta_memory" else c for c in found.constants]
    fitted_sheets.write(replace(found, constants=tuple(high)), tmp_path / "mine")
    kit = Efficiency.load(tmp_path / "mine" / "efficiency" / "h100.yaml")
    assert kit.operations.gemm["bf16"].eta_memory == 1.0
    assert kit.operations.gemm["fp8"].eta_memory == pytest.approx(found.values["all/fp8.gemm.eta_memory"])
    source = kit.source_of("operations.gemm.bf16.eta_memory")
    assert source is not None
    assert "at most 1" in source.ref


def test_nothing_is_written_where_something_is_in_the_way(
    found: Calibration, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    for place, said in (("full", "is not empty"), ("full/x", "is a file"), ("no/such", "does not exist")):
        with pytest.raises(InputError, match=said):
            fitted_sheets.write(found, tmp_path / place)
    monkeypatch.setattr(fitted_sheets, "_text", lambda data: "a lone surrogate \udc80")
    with pytest.raises(UnicodeEncodeError):
        fitted_sheets.write(found, tmp_path / "new")
    assert [path.name for path in tmp_path.iterdir()] == ["full"]


def test_flagged_rows_and_other_kinds_are_not_used(made: Rows, found: Calibration, fitted: Fitting) -> None:
    doubtful = [row | {"row_id": f"d{i}", "flags": "duplicate", "tpot_ms": "900"} for i, row in enumerate(made[:9])]
    offline = [row | {"row_id": f"o{i}", "metric_kind": "offline_throughput"} for i, row in enumerate(made[:9])]
    unknown = [row | {"row_id": "u", "model": "No-Such-Model"} for row in made[:1]]
    blank = [row | {"row_id": "b", "ttft_ms": "", "tpot_ms": ""} for row in made[:1]]
    more = fitted([*doubtful, *offline, *unknown, *blank, *made])
    assert [point.row_id for point in more.points] == [point.row_id for point in found.points]
    assert more.values == found.values


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"flags": "duplicate"}, "0 of its 96 rows can be used"),
        ({"metric_kind": "offline_throughput"}, "0 of its 96 rows can be used"),
        ({"ttft_ms": "", "tpot_ms": ""}, "0 of its 96 rows can be used"),
        ({"gpu": "L40S", "model": "DeepSeek-R1", "tp": "1"}, "0 of its 96 rows can be used"),  # does not fit
    ],
)
def test_a_table_without_a_usable_row_is_refused(
    made: Rows, fitted: Fitting, change: dict[str, str], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        fitted([row | change for row in made])


def test_fewer_rows_than_constants_are_refused(made: Rows, fitted: Fitting) -> None:
    with pytest.raises(InputError, match=rf"14 of its 14 rows can be used and {len(PRIORS)} constants"):
        fitted(made[:14])
    assert len(fitted(made[:14], priors=CONSTANTS[:2]).constants) == 2


def test_there_are_few_constants_and_every_one_has_a_place_in_a_sheet() -> None:
    assert len(CONSTANTS) == len({prior.name for prior in CONSTANTS}) <= 15
    alike: dict[str, set[tuple[float, ...]]] = {}
    for prior in PRIORS:
        assert prior.lower < prior.centre() < prior.upper
        assert prior.sigma > 0.0
        assert prior.parts.kind != "stack" or prior.parts.field in Stack.model_fields
    for prior in CONSTANTS:
        assert names.family_of(Stack.load(prior.parts.group).id) == names.family_of(prior.parts.group)
        alike.setdefault(prior.parts.field, set()).add((prior.start, prior.sigma, prior.lower, prior.upper))
    assert {field: len(found) for field, found in alike.items()} == dict.fromkeys(alike, 1)  # of no server its own
    for name in ("hopper.gemm.eta_memory", "all.permute.eta_memory", "all.collectives.fixed_s"):
        with pytest.raises(InputError, match=r"give all\.CLASS\.FIELD"):
            _ = Prior(name, 1.0, 0.1, 0.5, 2.0).parts


def test_the_page_has_the_priors() -> None:
    page = (Path(__file__).parents[2] / "docs" / "calibrating.md").read_text("utf-8")
    assert f"\n{len(CONSTANTS)} constants, " in page
    scales = {"steps": 1.0, "us": 1e-6, "ms": 1e-3, "s": 1.0}
    rows = [line.strip("| ").split(" | ") for line in page.splitlines() if re.match(r"\| `.*\.stack\.", line)]
    assert len(rows) == len({prior.parts.field for prior in CONSTANTS})
    for names_of, centre, sigma, limits, _ in rows:
        field = names_of.rpartition(".")[2].rstrip("`")
        held = [prior for prior in CONSTANTS if prior.parts.field == field]
        value, unit = centre.split()
        assert float(value) * scales[unit] == pytest.approx(held[0].start)
        assert sigma == f"times or over {math.exp(held[0].sigma):.1f}"
        ends = re.fullmatch(r"([\d.]+) ?(\w*) to ([\d.]+) ?(\w*)", limits)
        assert ends is not None
        low, high = (float(ends[i]) * scales[ends[i + 1] or "steps"] for i in (1, 3))
        assert (low, high) == pytest.approx((held[0].lower, held[0].upper))
        assert all(word in names_of for prior in held for word in prior.parts.group.split("-"))


@pytest.mark.parametrize(("start", "lower", "upper"), [(0.0, 0.0, 1.0), (3.0, 0.5, 2.0), (0.1, 0.5, 2.0)])
def test_a_fit_in_logs_starts_within_its_limits(
    made: Rows, fitted: Fitting, start: float, lower: float, upper: float
) -> None:
    with pytest.raises(InputError, match=rf"vllm\.stack\.step_s: a fit cannot start at {start:g} within {lower:g} to"):
        fitted(made, priors=(Prior("vllm.stack.step_s", start, 0.7, lower, upper),))


def test_a_constant_of_a_family_is_on_all_its_sheets_and_one_of_a_sheet_on_that(made: Rows, tmp_path: Path) -> None:
    cases = cases_of(table(tmp_path / "data.csv", made))
    model = Model(cases, CONSTANTS)
    plain, stacks = model.predict({}), np.array([case.stack for case in cases])
    assert len(set(stacks)) == 6
    for name, value, wanted in (
        ("vllm.stack.sequence_s", 200e-6, {"vllm-hopper", "vllm-blackwell"}),
        ("sglang.stack.ttft_s", 0.5, {"sglang-hopper", "sglang-blackwell"}),
        ("vllm-hopper.stack.step_s", 9e-3, {"vllm-hopper"}),
        ("sglang-blackwell.stack.wait_steps", 90.0, {"sglang-blackwell"}),
    ):
        moved = model.predict({name: value}) > 1.001 * plain
        assert moved.any(axis=1).tolist() == np.isin(stacks, list(wanted)).tolist(), name


def test_a_group_of_rows_counts_by_the_root_of_its_size() -> None:
    found = weights([("a", "m", "g")] * 64 + [("b", "m", "g")] * 16 + [("c", "m", "g")])
    assert found[0] * 2.0 == pytest.approx(found[64])
    assert found[80] == HEAVIEST
    even = weights([("a", "m", "g"), ("b", "m", "g")])
    assert even.tolist() == [1.0, 1.0]


@pytest.mark.parametrize(
    ("value", "field", "text"),
    [
        (0.8061e-3, "step_s", "0.8061e-3"),
        (0.02, "ttft_s", "20.0e-3"),
        (4.0e-6, "fixed_s", "4.0e-6"),
        (1.0, "eta_memory", "1"),
        (0.6873152, "eta_memory", "0.6873152"),
    ],
)
def test_numbers_are_written_as_sheets_write_them(value: float, field: str, text: str) -> None:
    assert fitted_sheets.number(value, field) == text
    assert float(text) == value
