"""Made-up results in the shape of real ones: the numbers mean nothing, the dimensions and attributes do."""

from __future__ import annotations

import numpy as np
import xarray as xr

from roofline.grid.variables import LIMIT_FLAGS

SYSTEMS = ["hgx-h100", "hgx-h200", "hgx-b200", "gb300-nvl72", "vr-nvl72"]
NAMES = ["HGX H100", "HGX H200", "HGX B200", "GB300 NVL72", "Vera Rubin NVL72"]


def limits(codes: np.ndarray, dims: tuple[str, ...]) -> xr.DataArray:
    """A `limit` variable over `dims`."""
    attrs = {
        **LIMIT_FLAGS,
        "flag_values": np.array(LIMIT_FLAGS["flag_values"], dtype=np.int8),
    }
    return xr.DataArray(codes.astype(np.int8), dims=dims, attrs=attrs)


def synthetic_heatmap() -> xr.Dataset:
    """tokens_per_mwh over (model, system, batch_per_gpu, context): smooth, rising with batch, falling with context."""
    batch = 2.0 ** np.arange(-3, 10)
    context = 2.0 ** np.arange(10, 18)
    model = np.array([1.0, 0.5])[:, None, None, None]
    system = np.array([1.0, 1.3, 3.0, 7.0, 15.0])[None, :, None, None]
    b, c = batch[None, None, :, None], context[None, None, None, :]
    value = 6e6 * model * system * b / (1 + b / 24 + b * c / 6e5) ** 1.0
    codes = np.where(b * c > 6e5 * system, 1, 0) + 0 * model.astype(int)
    codes = np.where((c > 1e5) & (model < 0.8), 9, codes).astype(np.int8)
    value = np.where(codes == 0, value, np.nan)
    dims = ("model", "system", "batch_per_gpu", "context")
    return xr.Dataset(
        {
            "tokens_per_mwh": (dims, value, {"units": "MWh-1", "long_name": "output tokens per MWh"}),
            "limit": limits(np.broadcast_to(codes, value.shape), dims),
        },
        coords={
            "model": ["model-a", "model-b"],
            "system": SYSTEMS,
            "system_name": ("system", NAMES),
            "batch_per_gpu": ("batch_per_gpu", batch, {"long_name": "batch per GPU", "units": "1"}),
            "context": ("context", context.astype(int), {"long_name": "context", "units": "tokens"}),
        },
        attrs={"fidelity": "kernel", "boundary": "facility", "basis": "metered", "token_basis": "output"},
    )


def synthetic_decode() -> xr.Dataset:
    """A decode result over (model, system, recipe, deployment, batch, context)."""
    batch, context = np.array([1, 4, 16, 64, 256]), np.array([2048, 32768])
    deployments = {"tp": [4, 8], "pp": [1, 1], "dp": [1, 1], "ep": [1, 1], "moe_tp": [4, 8], "accelerators": [4, 8]}
    g = np.array([4, 8])[None, None, None, :, None, None]
    speed = np.array([1.0, 1.4])[None, :, None, None, None, None]
    b, c = batch[:, None], context[None, :]
    step = (5e-3 + 2e-5 * b + 3e-9 * b * c) * 8 / g / speed + np.zeros((1, 2, 1, 2, 5, 2))
    codes = np.where((b == 256) & (c == 32768), 1, 0) + np.zeros(step.shape, dtype=int)
    step = np.where(codes == 0, step, np.nan)
    dims = ("model", "system", "recipe", "deployment", "batch", "context")
    return xr.Dataset(
        {
            "tpot": (dims, step, {"units": "s", "long_name": "time per output token"}),
            "tokens_per_s_per_user": (dims, 1 / step, {"units": "s-1", "long_name": "tokens per second per user"}),
            "tokens_per_s_per_gpu": (dims, b / step / g, {"units": "s-1", "long_name": "tokens per second per GPU"}),
            "limit": limits(codes, dims),
        },
        coords={
            "model": ["model-a"],
            "system": SYSTEMS[:2],
            "recipe": ["fp8"],
            "batch": ("batch", batch, {"long_name": "sequences in flight"}),
            "context": ("context", context, {"units": "tokens", "long_name": "context"}),
            **{name: ("deployment", values) for name, values in deployments.items()},
        },
        attrs={"fidelity": "kernel", "boundary": "accelerator", "basis": "metered", "token_basis": "output"},
    )
