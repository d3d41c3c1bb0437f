"""Options of commands that hold an answer: a plan's choice, a pass or a load."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from roofline.cli.numbers import names, shares, whole_numbers
from roofline.errors import InputError


class Of(StrEnum):
    """What is asked about."""

    PLAN = "plan"
    DECODE = "decode"
    PREFILL = "prefill"
    SERVE = "serve"


OfOption = Annotated[
    Of, typer.Option("--of", help="plan: what `roofline plan` chooses, held; decode, prefill: one pass; serve: a load.")
]
WorkloadOption = Annotated[
    str | None,
    typer.Option(
        "--workload", metavar="W", help="Of plan and serve: ISL/OSL such as 8k/1k, a preset, a CSV; default 1k/1k."
    ),
]
Isl = Annotated[
    str | None, typer.Option("--isl", metavar="N", help="Instead, with --osl; of prefill: its prompts, default 2k.")
]
Osl = Annotated[str | None, typer.Option("--osl", metavar="N", help="Output tokens of a request, with --isl.")]
Degree = int | None
TpOption = Annotated[Degree, typer.Option("--tp", min=1, help="Of a pass or a load: tensor-parallel degree.")]
PpOption = Annotated[Degree, typer.Option("--pp", min=1, help="The same: pipeline stages.")]
DpOption = Annotated[Degree, typer.Option("--dp", min=1, help="The same: data-parallel attention ranks.")]
EpOption = Annotated[Degree, typer.Option("--ep", min=1, help="The same: expert-parallel degree.")]
BatchOption = Annotated[int | None, typer.Option("--batch", min=1, help="Of a pass: sequences in flight; default 1.")]
ContextOption = Annotated[
    str | None, typer.Option("--context", metavar="N", help="Of decode: context length; default 2k.")
]
RecipeOption = Annotated[
    str | None,
    typer.Option(
        "--recipe", metavar="NAME", help="Default of a plan the best that the model ships in, else the first of them."
    ),
]
Concurrency = Annotated[int | None, typer.Option("--concurrency", min=1, help="Of serve: a closed loop of clients.")]
FigureOption = Annotated[
    str | None, typer.Option("--figure", metavar="NAME", help="Which figure to rank by; default what a plan seeks.")
]

_DEGREES = ("tp", "pp", "dp", "ep", "moe_tp")
_OF = {
    "plan": (
        *("workload", "objective", "modes", "prefill_systems", "most_accelerators", "acceptance", "rate", "chunk"),
        *("stack", "slo", "lengths", "bill"),
    ),
    "decode": (*_DEGREES, "batch", "context", "drafts", "acceptance", "fidelity"),
    "prefill": (*_DEGREES, "batch", "isl", "fidelity"),
    "serve": (*_DEGREES, "workload", "concurrency", "rate", "cv", "chunk", "slots", "stack", "lengths"),
}
"""What each kind of answer takes, beside where energy is counted."""

_TYPED = {
    "modes": "mode",
    "most_accelerators": "max-accelerators",
    "prefill_systems": "prefill-system",
    "slo": "ttft, --tpot, --latency or --slo",
    "bill": "prices, --tier, --usd-per-gpu-hour or --usd-per-kwh",
}
"""Names of options where they are not those of keywords."""


def with_bill(of: Of, figure: str | None, given: dict[str, Any] | None) -> dict[str, Any]:
    """Keywords, with the usual prices where a plan's cost of a token is asked for without any."""
    found = dict(given or {})
    return found | {"bill": {}} if of is Of.PLAN and figure == "usd_per_mtok" and "bill" not in found else found


def options_of(
    of: Of,
    *,
    workload: str | None,
    isl: str | None,
    osl: str | None,
    lengths: dict[str, Any],
    limits: tuple[Any, ...],
    modes: Any,
    chunk: str | None,
    acceptance: str | None,
    context: str | None,
    **given: Any,
) -> dict[str, Any]:
    """Keywords of `roofline.insight.subjects.subject`.   limits : as of `asked.slos`.   given : the rest, None unless.

    Raises InputError for an option that this kind of answer does not take.
    """
    from roofline.cli import asked

    written = {"workload": workload, "context": context, "chunk": chunk, "acceptance": acceptance, "modes": modes}
    written |= {"slo": next((one for one in limits if one), None), "isl": isl, "osl": osl}
    written |= {"lengths": next((f"--{name}" for name, value in lengths.items() if value is not None), None)} | given
    takes = {*_OF[of.value], "boundary", "basis", "vintage", *(("isl", "osl") if "workload" in _OF[of.value] else ())}
    for name, value in written.items():
        if value is not None and name not in takes:
            option = value if name == "lengths" else "--" + _TYPED.get(name, name).replace("_", "-")
            raise InputError(f"{option}: not of {of.value}; it takes {_words(of)}")
    found = {name: value for name, value in given.items() if value is not None}
    if of is Of.DECODE:
        found["context"] = _one(context or "2k", "--context")
    if of is Of.PREFILL:
        found["isl"] = _one(isl or "2k", "--isl")
    if "workload" in takes:
        found["workload"] = asked.workloads([_lengths(workload, isl, osl)], **lengths)[0]
    if of is Of.PLAN:
        found["slo"] = asked.slos(*limits)
        if len(found["slo"]) > 1:
            raise InputError("--slo: given more than once; one answer is held")
        found["slo"] = found["slo"][0]
        tried = [one.value for one in modes or ()]
        if "attention_ffn" in tried:
            raise InputError("--mode attention_ffn: it cannot be held; give aggregated, static or disaggregated")
        found |= {"modes": tried} if tried else {}
        helpers = given.get("prefill_systems")
        found |= {} if helpers is None else {"prefill_systems": names(helpers, "system")}
        if given.get("objective") == "min_gpus" and given.get("rate") is None and found["workload"].rate is None:
            raise InputError("--objective min_gpus: for which load? give requests a second: --rate 20")
        found |= {} if chunk is None else {"chunk": whole_numbers(chunk, "--chunk")}
    elif chunk is not None:
        found["chunk"] = _one(chunk, "--chunk")
    found |= {} if acceptance is None else {"acceptance": shares(acceptance, "--acceptance")}
    if of is Of.SERVE and given.get("concurrency") is None and given.get("rate") is None:
        raise InputError("--of serve: give --concurrency, a closed loop of clients, or --rate, requests a second")
    return found


def _words(of: Of) -> str:
    named = {"slo": "limits", "lengths": "--spread, --cached, --duty"}
    return ", ".join(named.get(name, "--" + _TYPED.get(name, name).replace("_", "-")) for name in _OF[of.value])


def _one(text: str, option: str) -> int:
    found = whole_numbers(text, option)
    if len(found) != 1:
        raise InputError(f"{option} {text}: {len(found)} values; one answer is held, give one")
    return found[0]


def _lengths(workload: str | None, isl: str | None, osl: str | None) -> Any:
    if isl is None and osl is None:
        return workload or "1k/1k"
    if workload is not None:
        raise InputError("--workload and --isl, --osl: give one of them")
    if isl is None or osl is None:
        raise InputError(f"--{'isl' if isl is None else 'osl'}: give --isl and --osl together, or --workload 8k/1k")
    return {"isl": _one(isl, "--isl"), "osl": _one(osl, "--osl"), "name": f"{isl}/{osl}"}


def one_name(text: str | None, kind: str) -> str | None:
    """The one name of an argument. Raises InputError for several."""
    if text is None:
        return None
    found = names(text, kind)
    if len(found) != 1:
        raise InputError(f"{kind} {text}: one answer is held; give one {kind}")
    return str(found[0])
