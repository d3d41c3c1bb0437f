"""`roofline plan`: the best way to serve a workload under an SLO, of all there are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from roofline.cli import options as opt
from roofline.cli.numbers import names, shares, whole_numbers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from roofline.serving import Workload


def plan(
    models: opt.Models,
    systems: opt.Systems,
    recipe: opt.Recipes = None,
    workload: opt.Workloads = None,
    spread: opt.Spread = None,
    cached: opt.Cached = None,
    duty: opt.Duty = None,
    ttft: opt.Ttft = None,
    tpot: opt.Tpot = None,
    latency: opt.Latency = None,
    percentile: opt.Percentile = None,
    slo: opt.Slos = None,
    objective: opt.ObjectiveOption = opt.Objective.TOKENS_PER_MWH,
    mode: opt.Modes = None,
    prefill_system: opt.PrefillSystems = None,
    ffn_system: opt.FfnSystems = None,
    max_accelerators: opt.MostAccelerators = None,
    acceptance: opt.TriedDrafts = None,
    rate: opt.Rate = None,
    chunk: opt.TriedChunks = None,
    stack: opt.StackOption = "default",
    boundary: opt.BoundaryOption = opt.Boundary.FACILITY,
    basis: opt.BasisOption = opt.Basis.METERED,
    out: opt.Out = None,
    as_json: opt.Json = False,
    specs: opt.Specs = None,
) -> None:
    """The deployment, mode, batch and chunk that are best and meet the limits; why not, where none does.

    Tried is every deployment that fits: whole replicas (aggregated, static) and a pool for prompts beside one that
    decodes (disaggregated), of which --ffn-system may run the feed-forwards (attention_ffn).
    """
    from roofline.cli import asked
    from roofline.cli.choices import explain_command, show
    from roofline.cli.evaluate import table_document
    from roofline.cli.output import print_json, waiting
    from roofline.cli.sheets import sheets_of
    from roofline.report.bands import lines, with_bands
    from roofline.report.files import check_writable, save, suffix_of
    from roofline.report.tables import table

    if out is not None:
        suffix_of(out, (".csv", ".parquet", ".nc", ".zarr"))
        check_writable(out)
    with sheets_of(specs), waiting("searching (the first run compiles the kernels)") as say:
        import roofline as rl

        served = asked.workloads(workload, spread, cached, duty)
        ds = rl.plan(
            names(models, "model"),
            names(systems, "system"),
            None if recipe is None else names(recipe, "recipe"),
            workload=served,
            slo=asked.slos(ttft, tpot, latency, percentile, slo),
            **searched(served, objective, mode, acceptance, rate, chunk),
            prefill_systems=None if prefill_system is None else names(prefill_system, "system"),
            ffn_systems=None if ffn_system is None else names(ffn_system, "system"),
            most_accelerators=max_accelerators,
            stack=stack,
            boundary=boundary.value,
            basis=basis.value,
            progress=lambda done, of: say(f"searching: {done} of {of} models"),
        )
        ds = with_bands(ds)
        if out is not None:
            save(ds, out)
        rows = table(ds)
        by_label = dict(zip(ds["workload"].values, served, strict=True))
        typed = asked.as_typed(rl.Model, models) | asked.as_typed(rl.System, systems)
        command = explain_command(rows, by_label, typed | asked.as_typed(rl.Recipe, recipe), specs)
    if as_json:
        print_json(table_document("plan", rows, out))
        return
    show(ds, rows, out, explain=command, said=lines(ds))


def searched(
    served: Sequence[Workload],
    objective: opt.Objective,
    mode: Sequence[opt.Mode] | None,
    acceptance: str | None,
    rate: float | None,
    chunk: str | None,
) -> dict[str, Any]:
    """What a search looks for and what it tries, as keywords of `roofline.plan`."""
    from roofline.errors import InputError

    if objective is opt.Objective.MIN_GPUS and rate is None and any(one.rate is None for one in served):
        raise InputError("--objective min_gpus: for which load? give requests a second: --rate 20")
    given: dict[str, Any] = {"objective": objective.value, "rate": rate}
    given |= {} if not mode else {"modes": [one.value for one in mode]}
    given |= {} if acceptance is None else {"acceptance": shares(acceptance, "--acceptance")}
    given |= {} if chunk is None else {"chunk": whole_numbers(chunk, "--chunk")}
    return given
