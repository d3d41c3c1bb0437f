"""docs/deepseek-bound.md: its table and the numbers in its text are what the library computes."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pytest

import roofline as rl
from tests.docs.pages import DOCS, agrees, table
from tests.test_published_bounds import ALL_FP8, fp8_but

PAGE = DOCS / "deepseek-bound.md"
BATCHES = (1, 16, 64, 256)
H200_BYTES_PER_S = 4.8e12
COMPONENT = {
    "experts": "experts touched",
    "project_query": "attention after the first projection",
    "absorb_query": "attention after the first projection",
    "absorb_value": "attention after the first projection",
    "project_out": "attention after the first projection",
    "ffn_up": "dense feed-forward, shared expert",
    "ffn_down": "dense feed-forward, shared expert",
    "shared_up": "dense feed-forward, shared expert",
    "shared_down": "dense feed-forward, shared expert",
    "lm_head": "lm_head, embedding",
    "embedding": "lm_head, embedding",
    "project_in": "first projection of MLA",
    "core": "latent cache",
    "router": "router",
}


def column(batch: int, recipe: Any = "fp8") -> dict[str, float]:
    """One column of the table, by component [ms]."""
    found = rl.explain("deepseek-v3", "dgx-h200", recipe, tp=8, ep=8, batch=batch, context=2048, fidelity="ideal")
    ms: dict[str, float] = defaultdict(float)
    roofs = 0.0
    for row in found.operations:
        if row.bytes:
            ms[COMPONENT[row.operation]] += row.count * row.bytes / H200_BYTES_PER_S * 1e3
            roofs += row.total_s * 1e3
    whole = {name for name, split, *_ in table(PAGE, "components") if split == "no"}
    total = sum(ms.values())
    rest = {
        "sum": total,
        "the same, all split by 8": total - 7 / 8 * sum(ms[name] for name in whole),
        "ideal step": found.totals["time_s"] * 1e3,
        "each operation at its own roof": roofs,
    }
    return ms | rest


@pytest.fixture(scope="module")
def computed() -> dict[int, dict[str, float]]:
    return {batch: column(batch) for batch in BATCHES}


def test_the_table_is_what_the_library_computes(computed: dict[int, dict[str, float]]) -> None:
    rows = table(PAGE, "components")
    assert {name for name, *_ in rows} == set(computed[1])
    for name, _, *cells in rows:
        for batch, printed in zip(BATCHES, cells, strict=True):
            value = computed[batch][name]
            assert agrees(printed, value), f"{name} at batch {batch}: page {printed}, library {value}"


def test_splitting_every_byte_gives_the_other_bound(computed: dict[int, dict[str, float]]) -> None:
    for batch, printed in zip(BATCHES, ("0.98", "7.3", "15.4", "18.0"), strict=True):
        assert agrees(printed, computed[batch]["the same, all split by 8"])


@pytest.mark.parametrize(
    ("recipe", "deployment"),
    [
        (fp8_but("router"), {"tp": 8, "ep": 8}),
        (fp8_but("lm_head", "embedding"), {"tp": 8, "ep": 8}),
        (ALL_FP8, {"tp": 8, "ep": 8}),
        ("fp8-block", {"tp": 8, "ep": 8}),
        ("fp8-block-kv8", {"tp": 8, "ep": 8}),
        ("fp8", {"dp": 8, "ep": 8}),
    ],
    ids=["router in bf16", "lm_head in bf16", "all fp8", "fp8-block", "fp8-block-kv8", "dp 8"],
)
def test_other_recipes_and_deployments_in_the_text(recipe: Any, deployment: dict[str, int]) -> None:
    step = rl.decode(
        "deepseek-v3", "dgx-h200", recipe, **deployment, batch=BATCHES, context=2048, fidelity="ideal"
    ).step_time
    one, sixteen, sixty_four, most = (f"{1e3 * value:.3f}" for value in step.values.ravel())
    text = " ".join(PAGE.read_text(encoding="utf-8").split())
    assert f"{one}, {sixteen}, {sixty_four} and {most} ms" in text


def test_roofs_in_series_reach_the_replicated_bound() -> None:
    """With the router alone in bf16 every operation at its own roof gives R within 0.3 %."""
    for batch, bound in zip(BATCHES, (1.18, 7.65, 16.4, 21.7), strict=True):
        assert column(batch, fp8_but("router"))["each operation at its own roof"] == pytest.approx(bound, rel=3e-3)
    assert agrees("21.648", column(256, fp8_but("router"))["each operation at its own roof"])
