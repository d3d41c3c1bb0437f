"""The ideal bound against plain arithmetic, and below every plan."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import roofline as rl
from roofline.errors import InputError
from roofline.insight.ideal_bound import IdealBound, ideal_bound
from roofline.rack.best import native_recipes
from roofline.specs import Recipe

PAIRS = (
    ("llama-3.1-8b", "hgx-h100"),
    ("llama-3.3-70b", "hgx-b200"),
    ("gpt-oss-120b", "mi355x-8"),
    ("deepseek-r1", "dgx-h200"),
    ("qwen3-32b", "dgx-h100"),
)


def bound(model: str, system: str, recipes: list[str] | None = None, **options: object) -> IdealBound:
    shape, box = rl.Model.load(model), rl.System.load(system)
    chosen = native_recipes(shape, box) if recipes is None else [Recipe.load(name) for name in recipes]
    workload = rl.Workload.of(options.pop("workload", "1k/1k"))  # type: ignore[arg-type]
    return ideal_bound(shape, box, chosen, workload, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(("isl", "osl"), [(1024, 1024), (8192, 512), (16, 4096)])
def test_llama_by_hand(isl: int, osl: int) -> None:
    """Llama 3.1 70B in bf16: FLOP and bytes from its shape, watts from the sheets."""
    system = rl.System.load("dgx-h100")
    peak, bytes_per_s = 989.4e12, 3.35e12
    layer = 8192 * (64 + 16) * 128 + 64 * 128 * 8192 + 3 * 8192 * 28672
    head = 128256 * 8192
    contexts = [isl + n for n in range(1, osl + 1)]
    mean = sum(contexts) / osl
    token = (2 * (80 * layer + head) + 80 * 4 * 64 * 128 * mean) / peak
    cache = 80 * 2 * 8 * 128 * 2 * (mean + 1) / bytes_per_s  # read, and the new one written
    pairs = isl * (isl + 1) / 2
    prompt = (2 * (80 * layer * isl + head) + 80 * 4 * 64 * 128 * pairs) / peak / osl
    power = system.accelerator.power
    found = bound("llama-3.1-70b", "dgx-h100", ["bf16"], workload={"isl": isl, "osl": osl})
    assert found.derivation[0].value == pytest.approx(token, rel=2e-3)  # norms and the like are left out here
    assert found.derivation[1].value == pytest.approx(cache, rel=2e-3)
    assert found.derivation[2].value == pytest.approx(prompt, rel=2e-3)
    compute, memory = (sum(step.value for step in found.derivation[i:4:2]) for i in (0, 1))
    seconds = max(compute, memory)

    def draw(u_f: float, u_m: float) -> float:
        x = power.draw_a * math.sqrt(u_f) + power.draw_b * u_m
        assert power.tdp_w is not None
        assert power.idle_w is not None
        return power.idle_w + (power.tdp_w - power.idle_w) * (1.0 - 1.0 / (1.0 + x + x * x / 2.0))

    both = min(compute, memory)
    joules = both * draw(1, 1) + (compute - both) * draw(1, 0) + (memory - both) * draw(0, 1)
    rack_w = (joules / seconds + system.power.host_w / 8) / max(system.power.supplies[2])
    assert found.gpu_seconds == pytest.approx(seconds, rel=1e-12)
    assert found.joules_per_token == pytest.approx(
        seconds * (rack_w + system.power.network_w / 8) * system.facility.pue, rel=1e-12
    )


@settings(max_examples=12)
@given(
    st.sampled_from(PAIRS),
    st.sampled_from([(128, 128), (1024, 1024), (8192, 1024), (1024, 8192), (32768, 64)]),
    st.sampled_from(["accelerator", "rack", "facility"]),
    st.sampled_from(["metered", "provisioned"]),
    st.sampled_from(["energy", "rate"]),
)
def test_no_plan_is_below_it(
    pair: tuple[str, str], lengths: tuple[int, int], boundary: str, basis: str, kind: str
) -> None:
    workload = {"isl": lengths[0], "osl": lengths[1]}
    found = bound(*pair, workload=workload, kind=kind, boundary=boundary, basis=basis)
    objective = "tokens_per_mwh" if kind == "energy" else "tokens_per_s_per_gpu"
    best = rl.plan(*pair, workload=workload, objective=objective, boundary=boundary, basis=basis)  # type: ignore[arg-type]
    if kind == "energy":
        assert found.joules_per_token <= float(best["joules_per_token_at_boundary"].item())
    else:
        assert found.gpu_seconds <= 1.0 / float(best["tokens_per_s_per_gpu"].item())


def test_drafts_lower_a_bound_that_reads_caches_and_never_raise_it() -> None:
    """With long contexts a step reads more than it computes: several tokens share what is read."""
    plain = bound("deepseek-r1", "dgx-h200", workload={"isl": 1024, "osl": 65536}, kind="rate")
    drafted = bound("deepseek-r1", "dgx-h200", workload={"isl": 1024, "osl": 65536}, kind="rate", acceptance=(0.9, 0.9))
    assert drafted.gpu_seconds <= plain.gpu_seconds
    assert drafted.drafts in (0, 1, 2)


@pytest.mark.parametrize("field", ["memory__bytes_per_s", "dense_flop_per_s"])
def test_faster_hardware_lowers_it(field: str) -> None:
    shape, box = rl.Model.load("llama-3.1-8b"), rl.System.load("hgx-h100")
    recipes, workload = [Recipe.load("bf16")], rl.Workload.of("1k/1k")
    old = box.accelerator.memory.bytes_per_s if "memory" in field else box.accelerator.dense_flop_per_s
    twice = {name: 2.0 * rate for name, rate in old.items()} if isinstance(old, dict) else 2.0 * old
    faster = box.replace(**{f"accelerator__{field}": twice})
    before, after = (ideal_bound(shape, one, recipes, workload, kind="rate") for one in (box, faster))
    assert after.gpu_seconds <= before.gpu_seconds
    steps = [(a.value, b.value) for a, b in zip(after.derivation[:4], before.derivation[:4], strict=True)]
    halved = steps[1::2] if "memory" in field else steps[::2]
    for new, previous in halved:
        assert new == pytest.approx(previous / 2.0, rel=1e-9)


def test_undisclosed_power_leaves_time() -> None:
    found = bound("qwen3-32b", "groq3-lpx")
    assert math.isnan(found.joules_per_token)
    assert found.gpu_seconds > 0.0


def test_lengths_that_the_model_does_not_take_are_said() -> None:
    with pytest.raises(InputError, match=r"cannot run on HGX H100 in bf16: .*context"):
        bound("llama-3.1-8b", "hgx-h100", ["bf16"], workload={"isl": 300_000, "osl": 1024})
