"""Sheets of serving stacks: they load, refuse what is wrong at its line, and pad to captured sizes."""

from __future__ import annotations

import re
from pathlib import Path
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

import roofline
from roofline.errors import InputError
from roofline.specs import Stack, json_schema, list_specs
from roofline.specs.check import check

STACK = """\
name: Acme server
framework: Acme Serve 1.2
step_s: 0.6e-3
sequence_s: 12e-6
ttft_s: 15e-3
wait_steps: 2
prompts: first
prompt_tokens: 16384
captured_batches: [1, 2, 4, 8, 16]
sources:
  step_s: {ref: "our traces", grade: measured}
  sequence_s: {ref: "our traces", grade: measured}
  ttft_s: {ref: "our traces", grade: measured}
  wait_steps: {ref: "a guess", grade: estimated}
  prompts: {ref: "Acme's manual", grade: published}
  prompt_tokens: {ref: "Acme's manual", grade: published}
  captured_batches: {ref: "Acme's manual", grade: published}
"""
NUMBERS = ("step_s", "sequence_s", "ttft_s")
FITTED = tuple(f"{server}-{part}" for server in ("trtllm", "vllm", "sglang") for part in ("hopper", "blackwell"))
SIZES = st.lists(st.integers(1, 600), max_size=30, unique=True).map(lambda sizes: tuple(sorted(sizes)))


def written(folder: Path, old: str = "", new: str = "") -> Path:
    path = folder / "stacks" / "acme.yaml"
    path.parent.mkdir(exist_ok=True)
    assert STACK.count(old) == 1 or not old
    path.write_text(STACK.replace(old, new) if old else STACK, encoding="utf-8")
    return path


def padding(sizes: tuple[int, ...]) -> Stack:
    return Stack.load("default").replace(captured_batches=sizes)


def test_a_user_s_stack_loads_by_name_and_path_and_is_sound(tmp_path: Path) -> None:
    path = written(tmp_path)
    stack = Stack.load("acme", folders=[tmp_path])
    assert stack == Stack.load(path)
    assert (stack.step_s, stack.captured_batches) == (0.6e-3, (1, 2, 4, 8, 16))
    assert (stack.wait_steps, stack.prompts, stack.prompt_tokens) == (2.0, "first", 16384)
    assert "acme" in list_specs("stacks", folders=[tmp_path])
    assert check(tmp_path) == []
    assert roofline.Stack is Stack


def test_each_family_of_servers_has_a_sheet_a_generation() -> None:
    assert {"default", *FITTED} <= set(list_specs("stacks"))
    for alias, stem in (("trtllm", "trtllm-hopper"), ("TensorRT-LLM", "trtllm-hopper"), ("vLLM", "vllm-hopper")):
        assert Stack.load(alias).id == stem
    assert Stack.load("sglang").id == "sglang-hopper"
    for name in FITTED:
        stack = Stack.load(name)
        runs_first = name.startswith("sglang")
        assert (stack.prompts, stack.prompt_tokens) == (("first", 16384) if runs_first else ("mixed", 8192))
        for field in ("step_s", "sequence_s"):
            source = stack.source_of(field)
            assert source is not None
            assert source.grade == "measured"
            assert "90 % interval" in source.ref


def test_the_shipped_default_is_the_middle_of_the_fitted() -> None:
    default, fitted = Stack.load("default"), [Stack.load(name) for name in FITTED]
    for field in ("step_s", "sequence_s"):
        found = sorted(getattr(stack, field) for stack in fitted)
        assert getattr(default, field) == pytest.approx(median(found), rel=0.05)
        source = default.source_of(field)
        assert source is not None
        assert source.grade == "estimated"
        low, high = (float(x) for x in re.findall(r"[\d.]+", source.ref.partition(",")[2]))
        scale = 1e-3 if field == "step_s" else 1e-6
        assert (low * scale, high * scale) == pytest.approx((found[0], found[-1]), rel=0.05)


