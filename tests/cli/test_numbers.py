"""Lists of whole numbers and of names on the command line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roofline.cli.numbers import MOST, names, whole_numbers
from roofline.errors import InputError


@given(st.lists(st.integers(1, 10**9), min_size=1, max_size=20, unique=True))
def test_a_list_is_read_as_written(values: list[int]) -> None:
    assert whole_numbers(",".join(map(str, values)), "--batch") == tuple(values)


@given(st.integers(1, 1000), st.integers(0, 200), st.integers(1, 50))
def test_a_range_includes_both_ends_it_reaches(first: int, span: int, step: int) -> None:
    found = whole_numbers(f"{first}:{first + span}:{step}", "--batch")
    assert found == tuple(range(first, first + span + 1, step))
    assert whole_numbers(f"{first}:{first + span}", "--batch") == tuple(range(first, first + span + 1))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("8k", (8192,)),
        ("1M", (1048576,)),
        ("1:256:x4", (1, 4, 16, 64, 256)),
        ("1:100:x10", (1, 10, 100)),
        ("2k:16k:x2", (2048, 4096, 8192, 16384)),
        ("4,1,4,1:2", (4, 1, 2)),
    ],
)
def test_forms(text: str, expected: tuple[int, ...]) -> None:
    assert whole_numbers(text, "--context") == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "-1",
        "1.5",
        "nan",
        "inf",
        "1,,2",
        "a",
        "1e3",
        "8:1",
        "1:8:0",
        "1:8:x1",
        "0:8:x2",
        "1:2:3:4",
        "1:",
        "x2",
        "1:9:x",
    ],
)
def test_anything_else_is_refused_by_the_option_s_name(text: str) -> None:
    with pytest.raises(InputError, match="--batch"):
        whole_numbers(text, "--batch")


def test_a_huge_range_is_refused_at_once() -> None:
    with pytest.raises(InputError, match=f"more than {MOST} values"):
        whole_numbers("1:1000000000000", "--batch")


def test_zero_where_it_makes_sense() -> None:
    assert whole_numbers("0:2", "--cached", least=0) == (0, 1, 2)


def test_names() -> None:
    assert names("a, b,a", "model") == ["a", "b"]
    with pytest.raises(InputError, match="no model named"):
        names(" , ", "model")
