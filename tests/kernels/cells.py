"""Real models on real machines, and what tests that argue in their numbers ask of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from roofline.kernels.outputs import Var
from roofline.testing.records import Setup
from roofline.testing.runs import run_decode
from tests.oracle.cases import DEEPSEEK_V3, LLAMA_70B, TP8, ideal_box, ideal_kit

BF16_FLOP_PER_S, FP8_FLOP_PER_S = 989.4e12, 1978.9e12
HBM3_BYTES_PER_S, HBM3E_BYTES_PER_S = 3.35e12, 4.8e12
ALONE = {"tp": 1, "pp": 1, "dp": 1, "ep": 1, "moe_tp": 1}

BF16 = ideal_kit(2.0, 2.0, BF16_FLOP_PER_S)
FP8 = ideal_kit(1.0, 1.0, FP8_FLOP_PER_S)
H100 = ideal_box(HBM3_BYTES_PER_S, 80e9)
LLAMA = Setup(LLAMA_70B, H100, BF16, TP8)
DEEPSEEK = Setup(DEEPSEEK_V3, ideal_box(HBM3E_BYTES_PER_S, 141e9), FP8, TP8 | {"moe_tp": 8})
ROOMY = ideal_box(HBM3E_BYTES_PER_S, 1e15)


def in_series(setup: Setup, **changes: Any) -> Setup:
    """The same kit with its operations one after another."""
    assert setup.kit is not None
    return replace(setup, kit=setup.kit | {"bound": 0} | changes)


def with_row(setup: Setup, index: int, **changes: int) -> Setup:
    """One layer row changed."""
    rows = list(setup.model["rows"])
    rows[index] = rows[index] | changes
    return replace(setup, model=setup.model | {"rows": rows})


def step(setup: Setup, batch: int, context: int) -> float:
    return float(run_decode(setup, [batch], [context]).step[0, 0, 0])


def bytes_moved(setup: Setup, batch: int, context: int) -> float:
    """What one rank moves in a step [B]."""
    run = run_decode(setup, [batch], [context])
    return float(run[Var.MBU][0, 0, 0] * run.step[0, 0, 0] * setup.machine["bytes_per_s"])


def alone(model: dict[str, Any], kit: dict[str, Any]) -> Setup:
    """A model on one accelerator that holds anything."""
    return Setup(model, ROOMY, kit, ALONE)


def memory(setup: Setup, batch: int, context: int) -> float:
    return float(run_decode(setup, [batch], [context])[Var.MEMORY][0, 0, 0])
