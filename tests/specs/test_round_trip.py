"""Made-up sheets survive writing and reading; counts obey the laws that any counting must."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roofline.errors import InputError
from roofline.specs import Accelerator, Facility, Model, Recipe
from roofline.specs.formats import FORMAT_NAMES, MATH_NAMES
from roofline.specs.recipe import PART_NAMES
from roofline.specs.records import Sheet

PROFILE = settings(max_examples=40, deadline=None)


def numbers(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high, allow_nan=False, allow_infinity=False)


grades = st.sampled_from(["published", "measured", "estimated"])
texts = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=3, max_size=20)
sources = st.builds(lambda ref, grade: {"ref": ref, "grade": grade}, texts, grades)


@st.composite
def accelerators(draw: st.DrawFn) -> dict[str, Any]:
    tdp = draw(numbers(10, 3000))
    return {
        "name": draw(texts),
        "vendor": draw(texts),
        "year": draw(st.integers(1990, 2100)),
        "dense_flop_per_s": draw(st.dictionaries(st.sampled_from(MATH_NAMES), numbers(1e10, 1e18), min_size=1)),
        "memory": {"bytes": draw(numbers(1e8, 1e13)), "bytes_per_s": draw(numbers(1e9, 1e15)), "kind": draw(texts)},
        "scale_up_bytes_per_s": draw(st.none() | numbers(1e9, 1e14)),
        "power": {"tdp_w": tdp, "idle_w": tdp * draw(numbers(0.01, 0.9))},
        "efficiency": "h100",
        "sources": {"memory": draw(sources), "power.tdp_w": draw(sources)},
    }


@st.composite
def attentions(draw: st.DrawFn) -> dict[str, Any]:
    if draw(st.booleans()):
        kv_heads, group = draw(st.integers(1, 16)), draw(st.integers(1, 8))
        return {
            "kind": "gqa",
            "heads": kv_heads * group,
            "kv_heads": kv_heads,
            "head_dim": draw(st.integers(1, 256)),
            "window": draw(st.none() | st.integers(1, 4096)),
            "qk_norm": draw(st.booleans()),
            "bias": draw(st.sampled_from(["none", "qkv", "all"])),
            "sinks": draw(st.booleans()),
        }
    widths = ("kv_lora", "qk_nope", "qk_rope", "v_head", "heads")
    return {"kind": "mla", "q_lora": draw(st.integers(0, 2048)), **{name: draw(st.integers(1, 512)) for name in widths}}


@st.composite
def layers(draw: st.DrawFn) -> dict[str, Any]:
    row: dict[str, Any] = {"count": draw(st.integers(1, 100)), "attention": draw(st.none() | attentions())}
    match draw(st.sampled_from(["ffn", "experts", "neither"])):
        case "ffn":
            row["ffn"] = {"matrices": draw(st.sampled_from([2, 3])), "inner": draw(st.integers(1, 50_000))}
        case "experts":
            count = draw(st.integers(1, 512))
            row["experts"] = {
                "count": count,
                "top_k": draw(st.integers(1, count)),
                "inner": draw(st.integers(1, 8192)),
                "shared_inner": draw(st.integers(0, 8192)),
                "bias": draw(st.booleans()),
            }
        case _:
            pass
    return row


@st.composite
def models(draw: st.DrawFn) -> dict[str, Any]:
    return {
        "name": draw(texts),
        "hidden": draw(st.integers(1, 16384)),
        "vocab": draw(st.integers(1, 300_000)),
        "tied_embeddings": draw(st.booleans()),
        "max_context": draw(st.integers(1, 10_000_000)),
        "recipes": ["bf16"],
        "layers": draw(st.lists(layers(), min_size=1, max_size=4)),
    }


@st.composite
def recipes(draw: st.DrawFn) -> dict[str, Any]:
    formats = st.sampled_from(FORMAT_NAMES)
    part = formats | st.fixed_dictionaries({"weights": formats, "activations": formats})
    parts: dict[str, Any] = {name: draw(part) for name in PART_NAMES}
    parts |= {name: draw(formats) for name in ("kv_cache", "activations", "collectives", "dispatch")}
    parts["attention_math"] = draw(st.sampled_from(["bf16", "fp8"]))
    return {"name": draw(texts), "description": "a recipe made up for a test", "parts": parts}


def written(data: dict[str, Any]) -> str:
    """JSON, which every YAML 1.2 reader reads."""
    return json.dumps(data, ensure_ascii=False)


def survives(cls: type[Sheet], data: dict[str, Any]) -> Sheet:
    """Mapping -> sheet -> YAML file -> sheet -> mapping -> sheet: all equal."""
    sheet = cls.load(data)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "made-up.yaml"
        path.write_text(written(data), encoding="utf-8")
        read = cls.load(path)
    assert read == sheet.replace(id="made-up")
    assert cls.load(read.model_dump()) == read
    assert cls.load(read.model_dump(exclude_unset=True)) == read
    assert read.replace() == read
    return sheet


@pytest.mark.filterwarnings("ignore::roofline.specs.findings.DoubtfulSheet")  # rates made up are at times doubtful
@PROFILE
@given(accelerators())
def test_accelerators_survive(data: dict[str, Any]) -> None:
    survives(Accelerator, data)


@PROFILE
@given(recipes())
def test_recipes_survive(data: dict[str, Any]) -> None:
    survives(Recipe, data)


@PROFILE
@given(models())
def test_models_survive_and_count_soundly(data: dict[str, Any]) -> None:
    sheet = survives(Model, data)
    assert isinstance(sheet, Model)
    bf16 = Recipe.load("bf16")
    assert 0 < sheet.matmul_active_params <= sheet.active_params <= sheet.total_params
    assert sheet.layer_count == sum(row["count"] for row in data["layers"])
    split = [{**row, "count": 1} for row in data["layers"] for _ in range(min(row["count"], 3))]
    whole = [{**row, "count": min(row["count"], 3)} for row in data["layers"]]
    assert Model.load({**data, "layers": split}).total_params == Model.load({**data, "layers": whole}).total_params
    sizes = [sheet.kv_bytes(context, bf16) for context in (1, 100, 5000, 5001)]
    assert sizes == sorted(sizes)
    assert sizes[3] - sizes[2] == sheet.kv_bytes_per_token(bf16)


@PROFILE
@given(
    st.sampled_from([True, False, None, [], {}, float("nan"), float("inf"), -float("inf")])
    | st.text()
    | numbers(-1e9, 0.999)
    | st.integers(-(10**9), 0)
)
def test_what_is_no_number_of_the_range_is_refused(value: object) -> None:
    with pytest.raises(InputError, match="pue"):
        Facility.load({"name": "Hall", "cooling": "air", "pue": value})


@PROFILE
@given(st.text(max_size=200))
def test_any_text_is_a_sheet_or_a_clear_error(text: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.yaml"
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        with pytest.raises(InputError, match=r"x\.yaml:\d+: "):
            Facility.load(path)
