"""What is impossible, plausible and below working, and which slip would explain a claim."""

from __future__ import annotations

import math
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import roofline as rl
from roofline.errors import InputError
from roofline.insight.claim_units import COST_UNITS
from roofline.insight.claim_words import figure
from roofline.insight.claims import VERDICTS, ClaimCheck, check_claim, judge
from roofline.insight.slips import Circumstances, slips

MODEL, SYSTEM = "llama-3.1-70b", "dgx-h100"
ORDER = ("impossible", "better_than_best_plan", "plausible", "below_working")
COSTS = st.floats(1e-9, 1e9)
KINDS = ("energy", "rate", "money")
UNITS = {"energy": "J/token", "rate": "GPU-s/token", "money": "$/token"}
PAIRS = ((MODEL, SYSTEM), ("deepseek-r1", "dgx-h200"), ("gpt-oss-120b", "mi355x-8"), ("qwen3-32b", "hgx-b200"))


def check(text: str, model: str = MODEL, system: str = SYSTEM, **options: object) -> ClaimCheck:
    price = {"usd_per_gpu_hour": 2.0} if "$" in text and "usd_per_gpu_hour" not in options else {}
    return check_claim(text, model, system, **price, **options)  # type: ignore[arg-type]


@cache
def ladder(kind: str, model: str = MODEL, system: str = SYSTEM) -> dict[str, float]:
    """Costs of the points in the unit of the kind: bound, edge of the plausible, best plan, worst."""
    found = check(f"1 {UNITS[kind]}", model, system)
    return {rung.name: rung.value for rung in found.rungs} | {"expected": found.expected}


def verdict(cost: float, kind: str, model: str = MODEL, system: str = SYSTEM) -> str:
    return check(f"{cost!r} {UNITS[kind]}", model, system).verdict


@given(st.lists(COSTS, min_size=3, max_size=3).map(sorted), COSTS, COSTS)
def test_a_dearer_token_is_never_called_better(points: list[float], one: float, other: float) -> None:
    cheap, dear = sorted((one, other))
    first, second = (ORDER.index(judge(cost, *points)) for cost in (cheap, dear))
    assert first <= second


@given(COSTS, st.floats(allow_nan=True), st.floats(allow_nan=True))
def test_above_the_bound_is_impossible_whatever_else_is_known(bound: float, best: float, worst: float) -> None:
    assert judge(bound * (1.0 - 1e-9), bound, best, worst) == "impossible"
    assert judge(bound, bound, best, worst) != "impossible"


@given(COSTS, st.sampled_from([(math.nan, 1.0), (1.0, math.nan)]))
def test_what_is_not_known_is_undefined(cost: float, points: tuple[float, float]) -> None:
    assert judge(cost, math.nan, *points) == "undefined"
    assert judge(math.nan, 0.1, 1.0, 2.0) == "undefined"


@settings(max_examples=5)
@given(st.sampled_from(PAIRS), st.sampled_from(KINDS), st.floats(1e-6, 0.999))
def test_a_claim_above_the_ideal_bound_is_always_impossible(pair: tuple[str, str], kind: str, share: float) -> None:
    assert verdict(ladder(kind, *pair)["ideal_bound"] * share, kind, *pair) == "impossible"


@pytest.mark.parametrize(
    ("kind", "pair"), [("energy", pair) for pair in PAIRS] + [("rate", PAIRS[-1]), ("money", PAIRS[-1])], ids=str
)
def test_the_points_rise_and_are_what_they_should_be(pair: tuple[str, str], kind: str) -> None:
    points = ladder(kind, *pair)
    assert points["ideal_bound"] <= points["expected"] <= points["best_plan"]
    assert points["best_plan"] <= points["one_at_a_time"] <= points["worst_working"]
    assert verdict(points["best_plan"], kind, *pair) == "plausible"
    assert verdict(points["one_at_a_time"], kind, *pair) == "plausible"
    assert verdict(points["worst_working"], kind, *pair) == "plausible"
    assert verdict(points["worst_working"] * 1.01, kind, *pair) == "below_working"
    between = math.sqrt(points["ideal_bound"] * points["expected"])
    assert verdict(between, kind, *pair) == "better_than_best_plan"


def test_the_best_plan_is_that_of_plan() -> None:
    best = rl.plan(MODEL, SYSTEM, workload="8k/1k", slo=rl.SLO(tpot_s=0.03), boundary="rack")
    found = check("1 J/token", isl=8192, osl=1024, slo={"tpot_s": 0.03}, boundary="rack")
    assert found.rung("best_plan").value == float(best["joules_per_token_at_boundary"].item())
    assert (found.attrs["boundary"], found.attrs["slo"]) == ("rack", "tpot 0.03 s")


