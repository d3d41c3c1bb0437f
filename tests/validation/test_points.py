"""The points that ship: each with a public source, consistent with itself, and every source described on the page."""

from __future__ import annotations

import csv
import re
import runpy
from pathlib import Path

import pytest

from roofline.validation.measured import Point, read
from roofline.validation.run import SHIPPED
from roofline.validation.score import BY, label

ROOT = Path(__file__).resolve().parents[2]
POINTS = read(SHIPPED).points
REPOSITORY = r"[\w-]+/[\w.-]+( \(fork of mlcommons\))?(@[0-9a-f]{12,40})?:"
PUBLIC = re.compile(rf"(PyPI [\w.-]+ [\d.]+: |InferenceX-app API fixtures, |{REPOSITORY})\S")

MEASURED = ("tpot_s", "ttft_s", "output_tok_s", "total_tok_s", "joules_per_token", "power_w", "wall_w")


def test_there_are_enough_of_every_kind() -> None:
    assert 100 <= len(POINTS) <= 200
    kinds = {by: {label(point, by) for point in POINTS} for by in BY}
    assert len(kinds["source"]) >= 15
    assert {"A100-80GB", "L40S", "H100", "H200", "GH200", "B200", "B300", "GB300", "MI355X"} <= kinds["gpu"]
    assert {"trtllm", "vllm", "sglang"} <= kinds["framework"]
    assert len(kinds["batch"]) >= 10
    for name in MEASURED:
        fewest = 2 if name == "wall_w" else 15  # few makers publish the power of a whole system
        assert sum(getattr(point, name) is not None for point in POINTS) >= fewest
    assert sum(bool(point.disagg) for point in POINTS) >= 10


def test_anchors_are_numbered_from_one() -> None:
    with SHIPPED.open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert {int(row["anchor"]) for row in rows if row["anchor"]} == set(range(1, 21))
    assert len({row["row_id"] for row in rows}) == len(rows)


@pytest.mark.parametrize("point", POINTS, ids=lambda point: point.row_id)
def test_a_point_names_its_source_and_agrees_with_itself(point: Point) -> None:
    assert PUBLIC.match(point.source_ref), point.source_ref
    assert any(getattr(point, name) is not None for name in MEASURED)
    assert point.flags == ""
    if point.output_tok_s_total and point.output_tok_s_per_gpu and point.num_gpus:
        assert point.output_tok_s_total == pytest.approx(point.output_tok_s_per_gpu * point.num_gpus, rel=0.01)
    if point.output_tok_s and point.total_tok_s:
        assert point.output_tok_s < point.total_tok_s
    if point.output_tok_s and point.tpot_s and point.concurrency_or_batch and not point.source.startswith("trtllm"):
        # Little's law: sequences share what is made, and wait for their prompts in the rest of the time. (Offered
        # rates in requests a second stand in the same column.)
        assert point.output_tok_s * point.tpot_s <= 1.1 * point.concurrency_or_batch
    if point.joules_per_token and point.power_w and point.output_tok_s and point.num_gpus:
        watts = point.power_w * point.num_gpus
        assert point.joules_per_token * point.output_tok_s == pytest.approx(watts, rel=0.15)
    if point.wall_joules_per_token and point.wall_w and point.output_tok_s:
        assert point.wall_joules_per_token * point.output_tok_s == pytest.approx(point.wall_w, rel=0.001)


def test_every_source_is_described_on_the_page() -> None:
    origins = runpy.run_path(str(ROOT / "docs" / "make_accuracy.py"))["ORIGINS"]
    assert set(origins) == {point.source for point in POINTS}
