"""`roofline specs table`: all accelerators, or all models, side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from roofline.cli import options as opt
from roofline.cli.numbers import names

if TYPE_CHECKING:
    import xarray as xr

HEADERS = {
    "bf16_flop_per_s": "bf16",
    "fp8_flop_per_s": "fp8",
    "fp4_flop_per_s": "fp4",
    "int8_flop_per_s": "int8",
    "memory_bytes": "memory",
    "memory_bytes_per_s": "bandwidth",
    "bf16_ridge": "ridge bf16",
    "fp8_ridge": "fp8 ridge",
    "fp4_ridge": "fp4 ridge",
    "scale_up_bytes_per_s": "scale-up",
    "tdp_w": "TDP",
    "flop_per_j": "FLOP/J",
    "bytes_per_j": "B/J",
    "total_params": "parameters",
    "active_params": "active",
    "kv_bytes_per_token": "KV/token",
    "kv_bytes_32k": "KV at 32k",
    "state_bytes": "state",
    "max_context": "context",
}
"""Short headers of a table for people; files and JSON have the full names and units."""

HIDDEN = {"name", "source", "memory_kind", "int8_ridge", "mtp_params", "matmul_active_params"}


def table(
    kind: Annotated[str, typer.Argument(help="accelerators or models.")],
    only: Annotated[
        str | None, typer.Option("--only", metavar="NAME[,...]", help="Only these sheets; default all.")
    ] = None,
    out: opt.Out = None,
    as_json: opt.Json = False,
    specs: opt.Specs = None,
) -> None:
    """Accelerators (peaks, ridge points, FLOP/J) or models (parameters, cache, state) side by side.

    --out x.png draws the ridge points of accelerators over the years.
    """
    from roofline.cli.evaluate import table_document
    from roofline.cli.output import print_json, print_table, waiting
    from roofline.cli.sheets import sheets_of
    from roofline.report import ridges
    from roofline.report.files import check_writable, save, suffix_of
    from roofline.report.overview import overview
    from roofline.report.tables import Table
    from roofline.report.tables import table as rows_of

    if out is not None:
        suffix_of(out)
        check_writable(out)
    wanted = {"accelerator": "accelerators", "model": "models"}.get(kind.lower(), kind.lower())
    with sheets_of(specs), waiting("reading sheets"):
        ds: xr.Dataset = overview(wanted, None if only is None else names(only, wanted))  # type: ignore[arg-type]
    if out is not None:
        save(ds, out, draw=ridges.ridge_points if wanted == "accelerators" else None)
    rows = rows_of(ds)
    if as_json:
        print_json(table_document("specs", rows, out))
        return
    shown = Table(tuple(column for column in rows.columns if column.name not in HIDDEN), rows.attrs)
    footer = "" if out is None else f"written to {out}"
    print_table(shown, title=f"{len(rows)} {wanted}", footer=footer, headers=HEADERS, importance=list(HEADERS))