def test_the_published_illustration_is_below_what_works() -> None:
    """500,000 tokens/MWh for 70B on Hopper: 7,200 J a token; a rate per MW printed as tokens per MWh."""
    found = check("500,000 tokens/MWh")
    assert found.verdict == "below_working"
    assert found.joules_per_token == pytest.approx(7200.0, rel=1e-12)
    assert found.rung("best_plan").claim_over > 1e4 / 3.0  # three orders of magnitude and more
    assert 50.0 < found.rung("one_at_a_time").claim_over < 500.0
    assert found.nearest_slip is not None
    assert found.nearest_slip.factor == pytest.approx(3600.0)
    assert found.nearest_slip.cost == pytest.approx(2.0)
    assert "a factor of 3,600" in " ".join(found.said())
    assert check("500,000 tok/s/MW").plausible


@pytest.mark.parametrize("kind", KINDS)
def test_a_slip_made_is_a_slip_found(kind: str) -> None:
    """The best plan's own figure with each slip made: undoing that slip leads back to it."""
    best = ladder(kind)["best_plan"]
    made = check(f"{best * 1e9!r} {UNITS[kind]}").slips
    tested = 0
    for slip in made:
        factor = slip.cost / (best * 1e9)
        found = check(f"{best / factor!r} {UNITS[kind]}")
        if found.verdict == "plausible":
            continue  # too small to show
        assert found.nearest_slip is not None
        assert found.nearest_slip.over_best == pytest.approx(1.0, rel=1e-6)
        assert found.nearest_slip.factor == pytest.approx(slip.factor, rel=1e-6)
        tested += 1
    assert tested >= 3


@given(COSTS, st.sampled_from(KINDS), st.integers(1, 144), st.booleans())
def test_every_slip_says_what_it_makes_of_a_claim(cost: float, kind: str, accelerators: int, ratio: bool) -> None:
    here = Circumstances(kind, accelerators, 1024.0, 256.0, "output", 1.7, ratio, 8, 2.0, 30.0)  # type: ignore[arg-type]
    found, nearest = slips(cost, here, lambda value: judge(value, 1.0, 2.0, 200.0), 3.0)
    assert found
    for slip in found:
        assert slip.factor > 1.0
        assert slip.verdict == judge(slip.cost, 1.0, 2.0, 200.0)
        assert max(slip.cost / cost, cost / slip.cost) == pytest.approx(slip.factor)
        assert slip.over_best == pytest.approx(slip.cost / 3.0)
    plausible = [slip for slip in found if slip.verdict == "plausible"]
    assert (nearest is None) == (not plausible)
    if nearest is not None:
        assert all(abs(math.log(nearest.over_best)) <= abs(math.log(slip.over_best)) for slip in plausible)


def test_tokens_are_those_that_the_claim_counts() -> None:
    """1k/3k: a request of 4 tokens in all for 3 of output, and 1 of input."""
    lengths = {"isl": 1024, "osl": 3072}
    output = check("3 J/token", **lengths)
    assert check("2.25 J/token", token_basis="total", **lengths).cost == pytest.approx(output.cost)
    assert check("2.25 J/total token", **lengths).cost == pytest.approx(output.cost)
    assert check("9 J/input token", **lengths).cost == pytest.approx(output.cost)
    found = check("2.25 J/total token", **lengths)
    assert found.rung("best_plan").value * 4.0 / 3.0 == pytest.approx(output.rung("best_plan").value)
    assert not any("counted as output" in slip.what for slip in found.slips)
    assert any("counted as output" in slip.what for slip in output.slips)


def test_money_is_time_at_a_price() -> None:
    rate, money = check("1000 tok/s/GPU"), check("$1/Mtok", usd_per_gpu_hour=3.6)
    assert money.cost == pytest.approx(rate.cost * 1e-3, rel=1e-12)  # $1 for 1000 s at $3.60 an hour
    for name in ("ideal_bound", "best_plan", "one_at_a_time"):
        assert money.rung(name).claim_over == pytest.approx(rate.rung(name).claim_over, rel=1e-9)
    assert money.joules_per_token == pytest.approx(rate.joules_per_token, rel=1e-9)


def test_a_ratio_is_held_against_the_reference_at_its_best() -> None:
    mine, theirs = (ladder("energy", "llama-3.3-70b", name)["best_plan"] for name in ("hgx-b200", "hgx-h100"))
    found = check(f"{theirs / mine!r}x tokens per MW of hgx-h100", "llama-3.3-70b", "hgx-b200")
    assert found.plausible
    assert found.cost == pytest.approx(mine, rel=1e-9)
    assert found.rung("best_plan").value == pytest.approx(theirs / mine, rel=1e-9)
    assert [one.tokens_per_s_per_user for one in found.ratios] == [20.0, 50.0, 100.0, 150.0]
    slos = [rl.SLO(tpot_s=1 / one.tokens_per_s_per_user) for one in found.ratios]
    ds = rl.plan("llama-3.3-70b", ["hgx-b200", "hgx-h100"], workload="1k/1k", slo=slos)
    joules = ds["joules_per_token_at_boundary"].values[0, :, 0]
    for one, expected in zip(found.ratios, (joules[1] / joules[0]).tolist(), strict=True):
        assert one.ratio == pytest.approx(expected, nan_ok=True)
    huge = check("5000x tokens per MW of hgx-h100", "llama-3.3-70b", "hgx-b200")
    assert huge.verdict == "impossible"


