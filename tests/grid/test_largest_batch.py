"""The largest batch fits, one more does not, and 0 means that nothing runs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import roofline as rl
from roofline.layout import Limit

DEPLOYMENTS = [{"tp": 1}, {"tp": 8}, {"tp": 4, "pp": 2}, {"tp": 3}, {"dp": 8, "ep": 8}, {"tp": 2, "dp": 4, "ep": 4}]


@pytest.mark.parametrize("fidelity", ["kernel", "ideal"])
@pytest.mark.parametrize("new_tokens", [1, 4])
def test_it_fits_and_one_more_does_not(fidelity: Any, new_tokens: int) -> None:
    axes = (["llama-3.1-8b", "gpt-oss-120b", "deepseek-r1"], ["dgx-h100", "mi300x-8"], ["bf16", "fp8"])
    common: dict[str, Any] = {"deployments": DEPLOYMENTS, "new_tokens": new_tokens, "fidelity": fidelity}
    largest = rl.largest_batch(*axes, **common, context=[2000, 100_000])
    assert largest.dims == ("model", "system", "recipe", "deployment", "context")
    assert largest.dtype == np.int64
    sizes = sorted({int(n) for n in largest.values.ravel() if n > 0})
    both = sorted({*sizes, *(n + 1 for n in sizes)})
    ds = rl.decode(*axes, **common, context=[2000, 100_000], batch=both)
    runs, short = ds["limit"] == 0, ds["limit"] == Limit.MEMORY
    fits = largest > 0
    assert int(fits.sum()) > 20
    assert int((~fits).sum()) > 20
    at = largest.where(fits, sizes[0])
    assert (runs.sel(batch=at) | ~fits).all()
    assert (short.sel(batch=at + 1) | ~fits).all()
    assert (~runs.any("batch") | fits).all()


def test_none_where_the_deployment_is_not_legal_or_the_context_too_long() -> None:
    largest = rl.largest_batch("llama-3.1-8b", "dgx-h100", "bf16", tp=[1, 3], pp=[1, 40], context=[1024, 1 << 20])
    assert largest.sel(context=1024, deployment="tp1").item() > 0
    assert (largest.sel(deployment=["tp3", "pp40", "tp3 pp40"]) == 0).all()
    assert (largest.sel(context=1 << 20) == 0).all()


def test_it_stands_alone() -> None:
    largest = rl.largest_batch("llama-3.1-8b", "dgx-h100", "fp8", tp=[1, 2], context=[1024, 4096])
    assert largest.name == "largest_batch"
    assert largest.attrs["units"] == "1"
    assert largest.attrs["fidelity"] == "kernel"
    assert "model/llama-3.1-8b=" in largest.attrs["sheets"]
    assert largest["tp"].values.tolist() == [1, 2]
    assert (largest.diff("context") < 0).all()
    assert (largest.diff("deployment") > 0).all()
