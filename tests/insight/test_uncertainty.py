"""Random draws: the same by seed, nothing where nothing is off, wider for wider grades, within bounds and bounded."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import roofline as rl
from roofline.insight import subjects
from roofline.insight import uncertainty as insight
from roofline.insight.parameters import EXCESS, HOST, LOSS, SHARE, TIME, Effect, Parameter
from roofline.insight.residual import Sides, bands, drawn, left_over
from roofline.insight.sensitivity import sensitivity
from roofline.insight.spreads import GRADES, REASONS, SPREADS, factors, spread_of
from roofline.insight.subjects import subject
from roofline.insight.uncertainty import uncertainty
from roofline.serving.bands import factors as band_of
from roofline.specs import Efficiency
from roofline.specs.load import list_specs
from tests.insight.fakes import PUE, TDP, Written

WHERE = ("llama-3.1-70b", "dgx-h100", "fp8")
PASS: dict[str, Any] = {"of": "decode", "tp": 8, "batch": 64, "context": 4096}
PLAN: dict[str, Any] = {"workload": "1k/1k", "slo": rl.SLO(tpot_s=0.03), "stack": "trtllm"}


def widths(ds: Any, variable: str = "numbers") -> Any:
    ends = ds[variable].transpose("quantile", "figure").values
    return dict(zip(ds["figure"].values, np.log(ends[-1] / ends[0]), strict=True))


def test_the_same_seed_gives_the_same_bits_whatever_the_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    first = uncertainty(*WHERE, **PASS, draws=300, keep=True)
    again = uncertainty(*WHERE, **PASS, draws=300, keep=True)
    other = uncertainty(*WHERE, **PASS, draws=300, seed=1)
    assert first["draw_value"].identical(again["draw_value"])
    assert not np.allclose(first["value"], other["value"], rtol=1e-6)
    monkeypatch.setattr(subjects, "BLOCK", 77)
    blocks = uncertainty(*WHERE, **PASS, draws=300, keep=True)
    assert (first["draw_value"].values == blocks["draw_value"].values).all()
    np.testing.assert_allclose(first["share"], blocks["share"], atol=1e-12)
    more = uncertainty(*WHERE, **PASS, draws=200, keep=True)
    assert (more["draw_value"].values == first["draw_value"].values[:200]).all()


def test_of_one_percentile_its_number_is_enough() -> None:
    assert uncertainty(*WHERE, **PASS, draws=20, quantiles=25)["quantile"].values.tolist() == [25.0]


def test_what_cannot_be_off_is_not_drawn_and_says_so() -> None:
    """The load of the fullest expert rank is 1 in the sheet: nothing of it is above 1, so its spread is 0."""
    ds = uncertainty("gpt-oss-120b", "dgx-b200", of="decode", dp=8, ep=8, batch=64, context=4096, draws=50)
    skew = ds.sel(parameter="efficiency.experts_skew")
    assert float(skew["parameter_value"]) == 1.0
    assert float(skew["parameter_spread"]) == 0.0
    assert not skew["share"].values.any()
    assert float(ds["parameter_spread"].sel(parameter="facility.pue")) == SPREADS[EXCESS][0]


def test_loads_are_evaluated_in_small_blocks_that_are_told_of() -> None:
    """A load takes a while a draw: whoever waits hears of each few, and what is drawn is the same."""
    told: list[int] = []
    given = {"workload": "1k/200", "concurrency": 2, "tp": 2}
    where = ("llama-3.1-8b", "dgx-h100", "bf16")
    uncertainty(*where, of="serve", **given, draws=40, progress=lambda done, count: told.append(done))  # type: ignore[arg-type]
    assert told == [16, 32, 40]
    told.clear()
    sensitivity(*where, of="serve", **given, progress=lambda done, count: told.append(done))
    assert len(told) > 5
    assert told == sorted(told)


@pytest.mark.parametrize("given", [PASS, PLAN], ids=["pass", "plan"])
def test_no_spread_gives_the_point(given: dict[str, Any]) -> None:
    ds = uncertainty(*WHERE, **given, draws=20, spread=0, residual=False)
    for percent in ds["quantile"].values:
        np.testing.assert_array_equal(ds["value"].sel(quantile=percent), ds["point"])
    assert not ds["share"].values.any()


def test_wider_grades_give_wider_bands() -> None:
    base = widths(uncertainty(*WHERE, **PASS, draws=1000))
    for grade in GRADES:
        wider = widths(uncertainty(*WHERE, **PASS, draws=1000, spread={grade: 2.5}))
        for figure in ("tpot", "tokens_per_mwh", "power"):
            assert wider[figure] > base[figure], (grade, figure)
    double = widths(uncertainty(*WHERE, **PASS, draws=1000, spread=2.0))
    assert all(double[figure] > 1.5 * base[figure] for figure in base)


def test_the_median_is_near_the_point_and_the_percentiles_are_in_order() -> None:
    ds = uncertainty(*WHERE, **PASS, draws=2000, quantiles=(1, 25, 50, 75, 99))
    assert (np.diff(ds["value"].values, axis=0) > 0.0).all()
    middle = ds["numbers"].sel(quantile=50) / ds["point"]
    assert (abs(middle - 1.0) < 0.05).all()


@settings(max_examples=100, deadline=None)
@given(
    kind=st.sampled_from(sorted(SPREADS)),
    grade=st.sampled_from(GRADES),
    deviate=st.floats(-6, 6),
    scale=st.floats(0, 5),
    size=st.floats(1e-3, 0.999),
)
def test_draws_stay_within_what_a_number_can_be(
    kind: str, grade: str, deviate: float, scale: float, size: float
) -> None:
    least, most = (1.0 if kind == EXCESS else 0.0), (1.0 if kind in (SHARE, LOSS) else np.inf)
    value = 1.0 + size if kind == EXCESS else size
    effect = (Effect("machines", 0, ("bytes_per_s",), 1.0),)
    one = Parameter("x", value, "1", kind, grade, "somewhere", effect, least, most)
    found = float(factors([one], np.array([[deviate]]), scale)[0, 0])
    assert least <= value * found <= most * (1.0 + 1e-12)
    assert spread_of(one, scale) == scale * SPREADS[kind][GRADES.index(grade)]
    if deviate * scale == 0.0:
        assert found == pytest.approx(1.0, abs=1e-12)
    elif abs(deviate * scale) > 1e-3 and (found - 1.0) * deviate < 0.0:
        pytest.fail("a draw above the median is below it")


def test_a_draw_is_lognormal_about_the_sheet() -> None:
    """Against the law itself: quantiles of TDP^-1/2 and of PUE by hand."""
    held = Written()
    for scale, path, power in (({"published": 1.0, "measured": 0.0, "estimated": 0.0}, TDP, -0.5),):
        numbers = held.numbers
        deviates = np.random.default_rng(5).standard_normal((20_000, len(numbers.parameters)))
        found = factors(numbers.parameters, deviates, scale)
        column = [one.path for one in numbers.parameters].index(path)
        spread = spread_of(numbers[path], scale)
        np.testing.assert_allclose(np.log(found[:, column]), spread * deviates[:, column], atol=1e-12)
        assert np.std(np.log(found[:, column] ** power)) == pytest.approx(abs(power) * spread, rel=0.02)
    column = [one.path for one in numbers.parameters].index(PUE)
    excess = held.base[PUE] * found[:, column] - 1.0
    assert np.std(np.log(excess)) == pytest.approx(spread_of(numbers[PUE], scale), rel=0.02)


def test_small_spreads_add_as_elasticities_say() -> None:
    """Of first order: the variance of a figure's logarithm is the sum of (elasticity * spread)^2, and so are shares."""
    scale = 0.05
    ds = uncertainty(*WHERE, **PASS, draws=4000, spread=scale, keep=True)
    slopes = sensitivity(*WHERE, **PASS)
    for figure in ("tpot", "joules_per_token"):
        e = slopes["elasticity"].sel(figure=figure)
        spread = ds["parameter_spread"].sel(parameter=e["parameter"])
        kinds_of = ds["parameter_kind"].sel(parameter=e["parameter"]).values
        value = ds["parameter_value"].sel(parameter=e["parameter"]).values
        by_excess = np.where(kinds_of == EXCESS, (value - 1.0) / value, 1.0)
        by_loss = np.where(kinds_of == LOSS, (1.0 - value) / value, 1.0)
        parts = (e.values * spread.values * by_excess * by_loss) ** 2
        got = float(np.var(np.log(ds["draw_value"].sel(figure=figure))))
        assert got == pytest.approx(parts.sum(), rel=0.1)
        largest = np.argsort(-parts)[:3]
        shares = ds["share"].sel(figure=figure, parameter=e["parameter"].values[largest]).values
        np.testing.assert_allclose(shares, parts[largest] / parts.sum(), atol=0.05)
        assert float(ds["share"].sel(figure=figure).sum()) == pytest.approx(1.0, abs=0.1)


