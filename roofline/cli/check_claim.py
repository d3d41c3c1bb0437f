"""`roofline check-claim`: whether a published figure is possible."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from roofline.cli import options as opt
from roofline.cli.numbers import names, shares, whole_numbers
from roofline.errors import InputError

if TYPE_CHECKING:
    from roofline.insight.claims import ClaimCheck
    from roofline.report.tables import Table


def check_claim(
    claim: Annotated[
        str,
        typer.Argument(
            metavar="CLAIM",
            help='"500000 tokens/MWh", "2.5M tok/s/MW", "0.4 J/token", "$0.20/Mtok", "90 tok/s/GPU" or '
            '"50x tokens per MW of dgx-h200".',
        ),
    ],
    model: Annotated[str, typer.Option("--model", metavar="NAME", help="A model: name, path, or a config.json.")],
    system: Annotated[str, typer.Option("--system", metavar="NAME", help="A system or accelerator: name or path.")],
    recipe: opt.Recipes = None,
    workload: opt.OneWorkload = "1k/1k",
    isl: Annotated[
        str | None, typer.Option("--isl", metavar="N", help="Prompt tokens, in place of --workload's.")
    ] = None,
    osl: Annotated[
        str | None, typer.Option("--osl", metavar="N", help="Output tokens, in place of --workload's.")
    ] = None,
    spread: opt.Spread = None,
    cached: opt.Cached = None,
    duty: opt.Duty = None,
    ttft: opt.Ttft = None,
    tpot: opt.Tpot = None,
    latency: opt.Latency = None,
    percentile: opt.Percentile = None,
    slo: opt.OneSlo = None,
    tokens: Annotated[
        str | None,
        typer.Option("--tokens", metavar="output|input|total", help="What the claim counts; default what it says."),
    ] = None,
    price: Annotated[
        float | None, typer.Option("--price", help="Instead: dollars for an accelerator-hour, for a claim in money.")
    ] = None,
    reference_price: Annotated[
        float | None, typer.Option("--reference-price", help="The same for the system that a ratio is to.")
    ] = None,
    prices: opt.PriceSheet = None,
    tier: opt.Tier = None,
    mode: opt.Modes = None,
    max_accelerators: opt.MostAccelerators = None,
    acceptance: opt.TriedDrafts = None,
    stack: opt.StackOption = "default",
    boundary: opt.BoundaryOption = opt.Boundary.FACILITY,
    basis: opt.BasisOption = opt.Basis.METERED,
    vintage: opt.VintageOption = None,
    out: opt.FlatOut = None,
    as_json: opt.Json = False,
    specs: opt.Specs = None,
) -> None:
    """Whether a figure is above the ideal bound, plausible, or below what any working deployment gives.

    It is held against the ideal bound, the best plan and one sequence at a time, in J/token too, and without the usual
    slips (3600, 1000, one accelerator for all, tokens, sparse peaks). The status is 0 whatever the answer is.
    """
    from roofline.cli import asked
    from roofline.cli.output import print_json, waiting
    from roofline.cli.sheets import sheets_of
    from roofline.report.files import PICTURES, TABLES, check_writable, save_figure, save_table, suffix_of

    if out is not None:
        suffix_of(out, TABLES + PICTURES)
        check_writable(out)
    if slo is not None and len(slo) > 1:
        raise InputError("--slo: given more than once; a claim is of one")
    given: dict[str, Any] = {} if not mode else {"modes": [one.value for one in mode]}
    given |= {} if acceptance is None else {"acceptance": shares(acceptance, "--acceptance")}
    given |= {} if isl is None else {"isl": _one(isl, "--isl")}
    given |= {} if osl is None else {"osl": _one(osl, "--osl")}
    with sheets_of(specs), waiting("searching (the first run compiles the kernels)"):
        from roofline.insight.claims import check_claim as check

        found = check(
            *(claim, model, system, None if recipe is None else names(recipe, "recipe")),
            workload=asked.workloads([workload], spread, cached, duty)[0],
            slo=asked.slos(ttft, tpot, latency, percentile, slo)[0],
            token_basis=tokens,  # type: ignore[arg-type]  # any other word is refused there
            boundary=boundary.value,
            basis=basis.value,
            vintage=vintage,
            usd_per_gpu_hour=price,
            reference_usd_per_gpu_hour=reference_price,
            prices=prices,
            tier=tier,
            most_accelerators=max_accelerators,
            stack=stack,
            **given,
        )
    if out is not None:
        if out.suffix.lower() in PICTURES:
            from roofline.report.claims import claim_picture

            save_figure(claim_picture(found), out)
        else:
            save_table(claim_table(found).stamped(), out)
    if as_json:
        print_json(_document(found, out))
    else:
        _show(found, out)


def _one(text: str, option: str) -> int:
    values = whole_numbers(text, option)
    if len(values) != 1:
        raise InputError(f"{option} {text}: a claim is of one length")
    return values[0]


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _plain(record: Any) -> dict[str, Any]:
    return {name: _number(v) if isinstance(v, float) else v for name, v in asdict(record).items()}


def _document(found: ClaimCheck, out: Path | None) -> Any:
    from roofline.cli.check_claim_documents import CheckClaimDocument

    claim = found.claim
    return CheckClaimDocument.model_validate(
        {
            "provenance": found.attrs,
            "claim": claim.text,
            "claimed": claim.kind,
            "value": claim.value,
            "unit": claim.unit.text,
            "reference": claim.reference,
            "verdict": found.verdict,
            "reason": found.reason,
            "cost": _number(found.cost),
            "cost_unit": found.attrs["cost_unit"],
            "joules_per_token": _number(found.joules_per_token),
            "expected": _number(found.expected),
            "points": [_plain(one) for one in found.rungs],
            "bound": [_plain(one) for one in found.bound.derivation],
            "slips": [_plain(one) for one in found.slips],
            "nearest_slip": None if found.nearest_slip is None else _plain(found.nearest_slip),
            "ratios": [_plain(one) for one in found.ratios],
            "said": found.said(),
            "file": None if out is None else str(out),
        }
    )


def claim_table(found: ClaimCheck) -> Table:
    """The claim, its points and what slips would make of it, a row each: a table that stands alone."""
    import numpy as np

    from roofline.report.tables import Column, Table

    rows: list[tuple[str, str, float, float, float, str]] = [
        ("claim", found.claim.text, found.claim.value, found.joules_per_token, 1.0, found.verdict)
    ]
    rows += [(one.name, one.what, one.value, one.joules_per_token, one.claim_over, "") for one in found.rungs]
    for slip in found.slips:
        joules = found.joules_per_token * slip.cost / found.cost
        rows.append(("slip", slip.what, math.nan, joules, found.cost / slip.cost, slip.verdict))
    kinds = [
        ("row", "", "the claim, a point that it is held against, or the claim without a slip"),
        ("what", "", "in words"),
        ("value", "", f"in the claim's unit, {found.claim.unit.text}"),
        ("joules_per_token", "J", f"energy of an output token ({found.attrs['where']})"),
        ("claim_over", "", "cost of a token as claimed over that of this row"),
        ("verdict", "", "what the claim is, or would be"),
    ]
    columns = [
        Column(name, unit, meaning, np.array([row[n] for row in rows], dtype=float if n in (2, 3, 4) else object))
        for n, (name, unit, meaning) in enumerate(kinds)
    ]
    told = ("model", "system", "reference", "workload", "slo")
    labels = [Column(name, "", "", np.full(len(rows), found.attrs[name], dtype=object)) for name in told]
    return Table((*labels, *columns), found.attrs)


def _show(found: ClaimCheck, out: Path | None) -> None:
    from roofline.cli.output import print_cells
    from roofline.insight.claim_words import NAMES, figure, priced
    from roofline.report.plots import basis_line
    from roofline.report.tables import number

    said = found.said()
    print("\n".join(said[:2]))
    unit = "times the reference" if found.claim.reference else found.claim.unit.text
    cells = [
        [NAMES[one.name].removeprefix("the "), figure(one.value), number(one.joules_per_token, "J"),
         figure(one.claim_over), one.what] for one in found.rungs
    ]  # fmt: skip
    print()
    headers = ["", unit, "energy/token", "claim costs, times", "deployment"]
    left = [True, False, False, False, True]
    print_cells(headers, cells, left=left, title="", prose={"deployment"}, elsewhere="--json, --out x.csv")
    print()
    for one in found.bound.derivation:
        print(f"  {one.what}: {number(one.value, one.unit)}{'/s' if one.unit == '1/s' else ''}")
    print()
    print("\n".join(said[2:]))
    if "usd_per_gpu_hour" in found.attrs:
        print(priced(found.attrs))
    print(basis_line(dict(found.attrs)) + ("" if out is None else f"\nwritten to {out}"))
