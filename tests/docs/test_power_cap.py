"""docs/power-cap.md: its numbers are what the library finds, its options those of the command."""

from __future__ import annotations

import re

import numpy as np

import roofline as rl
from roofline.insight.capped import Capped
from roofline.insight.clock import BANDS, Clock
from roofline.insight.holding import held_plan
from roofline.insight.power_cap import power_cap
from tests.docs.pages import DOCS, table

PAGE = DOCS / "power-cap.md"


def test_the_first_place_is_what_the_library_finds() -> None:
    model, system, draw, held, *again = table(PAGE, "places")[0]
    ds = power_cap(
        model, system, caps=np.arange(200.0, 701.0, 10.0), workload="1k/1k", slo=rl.SLO(tpot_s=0.03), replan=True
    )
    assert draw == f"{float(ds['uncapped_power']):.0f} W"

    def change(choice: str, name: str) -> str:
        return f"{100 * (float(ds[f'best_{name}_ratio'].sel(choice=choice)) - 1):+.1f} %"

    caps = {choice: f"{float(ds['best_cap'].sel(choice=choice)):.0f} W" for choice in ("held", "replanned")}
    assert held == f"{caps['held']}, {change('held', 'tokens_per_mwh')}"
    figures = ("tokens_per_mwh", "tokens_per_s_per_gpu", "tpot")
    assert again == [caps["replanned"], *(change("replanned", name) for name in figures)]


def test_the_bands_are_those_of_the_clock() -> None:
    rows = {row[0]: row for row in table(PAGE, "bands")}
    assert list(rows) == list(BANDS)
    for name, band in BANDS.items():
        _, value, ends, _, why = rows[name]
        assert (value, ends, why) == (f"{band.value:g}", f"{band.low:g} to {band.high:g}", band.why)


def test_decode_of_an_h200_is_as_the_page_says() -> None:
    words = " ".join(PAGE.read_text(encoding="utf-8").split())
    said = re.findall(r"(\d+) % less energy and (\d+) % longer where \w[\w ]*? for (?:a TPOT of )?(\d+) ms", words)
    assert [ms for _, _, ms in said] == ["6", "10"]
    for saved, longer, ms in said:
        options = {"workload": "1k/1k", "slo": rl.SLO(tpot_s=int(ms) / 1000), "modes": "disaggregated"}
        capped = Capped.of(held_plan("llama-3.1-8b", "dgx-h200", **options), np.arange(150.0, 701.0, 5.0), Clock())
        capped.capped()
        decode = capped.phases["decode"]
        energy = decode.watts * decode.time_s / (decode.rated_w * decode.rated_s)
        least = int(np.nanargmin(energy))
        stretch = decode.time_s[least] / decode.rated_s[least]
        assert (saved, longer) == (f"{100 * (1 - energy[least]):.0f}", f"{100 * (stretch - 1):.0f}")
        assert decode.rated_w[0] > 540.0
