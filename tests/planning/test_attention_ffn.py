"""Attention and feed-forward apart: against the oracle of section 14, the laws of such a step, and known racks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import roofline as rl
from roofline.layout import LIMIT_MEANINGS, Limit
from roofline.planning.attention_ffn import AttentionFFN, attention_ffn, groups_of
from roofline.planning.sides import halves
from roofline.specs.model import Layers
from roofline.specs.pack import pack_kit, pack_machine, pack_models
from tests.oracle import as_plain
from tests.oracle.attention_ffn import Side
from tests.oracle.attention_ffn import attention_ffn as by_hand

Plain = dict[str, Any]
Row = dict[str, int]

MODELS = (
    "deepseek-r1",  # dense and routed layers, latent attention, a module that drafts
    "deepseek-v3.2",  # an indexer
    "llama-3.1-70b",  # dense
    "llama-4-maverick",  # attention in chunks
    "mixtral-8x7b",
    "nemotron-3-super-120b-a12b",  # latent experts
    "nemotron-h-56b",  # layers without attention, layers without feed-forward
    "qwen3-next-80b-a3b",  # linear attention
)
DRAFTING = ("deepseek-r1", "deepseek-v3.2")
SYSTEMS = ("dgx-h200", "gb300-nvl72", "mi300x-8", "vr-nvl72", "groq3-lpx")
RECIPES = ("bf16", "fp8-block", "nvfp4-experts")
FIGURES = ("step_s", "attention_s", "feed_forward_s", "link_s", "watts_a", "watts_f")
TIGHT = 1e-12


def plain_model(model: rl.Model) -> Plain:
    """The model as the oracle takes it: weights of norms and attention apart from those of the feed-forward."""
    models, layers = pack_models([model])
    plain = as_plain(models[0])
    for name, sheet, first in (
        ("rows", model.layers, plain["first_layer"]),
        ("draft_rows", model.mtp.layers if model.mtp else (), plain["first_draft"]),
    ):
        plain[name] = [as_plain(layers[first + index]) for index in range(len(sheet))]
        for row, given_row in zip(plain[name], sheet, strict=True):
            feed = given_row.ffn or given_row.experts
            row["other_f"] = feed.other(model.hidden) if feed else 0
            row["other_a"] = row["other_params"] - row["other_f"]
    return plain


def plain_side(system: str, recipe: str, degrees: Row) -> Side:
    sheet = rl.System.load(system)
    kit = pack_kit(rl.Recipe.load(recipe), sheet.accelerator, "kernel").record
    return Side(as_plain(pack_machine(sheet, "kernel")), as_plain(kit), {"pp": 1, **degrees})


powers = st.sampled_from([1, 2, 4, 8, 16, 32])


@st.composite
def cells(draw: st.DrawFn) -> Plain:
    """One model on two sides, all degrees powers of two, legal or not."""
    tp, dp, tp_f, dp_f = (draw(powers) for _ in range(4))
    ep = draw(powers.filter(lambda n: tp_f * dp_f % n == 0))
    model = draw(st.sampled_from(MODELS))
    contexts = draw(st.lists(st.integers(4, 8192), min_size=1, max_size=3))
    return {
        "model": model,
        "systems": (draw(st.sampled_from(SYSTEMS)), draw(st.sampled_from(SYSTEMS))),
        "recipes": (draw(st.sampled_from(RECIPES)), draw(st.sampled_from(RECIPES))),
        "a": {"tp": tp, "dp": dp, "ep": 1, "moe_tp": tp * dp},
        "f": {"tp": tp_f, "dp": dp_f, "ep": ep, "moe_tp": tp_f * dp_f // ep},
        "batch": sorted(draw(st.sets(st.integers(1, 3000), min_size=1, max_size=3))),
        "contexts": contexts,
        "reserved": max(contexts) + draw(st.integers(0, 200_000)) // draw(st.sampled_from([1, 1000])),
        "drafts": draw(st.integers(0, 2)) if model in DRAFTING else 0,
    }


def of_cell(cell: Plain, **changes: Any) -> AttentionFFN:
    given_sides = dict(zip(("system_a", "system_f"), cell["systems"], strict=True))
    given_recipes = dict(zip(("recipe_a", "recipe_f"), cell["recipes"], strict=True))
    arguments = given_sides | given_recipes | {name: cell[name] for name in ("batch", "contexts", "reserved", "drafts")}
    arguments |= {"deployments_a": [cell["a"]], "deployments_f": [cell["f"]]}
    return attention_ffn(cell["model"], **(arguments | changes))


@pytest.mark.reaches("runs", "memory", "context", "unlike layers", "drafts", "round trip", "waits for one side")
@given(cell=cells())
def test_it_is_what_the_equations_say(cell: Plain, reach: Callable[[str], None]) -> None:
    found = of_cell(cell)
    model = plain_model(rl.Model.load(cell["model"]))
    a, f = (plain_side(*side) for side in zip(cell["systems"], cell["recipes"], (cell["a"], cell["f"]), strict=True))
    for i, rounds in enumerate(found.micro_batches.tolist()):
        for j, batch in enumerate(cell["batch"]):
            expected = by_hand(model, a, f, batch, rounds, cell["contexts"], cell["reserved"], cell["drafts"])
            assert found.limit[0, 0, i, j] == expected["limit"]
            for name in ("memory_a", "memory_f", *FIGURES):
                value = getattr(found, name)[0, 0, i, j]
                assert value == pytest.approx(expected.get(name, np.nan), rel=TIGHT, nan_ok=True), name
            reach(LIMIT_MEANINGS[expected["limit"]].split()[0])
            reach(expected["limit"].name.lower())
            if expected["limit"] == Limit.NONE:
                reach("unlike layers" if len(model["rows"]) > 1 else "one kind")
                reach("drafts" if cell["drafts"] else "no drafts")
                most = max(expected[name] for name in ("attention_s", "feed_forward_s", "link_s"))
                reach("round trip" if expected["step_s"] > 1.5 * most else "waits for one side")


@pytest.mark.reaches("runs")
@given(cell=cells())
def test_one_micro_batch_is_the_plain_sum_and_more_wait_for_the_slowest(
    cell: Plain, reach: Callable[[str], None]
) -> None:
    """(27) with m = 1; and no step is faster than any one side works in it."""
    found = of_cell(cell, drafts=0)
    for name in ("attention_s", "feed_forward_s", "link_s"):
        busy = getattr(found, name)
        assert (np.isnan(busy) | (found.step_s >= busy * (1 - TIGHT))).all(), name
    alone = found.step_s[:, :, 0]
    parts = found.attention_s[:, :, 0] + found.feed_forward_s[:, :, 0]
    ran = ~np.isnan(alone)
    if ran.any():
        reach("runs")
    # the link is there and back, of which link_s has the slower
    assert (alone[ran] >= (parts + found.link_s[:, :, 0])[ran] * (1 - TIGHT)).all()
    assert (alone[ran] <= (parts + 2 * found.link_s[:, :, 0])[ran] * (1 + TIGHT)).all()


def test_one_micro_batch_with_equal_ways_is_the_sum_of_four_stages() -> None:
    """bf16 both ways: the step is attention + feed-forward + twice the link, to the bit of the sum."""
    found = attention_ffn(
        "mixtral-8x7b", "dgx-h200", "dgx-h200", "bf16", batch=[1, 24, 700], contexts=2048, micro_batches=1
    )
    whole = found.attention_s + found.feed_forward_s + 2 * found.link_s
    ran = found.limit == 0
    assert ran.any()
    assert found.step_s[ran] == pytest.approx(whole[ran], rel=TIGHT)


FASTER = {
    "link of both": ("both", {"scale_out__bytes_per_s": 1.7}),
    "latency of the link": ("both", {"scale_out__hop_s": 0.5}),
    "memory of F": ("f", {"accelerator__memory__bytes_per_s": 2.0}),
    "memory of A": ("a", {"accelerator__memory__bytes_per_s": 2.0}),
    "scale-up of F": ("f", {"accelerator__scale_up_bytes_per_s": 3.0}),
}


def scaled(system: str, changes: dict[str, float]) -> rl.System:
    sheet = rl.System.load(system)
    values: dict[str, float] = {}
    for path, factor in changes.items():
        value: Any = sheet
        for name in path.split("__"):
            value = getattr(value, name)
        values[path] = value * factor
    return sheet.replace(**values)


@pytest.mark.parametrize("what", FASTER)
@pytest.mark.reaches("faster")
@given(cell=cells())
def test_a_faster_part_never_makes_a_step_slower(what: str, cell: Plain, reach: Callable[[str], None]) -> None:
    side, changes = FASTER[what]
    system_a, system_f = cell["systems"]
    better = (
        scaled(system_a, changes) if side in ("a", "both") else system_a,
        scaled(system_f, changes) if side in ("f", "both") else system_f,
    )
    before, after = of_cell(cell), of_cell(cell | {"systems": better})
    assert (before.limit == after.limit).all()
    ran = before.limit == 0
    assert (after.step_s[ran] <= before.step_s[ran] * (1 + TIGHT)).all()
    if (after.step_s[ran] < before.step_s[ran]).any():
        reach("faster")


@pytest.mark.parametrize("name", MODELS)
def test_no_weight_is_lost_or_held_twice(name: str) -> None:
    """Parameters of the halves are those of the model: the ends stand in both, norms and attention in A alone."""
    model = rl.Model.load(name)
    attention, feed_forward = halves(model)
    ends = model.total_params - sum(row.count * row.params(model.hidden) for row in model.layers)
    assert attention.total_params + feed_forward.total_params - ends == model.total_params
    assert attention.mtp_params + feed_forward.mtp_params - (
        model.mtp.modules * 2 * model.hidden**2 if model.mtp else 0
    ) == (model.mtp_params)


@pytest.mark.parametrize("name", MODELS)
def test_no_work_is_lost_or_done_twice(name: str) -> None:
    """One accelerator on each side, of one kind, does what one alone does in `decode`: the step is longer by the link.

    (27) with m = 1 then has the time of every operation of the whole model once.
    """
    model, system, cell = rl.Model.load(name), "dgx-h200", {"batch": [1, 6, 300], "context": [3000]}
    roomy = rl.System.load(system).replace(accelerator__memory__bytes=10**13)
    one = [{"tp": 1}]
    apart = attention_ffn(
        model, roomy, roomy, "bf16", deployments_a=one, deployments_f=one, batch=cell["batch"], contexts=3000,
        micro_batches=1,
    )  # fmt: skip
    whole = rl.decode(model, roomy, "bf16", **cell)["tpot"].values.ravel()
    assert (apart.limit == 0).all()
    assert (apart.step_s - 2 * apart.link_s).ravel() == pytest.approx(whole, rel=1e-11)


def racks(recipe: str) -> list[int]:
    """LPX racks of the groups that hold the feed-forward of DeepSeek-R1."""
    found = attention_ffn("deepseek-r1", "vr-nvl72", "groq3-lpx", recipe, batch=64, contexts=8192)
    held = found.accelerators_f[(found.limit == 0).any(axis=(0, 2, 3))]
    assert (held % 256 == 0).all()
    return sorted(set((held // 256).tolist()))


def test_racks_of_lpx_that_hold_the_experts_of_deepseek_r1() -> None:
    """654e9 weights of experts: 5.1 racks of 128 GB of SRAM in FP8, 2.9 in NVFP4; a tenth is not for weights.

    The LPU has no arithmetic for FP4, but holds weights in it.
    """
    assert racks("fp8-block") == [6, 7, 8]
    assert racks("nvfp4-experts") == [4, 5, 6, 7, 8]


def test_rubin_with_lpx() -> None:
    """What is undisclosed stays so, and two micro-batches hide the shorter side once the round trip does not bind."""
    found = attention_ffn(
        "deepseek-r1", "vr-nvl72", "groq3-lpx", "nvfp4-experts", batch=[8, 8192], contexts=[4096, 8192]
    )
    ran = found.limit == 0
    assert ran.any()
    assert np.isnan(found.watts_f).all()
    assert np.isfinite(found.watts_a[ran]).all()
    assert (found.memory_f[ran] <= 450e6).all()
    best = np.nanmin(found.step_s, axis=(0, 1))  # [micro-batches, batch]
    assert best[0, 0] == pytest.approx(best[1, 0], rel=0.05)  # few sequences: the latency of one round binds
    assert best[1, 1] < 0.9 * best[0, 1]  # many: the sides work at the same time


def test_the_grid_has_the_axes_it_says() -> None:
    found = attention_ffn(
        "mixtral-8x7b", "dgx-h200", "mi300x-8", "bf16", batch=[4, 16, 64], contexts=[2048, 2048], micro_batches=[1, 3],
        deployments_a=[{"tp": 2}, {"tp": 2, "dp": 4}], deployments_f=[{"dp": 8, "ep": 8}, {"tp": 8}, {"tp": 3}],
    )  # fmt: skip
    shape = 2, 3, 2, 3
    for field in fields(found):
        if field.name.endswith(("_s", "limit", "memory_a", "memory_f", "watts_a", "watts_f")):
            assert getattr(found, field.name).shape == shape, field.name
    assert found.labels_a == ("tp2", "tp2 dp4")
    assert found.labels_f == ("dp8 ep8", "tp8", "tp3")
    assert found.accelerators_a.tolist() == [2, 8]
    assert found.deployments_f[0] == (1, 1, 8, 8, 1)
    assert found.limit.dtype == np.int8


def test_contexts_of_equal_weight() -> None:
    """Twice the same context is that context; two are the mean of the time of attention at each."""
    where = ("llama-3.1-70b", "dgx-h200", "dgx-h200", "fp8")
    how: Plain = {"deployments_a": [{"tp": 8}], "deployments_f": [{"tp": 8}], "batch": 32, "reserved": 9000}
    both, short, long, again = (
        attention_ffn(*where, contexts=contexts, micro_batches=1, **how).step_s.item()
        for contexts in ([1000, 9000], 1000, [9000], [9000, 9000])
    )
    assert both == pytest.approx((short + long) / 2, rel=TIGHT)
    assert again == long


def test_no_arithmetic_and_no_module_that_drafts() -> None:
    how: Plain = {"deployments_a": [{"tp": 8}], "deployments_f": [{"tp": 512}], "batch": 4, "contexts": 1000}
    recipe = rl.Recipe.load("bf16")
    exact = recipe.replace(name="fp32", parts__dense_ffn={"weights": "fp32", "activations": "fp32"})
    found = attention_ffn("llama-3.1-70b", "dgx-h200", "groq3-lpx", "bf16", exact, **how)
    assert set(found.limit.ravel().tolist()) == {int(Limit.MATH_TYPE)}
    assert np.isnan(found.step_s).all()
    found = attention_ffn("llama-3.1-70b", "dgx-h200", "groq3-lpx", exact, "bf16", **how)
    assert set(found.limit.ravel().tolist()) == {int(Limit.NONE)}  # A has no feed-forward to do in FP32
    found = attention_ffn("llama-3.1-70b", "dgx-h200", "groq3-lpx", exact, "bf16", drafts=1, **how)
    assert set(found.limit.ravel().tolist()) == {int(Limit.DRAFT)}


def test_default_groups() -> None:
    model = rl.Model.load("deepseek-r1")
    rows = groups_of(model, rl.System.load("groq3-lpx"))
    assert len(set(rows)) == len(rows)
    for tp, pp, dp, ep, moe_tp in rows:
        assert pp == 1
        assert ep * moe_tp == tp * dp
        assert 256 % ep == 0
    assert {tp * dp for tp, _, dp, _, _ in rows} >= {1, 128, 256, 768, 1536, 2048}
    assert groups_of(rl.Model.load("llama-3.1-8b"), rl.System.load("dgx-h200"))[:4] == tuple(
        (n, 1, 1, 1, n) for n in (1, 2, 4, 8)
    )


LONELY = rl.Model.load("llama-3.1-8b")
BAD: dict[str, tuple[Plain, str]] = {
    "a pipeline on A": ({"deployments_a": [{"tp": 2, "pp": 2}]}, "deployments_a[0]: pp = 2"),
    "a pipeline on F": ({"deployments_f": [{"tp": 2}, {"pp": 4}]}, "deployments_f[1]: pp = 4"),
    "experts on A": ({"deployments_a": [{"dp": 2, "ep": 2}]}, "deployments_a[0]: ep = 2"),
    "no deployments": ({"deployments_f": []}, "none given"),
    "a bound": ({"fidelity": "ideal"}, "fidelity 'ideal'"),
    "no batch": ({"batch": 0}, "batch"),
    "no contexts": ({"contexts": []}, "contexts: no values"),
    "a negative context": ({"contexts": [-3]}, "contexts"),
    "a context in words": ({"contexts": "long"}, "contexts"),
    "drafts longer than the context": ({"contexts": 2, "drafts": 2}, "3 new tokens"),
    "too little reserved": ({"contexts": 100, "reserved": 99}, "reserved: 99"),
    "a fraction of micro-batches": ({"micro_batches": 1.5}, "micro_batches"),
    "an unknown system": ({"system_f": "groq9"}, "groq9"),
    "no network": ({"system_f": "l40s"}, "no scale_out"),
    "no attention": (
        {"model": LONELY.replace(name="no attention", layers=(Layers(count=1, ffn=LONELY.layers[0].ffn),))},
        "no attention",
    ),
    "no feed-forward": (
        {"model": LONELY.replace(name="no ffn", layers=(Layers(count=1, attention=LONELY.layers[0].attention),))},
        "no feed-forward",
    ),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_input_is_named(what: str) -> None:
    changes, message = BAD[what]
    good: Plain = {"model": "mixtral-8x7b", "system_a": "dgx-h200", "system_f": "dgx-h200", "recipe_a": "bf16"}
    with pytest.raises(rl.InputError) as error:
        attention_ffn(**(good | {"batch": 8, "contexts": 1024} | changes))
    assert message in str(error.value)
