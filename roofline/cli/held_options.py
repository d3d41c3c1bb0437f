"""What is asked of an answer that is held, declared once for every command that asks it.

A command has one parameter `given`. `takes` puts an option for each of `PLAN`, or of `EVERYTHING`, in its place, and
gives the command what was typed as keywords of `roofline.insight.subjects.subject`.
"""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Annotated, Any

import typer

from roofline.cli import held, site_options
from roofline.cli import options as opt

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_OBJECTIVE = Annotated[
    opt.Objective | None, typer.Option("--objective", help="Of a plan: what is best; min_gpus needs --rate.")
]
_STACK = Annotated[str | None, typer.Option("--stack", metavar="NAME", help="Serving stack: name or path of a sheet.")]
_RATE = Annotated[
    float | None,
    typer.Option("--rate", min=0.0, help="Requests a second: of serve instead of clients, of a plan its load."),
]
_DRAFTS = Annotated[
    int | None,
    typer.Option("--drafts", min=0, help="Of decode: tokens drafted by the model's MTP layers, with --acceptance."),
]
_MOE_TP = Annotated[
    int | None, typer.Option("--moe-tp", min=1, help="The same: tensor-parallel degree inside an expert.")
]
_CV = Annotated[
    float | None, typer.Option("--cv", min=0.0, help="Of serve: variation of the times between arrivals; 1: Poisson.")
]
_SLOTS = Annotated[int | None, typer.Option("--slots", min=1, help="Of serve: most sequences of a replica.")]
_FIDELITY = Annotated[opt.Fidelity | None, typer.Option("--fidelity", help="Of a pass: ideal or kernel.")]

PLAN: Mapping[str, Any] = {
    "workload": held.WorkloadOption,
    "isl": held.Isl,
    "osl": held.Osl,
    "spread": opt.Spread,
    "cached": opt.Cached,
    "duty": opt.Duty,
    "ttft": opt.Ttft,
    "tpot": opt.Tpot,
    "latency": opt.Latency,
    "percentile": opt.Percentile,
    "slo": opt.OneSlo,
    "objective": _OBJECTIVE,
    "mode": opt.Modes,
    "prefill_system": opt.PrefillSystems,
    "max_accelerators": opt.MostAccelerators,
    "acceptance": opt.TriedDrafts,
    "rate": _RATE,
    "chunk": opt.TriedChunks,
    "stack": _STACK,
}
"""Options of a plan, by name of the parameter; none has a default but None."""

MONEY: Mapping[str, Any] = {
    "prices": opt.PriceSheet,
    "tier": opt.Tier,
    "usd_per_gpu_hour": site_options.UsdPerHour,
    "usd_per_kwh": Annotated[
        float | None, typer.Option("--usd-per-kwh", metavar="USD", help="Price of energy, where no hour holds it.")
    ],
}
"""What is paid, for the cost of a token beside the other figures of a plan."""

EVERYTHING: Mapping[str, Any] = {
    **PLAN,
    **MONEY,
    "tp": held.TpOption,
    "pp": held.PpOption,
    "dp": held.DpOption,
    "ep": held.EpOption,
    "moe_tp": _MOE_TP,
    "batch": held.BatchOption,
    "context": held.ContextOption,
    "drafts": _DRAFTS,
    "concurrency": held.Concurrency,
    "cv": _CV,
    "slots": _SLOTS,
    "fidelity": _FIDELITY,
}
"""Options of a plan, a pass and a load."""

_LENGTHS = ("spread", "cached", "duty")
_LIMITS = ("ttft", "tpot", "latency", "percentile", "slo")
_PLAIN = ("workload", "isl", "osl", "chunk", "acceptance", "context")


def takes(options: Mapping[str, Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A decorator of commands: `given` becomes `options`, --boundary, --basis and --vintage, and arrives as keywords.

    The command's parameter `of`, where it has one, says what is asked about.
    """

    def wrap(command: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(command, eval_str=True)
        kind, listed = inspect.Parameter.KEYWORD_ONLY, []
        for name, parameter in signature.parameters.items():
            if name != "given":
                listed.append(parameter.replace(kind=kind))
                continue
            listed += [inspect.Parameter(key, kind, default=None, annotation=one) for key, one in options.items()]
            for key, one, default in (
                ("boundary", opt.BoundaryOption, opt.Boundary.FACILITY),
                ("basis", opt.BasisOption, opt.Basis.METERED),
                ("vintage", opt.VintageOption, None),
            ):
                listed.append(inspect.Parameter(key, kind, default=default, annotation=one))

        @functools.wraps(command)
        def run(**typed: Any) -> None:
            mine = {name: typed.pop(name) for name in signature.parameters if name != "given"}
            command(**mine, given=keywords(mine.get("of", held.Of.PLAN), typed))

        run.__signature__ = signature.replace(parameters=listed)  # type: ignore[attr-defined]  # what typer reads
        run.__annotations__ = {one.name: one.annotation for one in listed}
        return run

    return wrap


def keywords(of: held.Of, typed: Mapping[str, Any]) -> dict[str, Any]:
    """Keywords of `roofline.insight.subjects.subject` from what was typed, by name of the parameter.

    Raises InputError for what this kind of answer does not take, and what is no number, name or limit.
    """
    rest = {name: typed.get(name) for name in EVERYTHING if name not in (*_LENGTHS, *_LIMITS, *_PLAIN, *MONEY)}
    names_of_bill = {"usd_per_gpu_hour": "usd_per_accelerator_hour"}
    bill = {names_of_bill.get(name, name): typed[name] for name in MONEY if typed.get(name) is not None}
    names = {"max_accelerators": "most_accelerators", "mode": "modes", "prefill_system": "prefill_systems"}
    enums = ("objective", "fidelity")
    return held.options_of(
        of,
        **{name: typed.get(name) for name in _PLAIN},
        lengths={name: typed.get(name) for name in _LENGTHS},
        limits=tuple(typed.get(name) for name in _LIMITS),
        **{
            names.get(name, name): value.value if name in enums and value is not None else value
            for name, value in rest.items()
        },
        bill=bill or None,
        boundary=typed["boundary"].value,
        basis=typed["basis"].value,
        vintage=typed["vintage"],
    )
