"""A few constants fitted to measured closed loops: predictions as functions of them, and the robust fit.

A constant is what a sheet can hold: seconds of a stack's sheet, or a factor on a number of the efficiency sheets. So
what stands after the slash of a name is here a format of those sheets ("all/fp8.gemm.fixed_s": all GEMMs in FP8), and
a constant of a stack holds for everything that is served by that sheet, or by those of its family.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from roofline.errors import InputError
from roofline.specs.stack import Stack
from roofline.validation.names import family_of
from roofline.validation.tuned import ALL, Constant

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from roofline.validation.cells import Records, Work
    from roofline.validation.conditions import Case
    from roofline.validation.predict import Prepared

    Floats = NDArray[np.float64]
    Flags = NDArray[np.bool_]

CLASSES = ("gemm", "experts", "decode_attention", "context_attention")
"""Classes of operations that efficiency sheets have by format, so that a factor on them can be written."""

SCALE = 0.1
"""Error of a prediction, in log, beyond which a row counts less than its square."""

WEIGHTS = (1.0, 0.3)
"""Of the errors of TPOT and of TTFT, over `SCALE`."""

HEAVIEST = 3.0
"""Most weight of one row, where all of them have a mean square of 1."""

NORMAL_90 = 1.6448536269514722
"""Half the width of a 90 % interval of a normal variable, in standard deviations."""

KEPT = 6
"""Times of kernels kept, those used last."""

STEP = 1e-3
"""Step of derivatives, in log of a constant."""

DIGITS = 4
"""Significant digits of a fitted constant: what it predicts is what its printed value predicts."""


@dataclass(frozen=True)
class Prior:
    """One constant before it meets data.

    name : STACK.stack.FIELD of a sheet or a family of them, or all.CLASS.FIELD, a factor, with a class of `CLASSES`.
    start : centre, and where the fit begins.   sigma : standard deviation of its log.   lower, upper : of its value.
    """

    name: str
    start: float
    sigma: float
    lower: float
    upper: float

    @property
    def parts(self) -> Constant:
        """The name taken apart. Raises InputError for a constant that no sheet can hold."""
        found = Constant.of(self.name, self.start)
        if found.kind != "stack" and (found.kind not in CLASSES or found.group != ALL):
            raise InputError(f"{self.name}: give all.CLASS.FIELD, with a class among {', '.join(CLASSES)}")
        return found

    def centre(self) -> float:
        """Where it starts. Raises InputError for what a fit in logs within its limits cannot start from."""
        if not 0.0 < self.lower <= self.start <= self.upper:
            raise InputError(
                f"{self.name}: a fit cannot start at {self.start:g} within {self.lower:g} to {self.upper:g}; give "
                "0 < lower <= start <= upper"
            )
        return self.start


class Predicts(Protocol):
    """What a fit needs of a model."""

    def predict(self, values: Mapping[str, float]) -> Floats:
        """Two quantities of each row with these constants, float64[n, 2]; NaN where there is none."""
        ...


class Model:
    """Predictions of closed loops as a function of constants. Batches are tabled at the constants given first.

    Raises InputError for a constant that no sheet can hold.
    """

    def __init__(self, cases: Sequence[Case], priors: Sequence[Prior], tabled_at: Mapping[str, float] | None = None):
        from roofline.validation.predict import prepare

        self.cases = cases
        self.parts = [(prior.name, prior.parts) for prior in priors]
        self.prepared: Prepared = prepare(cases)
        self._stacks = np.array([Stack.load(case.stack).id for case in cases], dtype=str)
        self._families = np.array([family_of(name) for name in self._stacks], dtype=str)
        self._formats = _formats(cases, self.prepared.records)
        self._loops: Any = self.prepared.groups[0][1]
        self._works: dict[tuple[float, ...], Work] = {}
        if tabled_at is not None:
            self.table_at(tabled_at)

    def table_at(self, values: Mapping[str, float]) -> None:
        """Count batches anew at these constants: then predictions with them are those of sheets that hold them."""
        from roofline.validation.closed_loop import loops_of

        self._works.clear()
        rows = self.prepared.config
        self._loops = loops_of(self.cases, self._records(values), rows, self._stack(values))

    def predict(self, values: Mapping[str, float]) -> Floats:
        """TPOT and TTFT [s] of each case, float64[n, 2], NaN where it cannot run; sheets' numbers for other names."""
        key = tuple(values[name] for name, parts in self.parts if parts.kind != "stack" and name in values)
        records = self._records(values)
        if key not in self._works:
            # A derivative changes one constant at a time, and most of them are of stacks: kernels are the same then.
            while len(self._works) > KEPT:
                self._works.pop(next(iter(self._works)))
            self._works[key] = self._loops.cells.run(records)
        self._works[key] = self._works.pop(key)  # the one used last goes last
        found = self._loops.figures(records, self._stack(values), self._works[key])
        return np.column_stack([found.tpot_s, found.ttft_s])

    def _records(self, values: Mapping[str, float]) -> Records:
        records = self.prepared.records
        kits = records.kits.copy()
        for name, parts in sorted(self.parts, key=lambda item: bool(item[1].recipe)):
            if parts.kind == "stack" or name not in values:
                continue
            wanted = f"operations.{parts.kind}."
            for part, paths in self._formats.items():
                rows = paths == wanted + parts.recipe if parts.recipe else np.char.startswith(paths, wanted)
                scaled = kits[part][parts.field][rows] * values[name]
                kits[part][parts.field][rows] = np.minimum(scaled, 1.0) if parts.field.startswith("eta") else scaled
        return replace(records, kits=kits)

    def _stack(self, values: Mapping[str, float]) -> dict[str, Floats]:
        found = {field: column.copy() for field, column in self.prepared.stack.items()}
        for name, parts in self.parts:
            if parts.kind == "stack" and name in values:
                rows = (self._stacks == parts.group) | (self._families == parts.group)
                found[parts.field][rows] = values[name]
        return found