def test_memory_for_draws_is_bounded() -> None:
    """Ten times the draws take more memory for their results alone: 8 B a draw and figure, twice while sorted."""
    held = subject("decode", *WHERE, {key: value for key, value in PASS.items() if key != "of"})

    def peak(draws: int) -> int:
        tracemalloc.start()
        insight.draw(held, draws, np.random.default_rng(0))
        _, found = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return found

    peak(10)  # compiled and imported
    few, many = peak(2 * subjects.BLOCK), peak(20 * subjects.BLOCK)
    assert many - few < 3 * 8 * len(held.about) * 18 * subjects.BLOCK


def test_no_more_than_a_block_is_evaluated_at_once() -> None:
    held = Written()
    insight.draw(held, 2500, np.random.default_rng(0))  # type: ignore[arg-type]
    assert held.calls == [1024, 1024, 452]


def test_the_band_is_filled_where_the_numbers_do_not() -> None:
    ds = uncertainty(*WHERE, **PLAN, modes="aggregated", draws=8000, quantiles=(10, 50, 90))
    held = subject("plan", *WHERE, PLAN | {"modes": "aggregated"})
    assert set(bands(held)) == {"tpot", "ttft", "throughput", "joules_per_token", "power"}
    for quantity, figure in (("tpot", "tpot"), ("power", "power"), ("joules_per_token", "joules_per_token")):
        low, high = band_of(quantity, "closed", ds_tier(held, quantity)) or (np.nan, np.nan)
        total = (ds["value"].sel(figure=figure) / ds["numbers"].sel(figure=figure, quantile=50)).values
        assert np.log(total[0]) < 0.9 * np.log(low)
        assert np.log(total[2]) > 0.9 * np.log(high)
    both, alone = widths(ds, "value"), widths(ds)
    assert all(both[figure] > 0.97 * alone[figure] for figure in both)
    assert both["request_latency"] > alone["request_latency"]
    drawn = uncertainty(*WHERE, **PLAN, modes="aggregated", draws=500, keep=True)["draw_value"]
    first, whole = (drawn.sel(figure=name).values for name in ("ttft", "request_latency"))
    assert (whole >= first).all()  # no request ends before its first token
    plain = uncertainty(*WHERE, **PLAN, modes="aggregated", draws=100, residual=False)
    assert plain.attrs["residual"] == "none"
    np.testing.assert_array_equal(plain["value"], plain["numbers"])


