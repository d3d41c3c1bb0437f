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
prefill_share: 0.8
ttft_s: 15e-3
waiting_share: 0.1
captured_batches: [1, 2, 4, 8, 16]
sources:
  step_s: {ref: "our traces", grade: measured}
  sequence_s: {ref: "our traces", grade: measured}
  prefill_share: {ref: "our traces", grade: measured}
  ttft_s: {ref: "our traces", grade: measured}
  waiting_share: {ref: "a guess", grade: estimated}
  captured_batches: {ref: "Acme's manual", grade: published}
"""
NUMBERS = ("step_s", "sequence_s", "prefill_share", "ttft_s", "waiting_share")
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
    assert "acme" in list_specs("stacks", folders=[tmp_path])
    assert check(tmp_path) == []
    assert roofline.Stack is Stack


def test_the_shipped_default_is_the_median_of_the_two_fitted() -> None:
    default, trtllm, vllm, sglang = (Stack.load(name) for name in ("default", "TensorRT-LLM", "vLLM", "sglang"))
    assert trtllm.id == "trtllm"
    for field in NUMBERS:
        assert getattr(default, field) == pytest.approx(median([getattr(trtllm, field), getattr(vllm, field)]))
        assert getattr(sglang, field) == getattr(vllm, field)
        for stack in (default, trtllm, vllm, sglang):
            source = stack.source_of(field)
            assert source is not None
            assert source.grade == "estimated"


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ("step_s: 0.6e-3", "step_s: 600", 3, "step_s = 600: out of range: .* did you write microseconds"),
        ("step_s: 0.6e-3", "step_s: -1e-3", 3, "drop the minus sign"),
        ("step_s: 0.6e-3", "step_s: .nan", 3, "not finite"),
        ("sequence_s: 12e-6", 'sequence_s: "12e-6"', 4, "remove the quotes"),
        ("ttft_s: 15e-3", "ttft_s: 15", 6, "ttft_s = 15: out of range: expected a number from 0 to 10 s"),
        ("prefill_share: 0.8", "prefill_share: 80", 5, "a percentage"),
        ("waiting_share: 0.1", "waiting_share: 1.5", 7, "waiting_share = 1.5: out of range"),
        ("waiting_share: 0.1", "waiting_sahre: 0.1", 7, "did you mean waiting_share"),
        ("[1, 2, 4, 8, 16]", "[1, 4, 2]", 8, "must rise: 2 stands after 4"),
        ("[1, 2, 4, 8, 16]", "[1, 2, 2]", 8, "must rise: 2 stands after 2"),
        ("[1, 2, 4, 8, 16]", "[0, 2]", 8, r"captured_batches\.0 = 0"),
        ("[1, 2, 4, 8, 16]", "[1.5, 2]", 8, "not a whole number"),
        ("[1, 2, 4, 8, 16]", "8", 8, "expected a list"),
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
    assert [(item.field, item.line) for item in check(path)] == [("ttft_s", 6)]


def test_a_stack_outside_its_folder_is_recognised(tmp_path: Path) -> None:
    path = tmp_path / "acme.yaml"
    path.write_text(STACK, encoding="utf-8")
    (found,) = check(path)
    assert found.severity == "warning"
    assert "stack sheets" in found.problem


def test_schema_says_what_a_stack_must_have() -> None:
    schema = json_schema.schema("stack")
    assert {"name", "framework", *NUMBERS} <= set(schema["required"])
    assert "captured_batches" not in schema["required"]
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