def _formats(cases: Sequence[Case], records: Records) -> dict[str, NDArray[np.str_]]:
    """Part of a kit -> where in the efficiency sheet the numbers of each kit are."""
    from roofline.specs.pack.kit import pack_kit

    accelerators = {case.system.accelerator.id: case.system.accelerator for case in cases}
    recipes = {case.recipe.id: case.recipe for case in cases}
    named = records.named
    found: dict[str, NDArray[np.str_]] = {}
    for i, (accelerator, recipe) in enumerate(zip(named.kit_accelerator, named.kit_recipe, strict=True)):
        for plan in pack_kit(recipes[str(recipe)], accelerators[str(accelerator)], "kernel", frozenset()).plans:
            found.setdefault(plan.kit_field, np.zeros(records.kits.size, dtype="U64"))[i] = plan.efficiency_path
    return found


@dataclass(frozen=True, eq=False)
class Data:
    """What is fitted: measured : TPOT and TTFT [s], float64[n, 2], NaN for none.   weight : of each row, float64[n]."""

    measured: Floats
    weight: Floats


@dataclass(frozen=True, eq=False)
class Fit:
    """Constants at the optimum.   x : log of each over its prior's centre.   sigma : standard deviation of each x.

    spread : of residuals over what `SCALE` says they are.
    """

    x: Floats
    sigma: Floats
    spread: float


def weights(groups: Sequence[tuple[str, ...]]) -> Floats:
    """Weight of each row by its group: 1 / sqrt(rows of it), of mean square 1, at most `HEAVIEST`."""
    _, group, members = np.unique(["\0".join(one) for one in groups], return_inverse=True, return_counts=True)
    each = 1.0 / np.sqrt(members[group].astype(np.float64))
    found: Floats = np.minimum(each * np.sqrt(each.size / np.sum(each**2)), HEAVIEST)
    return found


def values_at(priors: Sequence[Prior], centres: Floats, x: Floats) -> dict[str, float]:
    """Constants of logs over their centres, to `DIGITS`."""
    held = zip(priors, centres * np.exp(x), strict=True)
    return {prior.name: float(f"{min(max(value, prior.lower), prior.upper):.{DIGITS}g}") for prior, value in held}


def fit(model: Predicts, data: Data, priors: Sequence[Prior], centres: Floats, rows: Flags, x: Floats) -> Fit:
    """Constants of largest posterior: Gaussian in log before, errors of logs with the shape of scipy's soft_l1.

    rows : bool[n]   which are used.   x : where to begin, [constants].   No randomness. The intervals are scipy's: the
    Jacobian at the optimum, scaled by the loss's second derivative, and the spread that the residuals show.
    """
    from scipy.optimize import least_squares

    sigmas = np.array([prior.sigma for prior in priors])
    low = np.log([prior.lower for prior in priors] / centres)
    high = np.log([prior.upper for prior in priors] / centres)
    scale = data.weight[:, None] * np.array(WEIGHTS) / SCALE
    used = np.isfinite(data.measured) & rows[:, None]

    def plain(at: Floats) -> Floats:
        values = {prior.name: float(c * np.exp(d)) for prior, c, d in zip(priors, centres, at, strict=True)}
        with np.errstate(divide="ignore", invalid="ignore"):
            found = np.log(model.predict(values) / data.measured) * scale
        held: Floats = np.nan_to_num(found[used], nan=0.0, posinf=0.0, neginf=0.0)
        return held

    def robust(at: Floats) -> Floats:
        # Its square is 2 (sqrt(1 + r^2) - 1), the loss; scipy's own `loss` would bend the priors too.
        r = plain(at)
        return np.concatenate([r * np.sqrt(2.0 / (1.0 + np.sqrt(1.0 + r * r))), at / sigmas])

    def slopes(at: Floats) -> Floats:
        # Forward, and backward at a bound. scipy's own step is a share of x, which begins at 0.
        here = robust(at)
        found = np.empty((here.size, at.size))
        for i, step in enumerate(STEP * np.where(at + STEP > high, -1.0, 1.0)):
            ahead = at.copy()
            ahead[i] += step
            found[:, i] = (robust(ahead) - here) / step
        return found

    found = least_squares(
        robust, np.clip(x, low, high), slopes, (low, high), x_scale=sigmas, ftol=1e-6, xtol=1e-5, max_nfev=40
    )
    at = np.asarray(found.x, dtype=np.float64)
    r = plain(at)
    shape = np.sqrt(1.0 + r * r)
    chain = np.sqrt((1.0 + shape) / 2.0) / shape  # slope of what is squared over that of the error
    jacobian = slopes(at)[: r.size] / chain[:, None]
    of_loss = float(np.sum(2.0 * (shape - 1.0)))
    spread = np.sqrt(of_loss / max(r.size - at.size, 1))
    bent = jacobian * (shape**-1.5)[:, None]
    information = bent.T @ bent / max(spread, 1e-9) ** 2 + np.diag(1.0 / sigmas**2)
    return Fit(at, np.sqrt(np.diag(np.linalg.inv(information))), float(spread))
