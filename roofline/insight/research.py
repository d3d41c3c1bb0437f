"""A plan chosen again with one number of its sheets changed: what a number buys when the deployment may follow it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from roofline.errors import InputError
from roofline.grid import axes
from roofline.planning.plan import plan
from roofline.specs import Facility, System
from roofline.specs.stack import Stack

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from roofline.insight.parameters import Parameter

    Floats = NDArray[np.float64]

MEMORY = ("accelerator.memory.bytes", "efficiency.runtime.memory_fraction")
"""Numbers that move nothing while a deployment is held, and batches when it is not."""


class Research:
    """One plan, to be asked again.   options : of `roofline.plan`.   figure : which of its variables."""

    def __init__(self, model: Any, system: Any, recipe: Any, options: dict[str, Any], figure: str) -> None:
        self.model, self.recipe, self.figure = model, recipe, figure
        self.options = dict(options)
        hall = self.options.pop("facility", None)
        self.system = _housed(System.load(system), hall)
        helpers = self.options.pop("prefill_systems", None)
        listed = [] if helpers is None else axes.sheets("prefill_systems", System, helpers)
        self.helpers = [_housed(box, hall) for box in listed]
        self.stack = Stack.load(self.options.pop("stack", "default"))

    def ratios(
        self, parameters: Sequence[Parameter], change: float, count: int, progress: Callable[[int, int], None] | None
    ) -> Floats:
        """Figure over its own with `change` more, and less by the same factor, of each number; float64[n, 2].

        parameters : by falling importance; the first `count` that move anything are asked, and memory. NaN elsewhere,
        where a number cannot be that, and where nothing meets the limits then.
        """
        first = [one.path for one in parameters if one.effects][:count]
        asked = [p for p, one in enumerate(parameters) if one.path in first or one.path.endswith(MEMORY)]
        base = self._value(self.system, self.helpers, self.stack)
        found = np.full((len(parameters), 2), np.nan)
        for done, p in enumerate(asked):
            if progress is not None:
                progress(done, len(asked))
            for column, factor in enumerate((1.0 + change, 1.0 / (1.0 + change))):
                found[p, column] = self._with(parameters[p], factor) / base
        if progress is not None:
            progress(len(asked), len(asked))
        return found

    def _with(self, parameter: Parameter, factor: float) -> float:
        path, value = parameter.path, parameter.value * factor
        if not parameter.least <= value <= parameter.most:
            return np.nan
        if path.startswith("stack."):
            return self._value(self.system, self.helpers, self.stack.replace(**{path.removeprefix("stack."): value}))
        try:
            if path.startswith("prefill."):
                helpers = [changed(box, path.removeprefix("prefill."), factor) for box in self.helpers]
                return self._value(self.system, helpers, self.stack)
            return self._value(changed(self.system, path, factor), self.helpers, self.stack)
        except InputError:  # the sheet cannot have it: an idle draw above the TDP
            return np.nan

    def _value(self, system: System, helpers: list[System], stack: Stack) -> float:
        ds = plan(self.model, system, self.recipe, stack=stack, prefill_systems=helpers or None, **self.options)
        return float(ds[self.figure].item())


def _housed(box: System, hall: Any) -> System:
    return box if hall is None else box.model_copy(update={"facility": Facility.load(hall)})


def changed(system: System, path: str, factor: float) -> System:
    """A system with one number times a factor, all others as they are.   path : of `parameters.Parameter`.

    Raises InputError where its sheet cannot have that.
    """
    kind, _, rest = path.partition(".")
    where = {"system": "", "facility": "facility__", "accelerator": "accelerator__"}
    prefix = where.get(kind, "accelerator__efficiency__")
    power = system.power
    if rest == "power.psu.efficiency" and power.psu is not None:
        return system.replace(power__psu__efficiency=tuple(min(1.0, factor * share) for share in power.psu.efficiency))
    held: Any = {"system": system, "facility": system.facility, "accelerator": system.accelerator}.get(kind)
    held = system.accelerator.efficiency if held is None else held
    for name in rest.split("."):
        held = held[name] if isinstance(held, dict) else getattr(held, name)
    changes: dict[str, Any] = {prefix + rest.replace(".", "__"): held * factor}
    if path == "accelerator.power.tdp_w":  # a rule makes idle watts follow it: here each number is by itself
        changes["accelerator__power__idle_w"] = system.accelerator.power.idle_w
    return system.replace(**changes)
