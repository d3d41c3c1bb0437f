"""Plans and sites of least USD per million tokens: of every system by its own price, pools of two systems by both."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import roofline as rl
from roofline.planning.match import MOST_REPLICAS
from roofline.planning.parts import Chosen
from roofline.planning.site import site
from roofline.rack.cost import Bill, token_cost
from roofline.specs.stack import Stack

SLO = rl.SLO(ttft_s=2.0, tpot_s=0.02)
OWN = Bill(usd_per_accelerator_hour={"h100-sxm": 1.0, "mi355x": 4.0, "h200-sxm": 1.2}, usd_per_kwh=0.2)
KINDS = {"dgx-h100": "h100-sxm", "mi355x-8": "mi355x", "dgx-h200": "h200-sxm"}


def usd(cell: Any, bill: Bill) -> float:
    """USD per million output tokens of one cell, hardware of each pool at its own price."""
    pools = float(cell["prefill_accelerators"]), float(cell["accelerators"] - cell["prefill_accelerators"])
    rate = float(cell["output_tokens_per_s"])
    names = str(cell["prefill_system"].item()), str(cell["system"].item())
    hours = [n * bill.usd_per_hour(KINDS[name]) for n, name in zip(pools, names, strict=True) if n > 0.0]
    energy = float(cell["joules_per_token_at_boundary"]) * bill.usd_per_joule
    return 1e6 * (sum(hours) / 3600.0 / rate + (0.0 if bill.includes_energy else energy))


@pytest.mark.parametrize("modes", ["aggregated", "disaggregated"])
def test_every_system_at_its_own_price(modes: str) -> None:
    given: dict[str, Any] = {
        "workload": "8k/1k",
        "slo": SLO,
        "modes": modes,
        "prefill_systems": ["hgx-h100", "mi355x-8"],
    }
    systems = ["dgx-h200", "mi355x-8"]
    best = rl.plan("llama-3.1-8b", systems, "fp8", objective="usd_per_mtok", bill=OWN, **given)
    assert best.attrs["objective"] == "usd_per_mtok"
    alone = [rl.plan("llama-3.1-8b", [one], "fp8", objective="usd_per_mtok", bill=OWN, **given) for one in systems]
    for s in range(2):
        cell = best.isel(system=s).squeeze()
        assert cell["deployment"].item() == alone[s]["deployment"].item()
        assert usd(cell.fillna(0.0), OWN) == pytest.approx(usd(alone[s].squeeze().fillna(0.0), OWN), rel=1e-12)
        for objective in ("tokens_per_mwh", "tokens_per_s_per_gpu"):
            other = rl.plan("llama-3.1-8b", systems[s], "fp8", objective=objective, **given).squeeze()
            assert usd(other.fillna(0.0), OWN) >= usd(cell.fillna(0.0), OWN) * (1 - 1e-9)


def test_prompts_go_where_they_are_cheap() -> None:
    """The same part twice, once at a tenth of the price: prompts are computed there."""
    twin = rl.System.load("dgx-h100").replace(name="Cheap H100", accelerator__name="Cheap part")
    bill = Bill(usd_per_accelerator_hour={"h100-sxm": 2.0, "cheap-part": 0.2}, usd_per_kwh=0.01)
    given: dict[str, Any] = {"workload": "8k/1k", "slo": SLO, "modes": "disaggregated", "objective": "usd_per_mtok"}
    ds = rl.plan("llama-3.1-8b", "dgx-h100", "fp8", prefill_systems=[twin], bill=bill, **given).squeeze()
    assert ds["prefill_system"].item() == "cheap-h100"
    dear = Bill(usd_per_accelerator_hour={"h100-sxm": 0.2, "cheap-part": 2.0}, usd_per_kwh=0.01)
    ds = rl.plan("llama-3.1-8b", "dgx-h100", "fp8", prefill_systems=[twin], bill=dear, **given).squeeze()
    assert ds["prefill_system"].item() == "dgx-h100"
    assert 1 <= ds["prefill_replicas"].item() <= MOST_REPLICAS


def test_draws_of_pools_are_their_own() -> None:
    ds = rl.plan("llama-3.1-8b", "dgx-h100", "fp8", workload="8k/1k", slo=SLO, modes="disaggregated").squeeze()
    first = ds["prefill_accelerators"].item() / ds["accelerators"].item()
    mean = first * ds["prefill_power"].item() + (1 - first) * ds["decode_power"].item()
    assert mean == pytest.approx(ds["power"].item(), rel=1e-12)
    assert np.isnan(ds["ffn_power"].item())
    system = rl.System.load("dgx-h100")
    chosen = Chosen(
        ds, rl.Model.load("llama-3.1-8b"), {"dgx-h100": system}, {}, rl.Workload.of("8k/1k"), Stack.load("default")
    )
    draws = [part.draw_w for part in chosen.parts()]
    assert draws == [ds["prefill_power"].item(), ds["decode_power"].item()]


def test_a_site_of_least_cost() -> None:
    given: dict[str, Any] = {"power": "1MW", "workload": "1k/1k", "slo": SLO, "modes": "aggregated", "bill": OWN}
    cheap = site("llama-3.1-8b", "hgx-h100", "fp8", objective="usd_per_mtok", load="day", **given).squeeze()
    for objective in ("tokens_per_mwh", "tokens_per_s_per_gpu"):
        other = site("llama-3.1-8b", "hgx-h100", "fp8", objective=objective, load="day", **given).squeeze()
        assert cheap["usd_per_mtok"].item() <= other["usd_per_mtok"].item() * (1 + 1e-9)
    hardware, energy = token_cost(
        OWN, "h100-sxm", cheap["tokens_per_s_per_gpu"].values, cheap["joules_per_token_at_boundary"].values, duty=0.65
    )
    left = cheap["idle_accelerators"].item() / cheap["site_accelerators"].item()
    assert cheap["usd_per_mtok"].item() == pytest.approx(float(hardware / (1 - left) + energy), rel=1e-6)
    with pytest.raises(rl.InputError, match="rubin-vr200: no price"):
        site("llama-3.1-8b", "vr-nvl72", objective="usd_per_mtok", **(given | {"bill": None}))