def ds_tier(held: Any, quantity: str) -> str:
    from roofline.serving.bands import tiers_of
    from roofline.specs import Stack

    times, energy = tiers_of([side.system for side in held.numbers.sides], Stack.load("trtllm"))
    return energy if quantity in ("power", "joules_per_token") else times


@settings(max_examples=50, deadline=None)
@given(below=st.floats(0, 1), above=st.floats(0, 1), spread=st.floats(0.001, 1))
def test_what_is_left_of_a_band(below: float, above: float, spread: float) -> None:
    """In quadrature with the draws it is the band, and nothing where the draws fill it."""
    values = np.exp(spread * np.random.default_rng(0).standard_normal(4001))
    sides = left_over(Sides(below, above), values)
    for got, band in ((sides.below, below), (sides.above, above)):
        assert 0.0 <= got <= band
        if band > 1.3 * spread:
            assert got == pytest.approx(np.sqrt(band**2 - spread**2), rel=0.2)
        if band < 0.8 * spread:
            assert got == 0.0
    found = drawn(Sides(0.1, 0.5), np.array([-1.0, 0.0, 1.0]))
    np.testing.assert_allclose(np.log(found), [-0.1, 0.0, 0.5])


def test_tokens_per_mwh_and_joules_per_token_are_each_others_inverse_in_every_draw() -> None:
    ds = uncertainty(*WHERE, **PLAN, draws=50, keep=True)["draw_value"]
    product = ds.sel(figure="tokens_per_mwh") * ds.sel(figure="joules_per_token_at_boundary")
    np.testing.assert_allclose(product, 3.6e9, rtol=1e-12)


