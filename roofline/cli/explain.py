"""`roofline explain`: one pass, operation by operation, and the classic roofline of it."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from roofline.cli import options as opt
from roofline.cli.numbers import shares, whole_numbers
from roofline.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from roofline.insight.explain import Explanation, OperationRow
    from roofline.report.tables import Table


def explain(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model: name, path of a sheet, or a config.json.")],
    system: Annotated[str, typer.Argument(metavar="SYSTEM", help="A system or accelerator: name or path of a sheet.")],
    recipe: Annotated[
        str | None, typer.Option("--recipe", metavar="NAME", help="Default: the first the model ships in.")
    ] = None,
    tp: Annotated[int, typer.Option("--tp", min=1, help="Tensor-parallel degree.")] = 1,
    pp: Annotated[int, typer.Option("--pp", min=1, help="Pipeline stages.")] = 1,
    dp: Annotated[int, typer.Option("--dp", min=1, help="Data-parallel attention ranks.")] = 1,
    ep: Annotated[int | None, typer.Option("--ep", min=1, help="Expert-parallel degree; default 1.")] = None,
    moe_tp: Annotated[
        int | None, typer.Option("--moe-tp", min=1, help="Tensor-parallel degree inside an expert; default tp*dp/ep.")
    ] = None,
    batch: Annotated[int, typer.Option("--batch", min=1, help="Sequences in flight per replica.")] = 1,
    context: Annotated[
        str | None, typer.Option("--context", metavar="N", help="A decode step at this context length; default 2k.")
    ] = None,
    isl: Annotated[
        str | None, typer.Option("--isl", metavar="N", help="Instead: the prefill of a prompt this long.")
    ] = None,
    drafts: opt.Drafts = 0,
    acceptance: opt.Acceptance = None,
    fidelity: opt.FidelityOption = opt.Fidelity.KERNEL,
    out: opt.FlatOut = None,
    as_json: opt.Json = False,
    specs: opt.Specs = None,
) -> None:
    """One pass operation by operation: FLOP, bytes, intensity, time, what binds, and which number came from where.

    With --out FILE.png the classic roofline with the operations on it; with --out FILE.csv the operations.
    """
    if context is not None and isl is not None:
        raise InputError("--context is a decode step, --isl a prefill: give one of them")
    from roofline.cli.output import print_json, waiting
    from roofline.cli.sheets import sheets_of
    from roofline.report.files import PICTURES, TABLES, check_writable, save_figure, save_table, suffix_of

    if out is not None:
        suffix_of(out, TABLES + PICTURES)
        check_writable(out)
    length = {"isl": _one(isl, "--isl")} if isl is not None else {"context": _one(context or "2k", "--context")}
    with sheets_of(specs), waiting("evaluating (the first run compiles the kernels)"):
        import roofline as rl

        found = rl.explain(
            *(model, system, recipe),
            **{"tp": tp, "pp": pp, "dp": dp, "ep": ep, "moe_tp": moe_tp, "batch": batch, **length},  # type: ignore[arg-type]
            drafts=drafts,
            acceptance=None if acceptance is None else shares(acceptance, "--acceptance"),
            fidelity=fidelity.value,
        )
    if out is not None:
        if out.suffix.lower() in PICTURES:
            save_figure(chart(found), out)
        else:
            save_table(operations_table(found).stamped(), out)
    if as_json:
        print_json(_document(found, out))
    else:
        _show(found, out)


def _one(text: str, option: str) -> int:
    values = whole_numbers(text, option)
    if len(values) != 1:
        raise InputError(f"{option} {text}: explain takes one value")
    return values[0]


def subject(found: Explanation) -> dict[str, str | int]:
    """What is explained, by name."""
    cell = found.cell
    length = "isl" if "isl" in cell.coords else "context"
    texts = {name: str(cell[name].item()) for name in ("model", "system", "recipe", "deployment")}
    numbers = {name: int(cell[name]) for name in ("tp", "pp", "dp", "ep", "moe_tp", "batch", length)}
    return {**texts, **numbers}


def _records(found: Explanation) -> list[dict[str, Any]]:
    """Operations with their share of the pass; NaN as None."""
    total = sum(row.total_s for row in found.operations)
    rows = []
    for row in found.rows():
        row["share"] = row["total_s"] / total if total else 0.0
        rows.append({name: None if isinstance(v, float) and math.isnan(v) else v for name, v in row.items()})
    return rows


def _document(found: Explanation, out: Path | None) -> Any:
    from roofline.cli.documents import ExplainDocument, OperationDocument

    return ExplainDocument(
        provenance={str(key): str(value) for key, value in found.cell.attrs.items()},
        subject=dict(subject(found)),
        bytes_per_s=found.bytes_per_s,
        ridges=found.ridges,
        operations=[OperationDocument.model_validate(row) for row in _records(found)],
        totals={name: value for name, value in found.totals.items() if value == value},
        file=None if out is None else str(out),
    )


def operations_table(found: Explanation) -> Table:
    """The operations as a table that stands alone: what is explained is in columns too."""
    import numpy as np

    from roofline.cli.documents import OperationDocument
    from roofline.report.tables import Column, Table

    units = dict.fromkeys(("time_s", "total_s", "fixed_s"), "s")
    units |= {"flop": "FLOP", "bytes": "B", "intensity": "FLOP/B", "peak_flop_per_s": "FLOP/s"}
    records = _records(found)
    labels = [
        Column(name, "", "", np.full(len(records), value, dtype=object)) for name, value in subject(found).items()
    ]
    columns = [
        Column(name, units.get(name, ""), field.description or "", np.array([r[name] for r in records], dtype=object))
        for name, field in OperationDocument.model_fields.items()
    ]
    return Table((*labels, *columns), {str(key): str(value) for key, value in found.cell.attrs.items()})


def _show(found: Explanation, out: Path | None) -> None:
    from roofline.cli.output import print_cells
    from roofline.report.plots import basis_line
    from roofline.report.tables import number

    refs: dict[tuple[str, str], int] = {}
    cells = []
    for row in _records(found):
        mark = refs.setdefault((row["source"], row["grade"]), len(refs) + 1)
        cells.append(
            [
                *(row["operation"], row["layer"], row["count"]),
                *(number(row["flop"], "FLOP"), number(row["bytes"], "B"), number(row["intensity"])),
                *(number(row["time_s"], "s"), f"{row['share']:.1%}", row["bound"]),
                row["math"] + (" (weight-only)" if row["weight_only"] else ""),
                *(number(row["eta_compute"]), number(row["eta_memory"]), number(row["fixed_s"], "s"), f"[{mark}]"),
            ]
        )
    headers = ["operation", "layer", "count", "work", "traffic", "FLOP/B", "time", "share", "bound", "math"]
    headers += ["eta_c", "eta_m", "t0", "source"]
    left = [name in {"operation", "layer", "bound", "math", "source"} for name in headers]
    important = ("operation", "time", "share", "bound", "count", "work", "traffic", "FLOP/B", "math", "source", "layer")
    print_cells(headers, cells, left=left, title=_title(found), importance=important, elsewhere="--json, --out x.csv")
    for (ref, grade), mark in refs.items():
        print(f"[{mark}] {grade + ': ' if grade else ''}{ref}")
    units = {"time_s": "s", "sum_of_operations_s": "s", "flop": "FLOP", "bytes": "B", "memory": "B", "power": "W"}
    units["joules_per_token"] = "J"
    said = [f"{name} {number(value, units.get(name, ''))}" for name, value in found.totals.items()]
    print("one pass: " + "  ".join(said))
    ridges = "  ".join(f"{name} {number(value)}" for name, value in found.ridges.items())
    print(f"memory {number(found.bytes_per_s, 'B')}/s; ridge points in FLOP/B: {ridges}")
    print(basis_line(dict(found.cell.attrs)) + ("" if out is None else f"\nwritten to {out}"))


def _title(found: Explanation) -> str:
    what = subject(found)
    length = f"context {what['context']}" if "context" in what else f"prompt of {what['isl']}"
    return (
        f"{what['model']} on {what['system']}, {what['recipe']}, {what['deployment']}, batch {what['batch']}, {length}"
    )


def chart(found: Explanation) -> Figure:
    """The classic roofline of an explanation."""
    from roofline.report.chart import Dot, roofline_chart

    # The same work in several kinds of layer is one dot; work that differs by kind is told apart by its layer.
    merged: dict[tuple[str, float, float, float], list[OperationRow]] = {}
    for row in found.operations:
        merged.setdefault((row.operation, row.flop, row.bytes, row.time_s), []).append(row)
    kinds = Counter(operation for operation, *_ in merged)
    dots = [
        Dot(
            name=operation.replace("_", " ") + (f" ({rows[0].layer})" if kinds[operation] > 1 else ""),
            flop=flop,
            moved_bytes=moved,
            time_s=time_s,
            count=sum(row.count for row in rows),
            group=rows[0].component,
        )
        for (operation, flop, moved, time_s), rows in merged.items()
    ]
    used = {row.math for row in found.operations if row.math}
    peaks = {name: ridge * found.bytes_per_s for name, ridge in found.ridges.items() if name in used}
    what = subject(found)
    kind, length = ("one decode step", "context") if "context" in what else ("one prefill", "isl")
    title = f"{what['model']} on {found.cell['system_name'].item()}: {kind} under the roofline"
    subtitle = f"{what['recipe']}, {what['deployment']}, batch {what['batch']}, {length} {what[length]}"
    return roofline_chart(
        dots, peaks=peaks, bytes_per_s=found.bytes_per_s, title=title, subtitle=subtitle, attrs=found.cell.attrs
    )