def test_a_ratio_says_what_the_reference_was_allowed_to_run() -> None:
    """It moves a ratio more than the silicon does."""
    alone = check("2x tokens per MW of hgx-h100", "llama-3.3-70b", "hgx-b200")
    plan = rl.plan("llama-3.3-70b", "hgx-h100", workload="1k/1k")
    for words in (str(plan["deployment"].item()), str(plan["recipe"].item()), "replicas of up to 8 accelerators"):
        assert words in alone.attrs["reference_plan"]
    said = f"hgx-h100 at its best plan: {alone.attrs['reference_plan']}".replace("hgx-h100", alone.attrs["reference"])
    assert said in alone.said()
    more = check("2x tokens per MW of hgx-h100", "llama-3.3-70b", "hgx-b200", most_accelerators=16)
    assert "units of up to 16 accelerators" in more.attrs["reference_plan"]
    assert check("2 J/token").attrs["reference_plan"] == ""


def test_figures_are_written_alike_up_to_a_trillion() -> None:
    assert [figure(value) for value in (7200.0, 2.19e10, 9.876e11)] == ["7,200", "21,900,000,000", "988,000,000,000"]
    assert (figure(1.234e12), figure(0.4712), figure(math.nan)) == ("1.23e+12", "0.471", "-")


def test_an_input_token_bears_its_share_of_the_whole_request() -> None:
    assert "decoding too" in check("2 J/input token").said()[0]
    assert "decoding too" not in check("2 J/token").said()[0]


def test_a_system_over_itself_has_a_ratio_of_one() -> None:
    found = check(f"1x tok/s/GPU of {SYSTEM}")
    assert found.plausible
    assert found.rung("best_plan").value == pytest.approx(1.0)
    assert all(math.isnan(one.ratio) or one.ratio == pytest.approx(1.0) for one in found.ratios)


@pytest.mark.parametrize(
    ("text", "system", "options", "said"),
    [
        ("0.4 J/token", "groq3-lpx", {}, "undisclosed"),
        ("100 J/token", "hgx-h100", {"slo": {"tpot_s": 1e-6}}, "no deployment meets the SLO: the nearest misses tpot"),
        ("2x tokens per MW of groq3-lpx", "hgx-h100", {}, "groq3-lpx: "),
    ],
)
def test_what_cannot_be_held_against_anything_says_why(
    text: str, system: str, options: dict[str, object], said: str
) -> None:
    found = check(text, "qwen3-32b", system, **options)
    assert found.verdict == "undefined"
    assert said in found.reason
    assert found.nearest_slip is None
    assert found.reason in "\n".join(found.said())


def test_above_the_bound_is_impossible_under_limits_that_nothing_meets() -> None:
    assert check("1e-6 J/token", slo={"tpot_s": 1e-6}).verdict == "impossible"


def test_every_figure_says_what_it_is() -> None:
    found = check("2 J/token", basis="provisioned", vintage="semianalysis-v1")
    assert found.attrs["where"] == "facility, provisioned, semianalysis-v1"
    assert found.attrs["token_basis"] == "output"
    assert found.attrs["cost_unit"] == COST_UNITS["energy"]
    assert found.rung("ideal_bound").joules_per_token == pytest.approx(found.bound.gpu_seconds * 1730.0)
    assert set(ORDER) | {"undefined"} == set(VERDICTS)


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        ("$1/Mtok", {"usd_per_gpu_hour": None, "prices": "capital-press"}, "hold no energy"),
        ("$1/Mtok", {"prices": "semianalysis-v1"}, "leave one of them out"),
        ("$1/Mtok", {"usd_per_gpu_hour": -1.0}, "give dollars above 0"),
        ("1 J/token", {"usd_per_gpu_hour": 1.0}, "does not need it"),
        ("2x lower $/Mtok than hgx-h100", {}, "a ratio of money takes both"),
        ("1 J/token", {"token_basis": "words"}, "token_basis 'words'"),
        ("1 J/input token", {"token_basis": "output"}, "counts input tokens"),
        ("1 J/token", {"boundary": "roof"}, "boundary 'roof'"),
        ("1 J/token", {"vintage": "semianalysis-v1"}, "give it with basis 'provisioned'"),
        ("1 J/token", {"basis": "provisioned", "vintage": "none"}, "vintage 'none'"),
        ("1 J/token", {"slo": {"tpot": 1}}, "slo = "),
        ("1 J/token", {"isl": -1}, "isl"),
        ("2x tokens/MWh of dgx-h1000", {}, "no system or accelerator named 'dgx-h1000'"),
        ("five J/token", {}, "begins with no number"),
    ],
)
def test_bad_input(text: str, options: dict[str, object], said: str) -> None:
    with pytest.raises(InputError) as caught:
        check(text, **options)
    assert said in str(caught.value)


def test_a_point_that_is_not_there() -> None:
    with pytest.raises(InputError, match="there are ideal_bound"):
        check("1 J/token").rung("zenith")