def test_a_full_memory_may_not_hold_the_deployment() -> None:
    ds = uncertainty(*WHERE, workload="8k/1k", modes="aggregated", draws=400)
    assert float(ds["point"].sel(figure="memory_share")) > 0.98
    assert 0.2 < float(ds.attrs["fits"]) < 0.9
    assert ds.attrs["missing"] == "0"


def test_a_load_leaves_out_what_cannot_serve() -> None:
    """One part with 16 GB of weights of 20: a draw with less memory, or less of it to use, has no room."""
    given = {"workload": "2k/200", "concurrency": 2, "tp": 1, "draws": 40}
    ds = uncertainty("llama-3.1-8b", "dgx-h100", "bf16", of="serve", **given)  # type: ignore[arg-type]
    assert np.isfinite(ds["value"]).all()
    assert ds.attrs["held"] == "serve"
    wide = uncertainty("llama-3.1-70b", "dgx-h100", "fp8", of="serve", **(given | {"spread": 4}))  # type: ignore[arg-type]
    assert 0.0 < float(wide.attrs["missing"]) < 1.0
    assert np.isfinite(wide["value"]).all()


def test_every_kind_has_a_spread_for_each_grade_and_a_reason() -> None:
    assert set(SPREADS) == set(REASONS)
    for kind, values in SPREADS.items():
        assert len(values) == len(GRADES)
        assert list(values) == sorted(values), kind
        assert REASONS[kind]


def test_spreads_of_efficiencies_are_those_of_the_sheets_that_were_measured() -> None:
    """Between the nine measured sheets, within each operation and format; with their own error in quadrature."""
    squares: dict[str, list[tuple[float, int]]] = {SHARE: [], TIME: []}
    columns: dict[tuple[str, str, str], list[float]] = {}
    for name in list_specs("efficiency"):
        sheet = Efficiency.load(name)
        for table in ("gemm", "experts", "decode_attention", "context_attention"):
            for form, entry in getattr(sheet.operations, table).items():
                for field in ("eta_compute", "eta_memory", "fixed_s"):
                    path = f"operations.{table}.{form}"
                    source = sheet.sources.get(f"{path}.{field}") or entry.source or sheet.source_of(path)
                    if source and source.grade == "measured" and sheet.accelerators:
                        columns.setdefault((table, form, field), []).append(getattr(entry, field))
    for (_, _, field), values in columns.items():
        if len(values) > 2:
            kind = TIME if field == "fixed_s" else SHARE
            squares[kind].append((float(np.var(np.log(values), ddof=1)), len(values) - 1))
    for kind, own in ((SHARE, 0.10), (TIME, 0.15)):
        between = np.sqrt(sum(v * n for v, n in squares[kind]) / sum(n for _, n in squares[kind]))
        assert SPREADS[kind][1] == own
        assert SPREADS[kind][2] == pytest.approx(np.hypot(own, between), rel=0.4)
    assert SPREADS[HOST][2] > SPREADS[HOST][1] > SPREADS[HOST][0]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"draws": 0}, "draws: 0"),
        ({"draws": 2_000_000}, "draws: 2000000 are more than 1,000,000"),
        ({"draws": 1.5}, "draws: 1.5"),
        ({"draws": float("nan")}, "draws: nan"),
        ({"draws": "many"}, "draws: 'many'"),
        ({"draws": None}, "draws: None"),
        ({"seed": -1}, "seed: -1"),
        ({"seed": "a"}, "seed: 'a'"),
        ({"spread": "2"}, "spread = '2'"),
        ({"spread": {"estimated": "x"}}, "spread of estimated = 'x'"),
        ({"spread": {"": 2.0}}, "no grade named ''"),
        ({"spread": 1e9}, "give a factor from 0 to 20"),
        ({"quantiles": ("a",)}, "quantiles: 'a'"),
        ({"quantiles": "50"}, "quantiles: '50'"),
        ({"quantiles": None}, "quantiles: None"),
        ({"spread": -1.0}, "spread = -1.0"),
        ({"spread": float("nan")}, "spread = nan"),
        ({"spread": {"estimated": -2.0}}, "spread of estimated = -2.0"),
        ({"spread": {"guessed": 2.0}}, "guessed"),
        ({"quantiles": ()}, "quantiles: none given"),
        ({"quantiles": (0,)}, "quantiles: 0"),
    ],
)
def test_bad_input(options: dict[str, Any], said: str) -> None:
    with pytest.raises(rl.InputError, match=said):
        uncertainty(*WHERE, **PASS, **options)
