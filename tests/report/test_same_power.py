"""Pictures of a site say what the Dataset says, and refuse what they cannot draw."""

from __future__ import annotations

from pathlib import Path

import pytest
import xarray as xr

import roofline as rl
from roofline.planning.site import by_hour, site
from roofline.report.files import save
from roofline.report.same_power import day, same_power
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
