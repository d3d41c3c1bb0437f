"""A pass or a load on a deployment that is given, while the numbers of its sheets change: beside `held`, for a plan."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from roofline import provenance
from roofline.errors import InputError
from roofline.grid import axes
from roofline.grid.drafts import Drafts
from roofline.grid.variables import DECODE, PREFILL, limit_reason
from roofline.insight.parameters import Numbers, Side
from roofline.insight.replica import FEW, Replica, watts_around
from roofline.planning.objective import Objective
from roofline.planning.variables import AT_BOUNDARY, FIGURES
from roofline.rack.energy import JOULES_PER_MWH, check, check_vintage
from roofline.serving.deployed import deployed
from roofline.serving.under_load import MEANS
from roofline.serving.under_load import figures as under_load
from roofline.serving.workload import Workload
from roofline.specs import Facility, Model, Recipe, System
from roofline.specs.pack import FIDELITIES
from roofline.specs.stack import Stack

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from roofline.grid.evaluate import Records
    from roofline.insight.parameters import Varied
    from roofline.specs.pack import Fidelity

    Floats = NDArray[np.float64]

SERVED = (
    *("output_tokens_per_s", "tokens_per_s_per_gpu", "tokens_per_s_per_user", "request_rate", "ttft", "tpot"),
    *("request_latency", "power", "joules_per_token"),
)
"""Figures of a load."""


@dataclass(frozen=True)
class Place:
    """What runs where: a model in a recipe with its degrees on a system, and where energy is counted."""

    model: Model
    side: Side
    degrees: tuple[int, int, int, int, int]
    objective: Objective
    duty: float
    fidelity: Fidelity

    @classmethod
    def of(
        cls, model: Any, system: Any, recipe: Any, degrees: dict[str, Any], fidelity: Fidelity, energy: dict[str, Any]
    ) -> Place:
        """Raises InputError where anything is given more than once, or is wrong.

        degrees : tp, pp, dp, ep, moe_tp.   energy : boundary, basis, vintage, facility, duty; those left out as usual.
        """
        unknown = set(energy) - {"boundary", "basis", "vintage", "facility", "duty"}
        if unknown:
            raise InputError(f"{min(unknown)}: no option of a pass or a load; energy has boundary, basis, vintage, ...")
        shape, box = Model.load(model), System.load(system)
        if energy.get("facility") is not None:
            box = box.model_copy(update={"facility": Facility.load(energy["facility"])})
        named = Recipe.load(shape.recipes[0] if recipe is None else recipe)
        listed = axes.deployments(**degrees)
        if len(listed.rows) != 1:
            raise InputError("one deployment at a time: give single degrees")
        objective = Objective(
            "tokens_per_mwh", energy.get("boundary", "facility"), energy.get("basis", "metered"), energy.get("vintage")
        )
        if fidelity not in FIDELITIES:
            raise InputError(f"fidelity {fidelity!r}: expected one of {', '.join(FIDELITIES)}")
        duty = energy.get("duty", 1.0)
        check(objective.boundary, objective.basis, duty, objective.vintage)
        check_vintage(objective.vintage, {axes.label(box): box.power.provisioned_w_per_accelerator})
        return cls(shape, Side.of(shape, box, named, fidelity), listed.rows[0], objective, float(duty), fidelity)

    @property
    def replica(self) -> Replica:
        """The deployment."""
        return Replica(self.model, self.degrees, 0)

    def at_boundary(self, numbers: Numbers, varied: Varied, power: Floats, rate: Floats) -> dict[str, Floats]:
        """Energy at the boundary of a replica that draws `power` [W an accelerator] at `rate` tokens a second."""
        watts = watts_around(numbers, varied, self.replica, power, self.objective, self.duty)
        joules = watts / (self.duty * rate)
        return {
            "tokens_per_mwh": JOULES_PER_MWH / joules,
            "joules_per_token_at_boundary": joules,
            "power_at_boundary": watts / self.replica.group,
        }

    def attributes(self, kind: str, token_basis: str, more: dict[str, str]) -> dict[str, str]:
        """Provenance of figures."""
        sheets = (self.model, self.side.system, self.side.recipe)
        digests = [pair for sheet in sheets for pair in sheet.digests.items()]
        found = provenance.attributes(fidelity=self.fidelity, token_basis=token_basis, sheets=digests)
        where = {"model": self.model, "system": self.side.system, "recipe": self.side.recipe}
        said = {name: axes.label(sheet) for name, sheet in where.items()}
        label = {"deployment": axes.deployment_label(self.degrees), "duty": f"{self.duty:g}"}
        return found | self.objective.attributes | said | label | {"held": kind, "objective": ""} | more


def _about(names: Any, where: str, token: str) -> dict[str, tuple[str, str]]:
    """Meanings of figures of a plan that a pass or a load has too."""
    words = {name: FIGURES[name][1].replace("output token", f"{token} token") for name in names}
    return {name: (FIGURES[name][0], words[name] + f" ({where})" * (name in AT_BOUNDARY)) for name in names}


@dataclass(frozen=True)
class Pass:
    """One decode step at a context, or the prefill of prompts of isl tokens.   length : either."""

    place: Place
    batch: int
    length: int
    prompt: bool
    drafts: Drafts
    numbers: Numbers

    @property
    def _variables(self) -> Any:
        listed = PREFILL if self.prompt else DECODE
        return [one for one in listed if one.name not in ("mfu", "mbu", "memory")]

    @property
    def about(self) -> dict[str, tuple[str, str]]:
        """Figure -> (units, meaning)."""
        token = "input" if self.prompt else "output"
        shown = {one.name: (one.units, one.long_name) for one in self._variables}
        where = self.place.objective.where
        return _about(AT_BOUNDARY, where, token) | shown | _about(("memory_share",), where, token)

    @property
    def attributes(self) -> dict[str, str]:
        """What the figures are of."""
        length = {"isl" if self.prompt else "context": str(self.length), "batch": str(self.batch)}
        kind = "prefill" if self.prompt else "decode"
        return self.place.attributes(kind, "input" if self.prompt else "output", length | self.drafts.attributes)

    @property
    def label(self) -> str:
        """The pass in a few words."""
        one = self.attributes
        what = f"prefill of {self.length} tokens" if self.prompt else f"decode at context {self.length}"
        return f"{what}, {one['recipe']}, {one['deployment']}, batch {self.batch}"

    def figures(self, varied: Varied) -> dict[str, Floats]:
        """The figures of every variant, float64[n] by name."""
        from roofline.kernels.outputs import Var

        listed, place = self._variables, self.place
        want = [int(Var[one.kernel]) for one in listed] + [int(Var.MEMORY)]
        values = self._run(varied, want, place.replica.records(varied))["values"]
        kept = self.drafts.tokens_per_step
        found = {one.name: values[int(Var[one.kernel])][:, 0, 0] for one in listed}
        if "tpot" in found:
            found["tpot"] = found["tpot"] / kept
        side = varied.machines[0]
        usable = side["memory_bytes"] * side["memory_fraction"] - side["reserve_bytes"]
        found["memory_share"] = values[int(Var.MEMORY)][:, 0, 0] / usable
        rate = found["tokens_per_s_per_gpu"] * place.replica.group
        return place.at_boundary(self.numbers, varied, found["power"], rate) | found

    def check(self) -> None:
        """Raise InputError where it does not run as the sheets stand."""
        found = self._run(base := self.numbers.base(), [0], self.place.replica.records(base, roomy=False))
        if int(found["limit"].item()):
            raise InputError(f"{self.label}: {limit_reason(int(found['limit'].item()))}")

    def _run(self, varied: Varied, want: list[int], records: Records) -> dict[str, Any]:
        from roofline.kernels.prefill import prefill_grid
        from roofline.kernels.sweep import decode_grid

        batch, lengths = np.full((varied.size, 1), self.batch, dtype=np.int64), np.array([self.length])
        several = varied.size > FEW
        if self.prompt:
            return cast(
                "dict[str, Any]", prefill_grid(*records, batch, lengths, want=want, with_bound=False, parallel=several)
            )
        new, kept = 1 + self.drafts.count, self.drafts.tokens_per_step
        found: dict[str, Any] = decode_grid(
            *records, batch, lengths, new, self.drafts.count, kept, want, with_bound=False, parallel=several
        )
        return found


@dataclass(frozen=True)
class Load:
    """Continuous batching under a load, as `roofline.serve`.   cv : of arrivals at a rate; None for a closed loop.

    Memory counts here: a variant with less of it serves fewer requests at once, and one without room is NaN.
    """

    place: Place
    workload: Workload
    load: float
    cv: float | None
    chunk: int
    slots: int | None
    stack: Stack
    numbers: Numbers

    @property
    def about(self) -> dict[str, tuple[str, str]]:
        """Figure -> (units, meaning)."""
        return _about(AT_BOUNDARY, self.place.objective.where, "output") | {name: MEANS[name] for name in SERVED}

    @property
    def attributes(self) -> dict[str, str]:
        """What the figures are of."""
        lengths = {"workload": self.workload.name or f"{self.workload.mean_isl:g}/{self.workload.mean_osl:g}"}
        kind = {"concurrency" if self.cv is None else "rate": f"{self.load:g}", "chunk": str(self.chunk)}
        more = lengths | kind | {"stack": self.stack.id or self.stack.name, "fidelity": "serving"}
        return self.place.attributes("serve", "output", more)

    @property
    def label(self) -> str:
        """The load in a few words."""
        one = self.attributes
        said = f"{self.load:g} clients" if self.cv is None else f"{self.load:g} requests/s"
        return f"{said}, {one['recipe']}, {one['deployment']}"

    @cached_property
    def _slots(self) -> int | None:
        """Most sequences to look at: a closed loop never has more than its clients."""
        if self.cv is not None:
            return self.slots
        ranks = self.place.degrees[2]
        enough = ranks * self.stack.padded(-(-int(self.load) // ranks) + 2)
        return enough if self.slots is None else min(self.slots, enough)

    def figures(self, varied: Varied) -> dict[str, Floats]:
        """The figures of every variant, float64[n] by name; NaN where it cannot serve."""
        found = {name: np.full(varied.size, np.nan) for name in SERVED}
        for i in range(varied.size):
            for name, value in self._one(varied, i)[0].items():
                if name in found:
                    found[name][i] = value
        more = self.place.at_boundary(self.numbers, varied, found["power"], found["output_tokens_per_s"])
        return {name: (more | found)[name] for name in self.about}

    def _one(self, varied: Varied, i: int) -> tuple[dict[str, float], str]:
        """Figures of a variant, none where it cannot serve, and why they are to be doubted or there are none."""
        models, layers, machines, kits, rows, configs = self.place.replica.records(varied, roomy=False)
        own = dict(zip(varied.stack.dtype.names or (), varied.stack[i].tolist(), strict=True))
        stack = self.stack.model_copy(update=own)
        requests = self.workload.requests
        prefix = self.workload.mean_isl - float(requests.points()[0].mean()) if self.workload.cached_share else 0.0
        grid: Any = SimpleNamespace(
            deployments=SimpleNamespace(rows=(self.place.degrees,)), packed=SimpleNamespace(machines=machines)
        )
        replica = deployed(
            grid, (models, layers, machines, kits, rows, configs), i, requests, stack, self.chunk, self._slots, prefix
        )
        if isinstance(replica, int):
            return {}, limit_reason(replica)
        return under_load(replica, requests, self.load, self.cv, self.place.replica.group)

    def check(self) -> None:
        """Raise InputError where it cannot serve as the sheets stand."""
        found, why = self._one(self.numbers.base(), 0)
        if not np.isfinite(found.get("tpot", np.nan)):
            raise InputError(f"{self.label}: {why}")


def given_pass(
    model: axes.SheetLike,
    system: axes.SheetLike,
    recipe: axes.SheetLike | None = None,
    *,
    context: int | None = None,
    isl: int | None = None,
    batch: int = 1,
    drafts: int = 0,
    acceptance: Any = None,
    fidelity: Fidelity = "kernel",
    tp: int = 1,
    pp: int = 1,
    dp: int = 1,
    ep: int | None = None,
    moe_tp: int | None = None,
    **energy: Any,
) -> Pass:
    """A decode step at `context`, or the prefill of `isl` tokens. As of `roofline.explain`; energy as `Place.of`.

    Raises InputError for bad input, and where it does not run.
    """
    from roofline.grid.drafts import drafts_of

    if (context is None) == (isl is None):
        raise InputError("give either context (a decode step) or isl (a prefill pass)")
    if isl is not None and drafts:
        raise InputError("drafts belong to a decode step; a prefill pass computes the whole prompt")
    degrees = {"tp": tp, "pp": pp, "dp": dp, "ep": ep, "moe_tp": moe_tp}
    place = Place.of(model, system, recipe, degrees, fidelity, energy)
    length = axes.count("isl", isl) if isl is not None else axes.count("context", cast(int, context))
    size, speculation = axes.count("batch", batch), drafts_of(drafts, acceptance)
    if isl is None and length <= speculation.count:
        raise InputError(f"context: {length} holds no {1 + speculation.count} new tokens")
    numbers = Numbers([place.side], None, fidelity, place.objective.vintage)
    found = Pass(place, size, length, isl is not None, speculation, numbers)
    found.check()
    return found


def given_load(
    model: axes.SheetLike,
    system: axes.SheetLike,
    recipe: axes.SheetLike | None = None,
    *,
    workload: Any,
    concurrency: int | None = None,
    rate: float | None = None,
    cv: float | None = None,
    chunk: int = 2048,
    slots: int | None = None,
    stack: Any = "default",
    tp: int = 1,
    pp: int = 1,
    dp: int = 1,
    ep: int | None = None,
    moe_tp: int | None = None,
    **energy: Any,
) -> Load:
    """A load on a deployment: as of `roofline.serve`, one of each; energy as `Place.of`, its duty the workload's.

    Raises InputError for bad input, and where it cannot serve.
    """
    from roofline.serving.service import number

    if (concurrency is None) == (rate is None):
        raise InputError("give either concurrency (a closed loop) or rate (open arrivals)")
    asked, sheet = Workload.of(workload), Stack.load(stack)
    degrees = {"tp": tp, "pp": pp, "dp": dp, "ep": ep, "moe_tp": moe_tp}
    place = Place.of(model, system, recipe, degrees, "kernel", {"duty": asked.duty} | energy)
    load = number("rate", rate, above=0.0) if concurrency is None else float(axes.count("concurrency", concurrency))
    arrivals = None if rate is None else asked.rate_cv if cv is None else number("cv", cv, least=0.0)
    most = None if slots is None else axes.count("slots", slots)
    numbers = Numbers([place.side], sheet, "kernel", place.objective.vintage)
    found = Load(place, asked, load, arrivals, axes.count("chunk", chunk), most, sheet, numbers)
    found.check()
    return found
