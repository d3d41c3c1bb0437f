"""Claims are read as people write them, and units of one kind turn into each other without loss."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roofline.errors import InputError
from roofline.insight.claim_text import parse
from roofline.insight.claim_units import convert, number, unit

ENERGY = (
    *("tokens/MWh", "tok/s/MW", "tokens per kWh", "tok/s per kW", "tok/s/W", "tokens/Wh", "Mtok/MWh", "tok/J"),
    *("J/token", "mJ/tok", "kJ/ktok", "Wh/token", "kWh/Mtok", "MWh per billion tokens", "W s/token".replace(" s", "h")),
)
RATE = ("tok/s/GPU", "tokens/h per GPU", "ktok/s/accelerator", "GPU-hours/Mtok", "GPU-s/token", "tokens/GPU-hour")
MONEY = ("$/Mtok", "$/token", "USD per million tokens", "cents/ktok", "tokens/$", "Mtok per dollar")
VALUES = st.floats(1e-12, 1e12)


@given(VALUES, st.sampled_from([(ENERGY, a, b) for a in ENERGY for b in ENERGY]))
def test_energy_goes_there_and_back(value: float, units: tuple[tuple[str, ...], str, str]) -> None:
    _, first, second = units
    assert convert(convert(value, first, second), second, first) == pytest.approx(value, rel=1e-12)


@given(VALUES, st.sampled_from([(a, b) for kind in (RATE, MONEY) for a in kind for b in kind]))
def test_time_and_money_go_there_and_back(value: float, units: tuple[str, str]) -> None:
    assert convert(convert(value, *units), *units[::-1]) == pytest.approx(value, rel=1e-12)


@given(VALUES)
def test_energies_agree_with_their_definitions(joules: float) -> None:
    """Written out by hand: 1 MWh is 3.6e9 J, 1 Wh 3600 J, 1 MW 1e6 J/s."""
    assert convert(joules, "J/token", "tokens/MWh") == pytest.approx(3.6e9 / joules, rel=1e-12)
    assert convert(joules, "J/token", "tok/s/MW") == pytest.approx(1e6 / joules, rel=1e-12)
    assert convert(joules, "J/token", "Wh/token") == pytest.approx(joules / 3600.0, rel=1e-12)
    per_mwh = convert(joules, "J/token", "tokens/MWh")
    assert per_mwh == pytest.approx(3600.0 * convert(joules, "J/token", "tok/s/MW"), rel=1e-12)


@given(VALUES, st.sampled_from(ENERGY + RATE + MONEY))
def test_a_written_claim_is_read_back(value: float, words: str) -> None:
    claim = parse(f"{value!r} {words}")
    assert claim.value == value
    assert claim.in_unit(claim.cost()) == pytest.approx(value, rel=1e-12)
    assert claim.cost() == unit(words).cost(value)


@given(st.integers(1, 10**15))
def test_thousands_may_be_separated(value: int) -> None:
    for text in (f"{value}", f"{value:,}", f"{value:_}", f"{value:,}".replace(",", " ")):
        assert number(f"{text} J/token") == (float(value), " J/token")


@pytest.mark.parametrize(
    ("text", "cost", "kind"),
    [
        ("500000 tokens/MWh", 7200.0, "energy"),
        ("500k tokens per MWh", 7200.0, "energy"),
        ("~0.5M tokens/mwh", 7200.0, "energy"),
        ("2.5M tok/s/MW", 0.4, "energy"),
        ("2.5 million tokens/s per megawatt", 0.4, "energy"),
        ("0.4 J/token", 0.4, "energy"),
        ("1.5B output tokens/MWh", 2.4, "energy"),
        ("4e-1 joules per token", 0.4, "energy"),
        ("$0.20/Mtok", 2e-7, "money"),
        ("$0.20 per 1M tokens", 2e-7, "money"),
        ("20 cents/1M tokens", 2e-7, "money"),
        ("5M tokens/$", 2e-7, "money"),
        ("90 tok/s/GPU", 1.0 / 90.0, "rate"),
        ("324k tokens per GPU-hour", 1.0 / 90.0, "rate"),
        ("3 GPU hours per Mtok", 3 * 3600e-6, "rate"),
        ("90 TPS per GPU", 1.0 / 90.0, "rate"),
        ("about 500,000 tokens/MWh.", 7200.0, "energy"),
        (">= 500000 tokens/MWh", 7200.0, "energy"),
        ("“500000 tokens/MWh”", 7200.0, "energy"),
        ("US$0.20/1M tok", 2e-7, "money"),
        ("up to USD 0.20 per million tokens", 2e-7, "money"),
    ],
)
def test_forms(text: str, cost: float, kind: str) -> None:
    claim = parse(text)
    assert claim.kind == kind
    assert claim.cost() == pytest.approx(cost, rel=1e-12)
    assert not claim.reference


@pytest.mark.parametrize(
    ("text", "better", "kind", "system"),
    [
        ("50x tokens per MW of dgx-h200", 50.0, "energy", "dgx-h200"),
        ("50 × more tokens/MWh than dgx-h200", 50.0, "energy", "dgx-h200"),
        ("~50x better performance per watt vs. dgx-h200", 50.0, "energy", "dgx-h200"),
        ("35x lower $/Mtok than dgx-h200", 35.0, "money", "dgx-h200"),
        ("0.1x J/token of my rack.yaml", 10.0, "energy", "my rack.yaml"),
        ("12 times the throughput per GPU of dgx-h100", 12.0, "rate", "dgx-h100"),
        ("50x as many tokens/s per MW as dgx-h200", 50.0, "energy", "dgx-h200"),
        ("up to 50-fold tokens per MW of dgx-h200", 50.0, "energy", "dgx-h200"),
        ("35x lower cost per token than dgx-h200", 35.0, "money", "dgx-h200"),
        ("35x lower Cost per million tokens than dgx-h200", 35.0, "money", "dgx-h200"),
        ("35x cheaper than dgx-h200", 35.0, "money", "dgx-h200"),
        ("10x less energy per token than dgx-h100", 10.0, "energy", "dgx-h100"),
        ("10x reduction in J/token vs dgx-h100", 10.0, "energy", "dgx-h100"),
        ("2x better J/token than dgx-h100", 2.0, "energy", "dgx-h100"),
        ("2x more energy per token than dgx-h100", 0.5, "energy", "dgx-h100"),
        ("2x more efficient than dgx-h100", 2.0, "energy", "dgx-h100"),
        ("2x the energy efficiency of dgx-h100", 2.0, "energy", "dgx-h100"),
    ],
)
def test_ratios(text: str, better: float, kind: str, system: str) -> None:
    claim = parse(text)
    assert (claim.kind, claim.reference) == (kind, system)
    assert claim.value == pytest.approx(better, rel=1e-12)
    assert claim.cost(7.0) == pytest.approx(7.0 / better, rel=1e-12)
    assert claim.in_unit(claim.cost(7.0), 7.0) == pytest.approx(better, rel=1e-12)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("1 tok/J", None),
        ("1 output tok/J", "output"),
        ("6,000 total tok/s per GPU", "total"),
        ("$1/M input tokens", "input"),
    ],
)
def test_the_tokens_a_claim_names(text: str, tokens: str | None) -> None:
    assert parse(text).tokens == tokens


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "nothing is claimed"),
        ("many tokens/MWh", "begins with no number"),
        ("nan J/token", "begins with no number"),
        ("500000", "a number without a unit"),
        ("$5", "a number without a unit"),
        ("$5 tokens", "dollars for what?"),
        ("0 J/token", "not a number above 0"),
        ("-3 J/token", "not a number above 0"),
        ("1e999 J/token", "not a number above 0"),
        ("0,4 J/token", "is no number; write 500,000 or 0.4"),
        ("1.2.3 J/token", "is no number"),
        ("2.5m tokens/MWh", "m is a thousandth; write 2.5M"),
        ("5 mWh/token", "mWh is a thousandth; write MWh"),
        ("5 tok/s", "of how many accelerators? write tok/s/GPU"),
        ("5 tokens per watt", "power is not energy"),
        ("5 tokens/GPU", "in what time?"),
        ("100 tok/s/user", "speed of one user"),
        ("5 furlongs/token", "'furlongs' is not understood"),
        ("5 tokens MWh", "one word too many"),
        ("5 tokens/", "is no unit"),
        ("50x tokens per MW", "a ratio to what?"),
        ("50x less tokens/MWh than dgx-h200", "times less of tokens/MWh"),
        ("50x furlongs of dgx-h200", "'furlongs' is not understood"),
        ("50x", "a ratio of what, to what?"),
        ("30x faster than H100", "speed of one user is no cost of a token; write 30x tok/s/GPU"),
        ("12x throughput of dgx-h100", "per what?"),
        ("10-20 tokens/J", "a range; check its ends"),
        ("10 to 20 tokens/J", "a range; check its ends"),
        ("90% fewer J/token than dgx-h100", "a share; write how many times"),
        ("1/35th the cost per token of dgx-h200", "a fraction; write how many times"),
        ("5 cost per token", "'cost' is not understood"),
    ],
)
def test_what_is_no_claim_says_why(text: str, said: str) -> None:
    with pytest.raises(InputError, match="claim") as caught:
        parse(text)
    assert said in str(caught.value)


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
def test_no_value_but_a_positive_one_is_turned(value: float) -> None:
    with pytest.raises(InputError, match="above 0"):
        convert(value, "J/token", "tokens/MWh")


@pytest.mark.parametrize(("first", "second"), [("J/token", "$/Mtok"), ("tok/J", "input tok/J")])
def test_units_of_two_kinds_do_not_mix(first: str, second: str) -> None:
    with pytest.raises(InputError, match="not of the same kind"):
        convert(1.0, first, second)