def test_what_a_sheet_leaves_out_is_a_rule() -> None:
    default = Stack.load("default")
    assert (default.wait_steps, default.prompts, default.prompt_tokens) == (0.0, "mixed", 8192)
    assert default.captured_batches == ()
    for field in ("wait_steps", "prompt_tokens"):
        source = default.source_of(field)
        assert source is not None
        assert source.grade == "estimated"
        assert "rule" in source.ref


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ("step_s: 0.6e-3", "step_s: 600", 3, "step_s = 600: out of range: .* did you write microseconds"),
        ("step_s: 0.6e-3", "step_s: -1e-3", 3, "drop the minus sign"),
        ("step_s: 0.6e-3", "step_s: .nan", 3, "not finite"),
        ("sequence_s: 12e-6", 'sequence_s: "12e-6"', 4, "remove the quotes"),
        ("ttft_s: 15e-3", "ttft_s: 15", 5, "ttft_s = 15: out of range: expected a number from 0 to 10 s"),
        ("wait_steps: 2", "wait_steps: -2", 6, "wait_steps = -2: out of range"),
        ("wait_steps: 2", "wait_setps: 2", 6, "did you mean wait_steps"),
        ("prompts: first", "prompts: last", 7, "prompts = 'last': .*mixed.*first"),
        ("prompt_tokens: 16384", "prompt_tokens: 0", 8, "prompt_tokens = 0: out of range"),
        ("prompt_tokens: 16384", "prompt_tokens: 0.5", 8, "not a whole number"),
        ("[1, 2, 4, 8, 16]", "[1, 4, 2]", 9, "must rise: 2 stands after 4"),
        ("[1, 2, 4, 8, 16]", "[1, 2, 2]", 9, "must rise: 2 stands after 2"),
        ("[1, 2, 4, 8, 16]", "[0, 2]", 9, r"captured_batches\.0 = 0"),
        ("[1, 2, 4, 8, 16]", "[1.5, 2]", 9, "not a whole number"),
        ("[1, 2, 4, 8, 16]", "8", 9, "expected a list"),
    ],
)
def test_bad_input_is_placed_by_file_and_line(tmp_path: Path, old: str, new: str, line: int, said: str) -> None:
    path = written(tmp_path, old, new)
    with pytest.raises(InputError) as caught:
        Stack.load(path)
    assert re.search(said, str(caught.value))
    assert f"acme.yaml:{line if 'must rise' not in said else ''}" in str(caught.value)
    assert any(re.search(said, str(item)) for item in check(path))


def test_missing_fields_and_sources_are_named(tmp_path: Path) -> None:
    path = written(tmp_path, "step_s: 0.6e-3\n", "")
    with pytest.raises(InputError, match="step_s: missing"):
        Stack.load(path)
    path = written(tmp_path, '  ttft_s: {ref: "our traces", grade: measured}\n', "")
    assert [(item.field, item.line) for item in check(path)] == [("ttft_s", 5)]


def test_a_stack_outside_its_folder_is_recognised(tmp_path: Path) -> None:
    path = tmp_path / "acme.yaml"
    path.write_text(STACK, encoding="utf-8")
    (found,) = check(path)
    assert found.severity == "warning"
    assert "stack sheets" in found.problem


def test_schema_says_what_a_stack_must_have() -> None:
    schema = json_schema.schema("stack")
    assert {"name", "framework", *NUMBERS} <= set(schema["required"])
    assert not {"wait_steps", "prompts", "prompt_tokens", "captured_batches"} & set(schema["required"])
    assert schema["properties"]["prompts"]["enum"] == ["mixed", "first"]
    assert schema["properties"]["step_s"]["maximum"] == 10.0
    assert schema["properties"]["captured_batches"]["items"]["minimum"] == 1


@given(sizes=SIZES, batch=st.integers(1, 700))
def test_padding_goes_to_the_next_captured_size(sizes: tuple[int, ...], batch: int) -> None:
    stack = padding(sizes)
    found = stack.padded(batch)
    assert found >= batch
    assert found == next((size for size in sizes if size >= batch), batch)
    assert stack.padded(found) == found
    assert stack.padded(batch + 1) >= found


@pytest.mark.parametrize("batch", [0, -3, 1.5, True])
def test_padding_refuses_what_is_no_batch(batch: int) -> None:
    with pytest.raises(InputError, match="batch = "):
        padding((1, 2)).padded(batch)
