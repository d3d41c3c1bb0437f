"""Pictures of a site say what the Dataset says, and refuse what they cannot draw."""

from __future__ import annotations

from pathlib import Path

import pytest
import xarray as xr

import roofline as rl
from roofline.planning.site import by_hour, site
from roofline.report.files import save
from roofline.report.same_power import day, same_power, systems_in_words
from roofline.report.tables import compact


@pytest.fixture(scope="module")
def ds() -> xr.Dataset:
    return site(
        "llama-3.1-8b", ["hgx-h100", "gb300-nvl72", "vr-nvl72", "groq3-lpx"], "fp8", power="2MW", load="day",
        workload="1k/128", slo=rl.SLO(ttft_s=2, tpot_s=0.05),
    )  # fmt: skip


def words(figure: object) -> list[str]:
    return [text.get_text() for text in figure.findobj(lambda one: hasattr(one, "get_text"))]  # type: ignore[attr-defined]


def test_bars_are_as_long_as_the_tokens(ds: xr.Dataset) -> None:
    picture = same_power(ds)
    (ax,) = picture.axes
    rates = ds["output_tokens_per_s"].values.ravel()
    runs = [rate for rate in rates if rate == rate]
    assert [bar.get_width() for bar in ax.patches] == runs
    assert ax.get_xlim()[0] == 0.0
    said = " | ".join(words(picture))
    for s, rate in enumerate(rates):
        if rate == rate:
            assert f"{compact(rate, 3)} tok/s" in said
        else:
            assert str(ds["site_reason"].values.ravel()[s]) in said
    assert "The same 2 MW" in said
    assert "no price" in said  # of Rubin in the first vintage
    assert "*/Mtok" in said  # GB300's is a placeholder
    assert "* the price of the hardware is an estimate" in said
    assert "boundary facility" in said
    assert "output tokens" in said


def test_the_day_is_what_by_hour_says(ds: xr.Dataset) -> None:
    picture = day(ds)
    upper, lower = picture.axes
    hours = by_hour(ds).squeeze()
    runs = int(hours["output_tokens_per_s"].notnull().all("hour").sum())
    assert len(upper.patches) == len(lower.patches) == runs == 3
    tokens, _, _ = upper.patches[0].get_data()  # type: ignore[attr-defined]
    assert tokens == pytest.approx(hours["output_tokens_per_s"].isel(system=0).values / 1e6)
    power, _, _ = lower.patches[0].get_data()  # type: ignore[attr-defined]
    assert power == pytest.approx(hours["power"].isel(system=0).values / 1e6)
    assert lower.lines[0].get_ydata()[0] == 2.0  # type: ignore[index]
    assert "power of the site" in words(picture)


def test_a_picture_is_written(ds: xr.Dataset, tmp_path: Path) -> None:
    path = save(ds, tmp_path / "site.png", draw=same_power)
    assert path.read_bytes().startswith(b"\x89PNG")


def test_two_models_stand_side_by_side(ds: xr.Dataset) -> None:
    both = site(
        ["llama-3.1-8b", "qwen3-30b-a3b"], ["hgx-h100", "groq3-lpx"], power="1MW", workload="1k/128",
        slo=rl.SLO(tpot_s=0.05),
    )  # fmt: skip
    assert len(same_power(both).axes) == 2
    with pytest.raises(rl.InputError, match="the site has several models; select one first"):
        day(both)
    assert len(day(both.isel(model=[0])).axes) == 2


def test_what_cannot_be_drawn_is_refused(ds: xr.Dataset) -> None:
    for picture in (same_power, day):
        with pytest.raises(rl.InputError, match="give a Dataset that site returned"):
            picture(xr.Dataset())
        with pytest.raises(rl.InputError, match="no system serves anything"):
            picture(ds.sel(system=["groq3-lpx"]))
        two = xr.concat(
            [ds, ds.assign_coords(slo=["other"])], "slo", data_vars="all", coords="minimal", compat="override"
        )
        with pytest.raises(rl.InputError, match="2 of slo; select one first"):
            picture(two)


@pytest.mark.parametrize("models", [1, 3, 5])
def test_words_stay_on_the_slide_and_in_their_panel(models: int) -> None:
    one = site(
        "llama-3.1-8b", ["hgx-h100", "l40s", "gb300-nvl72", "ironwood-rack"], "fp8", power="150kW", workload="1k/128",
    )  # fmt: skip
    several = xr.concat([one.assign_coords(model=[f"model {n}"]) for n in range(models)], "model", join="override")
    several = several.assign(output_tokens_per_s=several["output_tokens_per_s"] * 300.0)  # three digits each
    picture = same_power(several)
    assert len(picture.axes) == models
    picture.draw_without_rendering()
    edges = [ax.get_window_extent() for ax in picture.axes]
    for ax, edge in zip(picture.axes, edges, strict=True):
        for text in ax.texts:
            box = text.get_window_extent()
            assert edge.x0 <= box.x0 <= box.x1 <= edge.x1 + 1.0, text.get_text()
        for text in ax.get_yticklabels():
            assert not text.get_visible() or text.get_window_extent().x0 >= 0.0, text.get_text()
    with pytest.raises(rl.InputError, match="7 models; a picture shows 6"):
        same_power(several.isel(model=[0] * 7))


def test_a_small_site_has_small_units() -> None:
    small = site("llama-3.1-8b", "hgx-h100", "fp8", power="20kW", workload="1k/128", load="day")
    upper, lower = day(small).axes
    assert lower.get_ylabel() == "power at the facility [kW]"
    assert lower.lines[0].get_ydata()[0] == 20.0  # type: ignore[index]
    drawn, _, _ = lower.patches[0].get_data()  # type: ignore[attr-defined]
    assert drawn == pytest.approx(by_hour(small)["power"].values.ravel() / 1e3)
    tokens, _, _ = upper.patches[0].get_data()  # type: ignore[attr-defined]
    assert upper.get_ylabel() == "thousand output tokens/s"
    assert tokens == pytest.approx(by_hour(small)["output_tokens_per_s"].values.ravel() / 1e3)


def test_systems_of_two_kinds_are_counted_apart() -> None:
    ds = site(
        "deepseek-r1", "gb300-nvl72", power="5MW", workload="32k/1k", slo=rl.SLO(tpot_s=0.02),
        prefill_systems="vr-nvl144-cpx", modes="disaggregated",
    )  # fmt: skip
    one = ds.squeeze()
    assert one["prefill_system"].item() == "vr-nvl144-cpx"
    said = systems_in_words({str(name): one[name].item() for name in one.variables if not one[name].ndim})
    own, other = (one[f"{role}_systems"].item() for role in ("decode", "prefill"))
    assert said == f"{own:.0f} + {other:.0f} vr-nvl144-cpx"
    assert own * 72 + other * 144 == one["site_accelerators"].item()
    assert any(said in text.get_text() for text in same_power(ds).axes[0].texts)
