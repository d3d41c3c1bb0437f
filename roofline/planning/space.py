"""All configurations of a model to search: recipes x deployments on each system, and what the search finds of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from roofline.grid import axes
from roofline.grid.axes import Deployments, deployment_label
from roofline.grid.deployments import every_deployment
from roofline.layout import CONFIG
from roofline.rack.best import native_recipes
from roofline.rack.energy import PowerFacts
from roofline.specs import Recipe
from roofline.specs.formats import weight_bytes
from roofline.specs.pack import Packed, pack, pack_deployments

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from roofline.grid.axes import Degrees
    from roofline.grid.evaluate import Records
    from roofline.planning.objective import Objective
    from roofline.planning.question import Question
    from roofline.specs import Model, System

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Space:
    """One model on several systems.

    configs : CONFIG[n], by system, recipe (in the order named) and deployment (fewest accelerators first).
    system, recipe : int64[n]   of each.   group : int64[n]   accelerators of a replica.
    """

    model: Model
    systems: Sequence[System]
    recipes: Sequence[Recipe]
    deployments: Deployments
    packed: Packed
    configs: NDArray[np.void]
    system: Ints
    recipe: Ints
    group: Ints

    @classmethod
    def of(
        cls,
        model: Model,
        systems: Sequence[System],
        recipes: Sequence[Recipe] | None = None,
        most_accelerators: int | None = None,
        deployments: Deployments | None = None,
    ) -> Space:
        """All deployments of a model, or those given, in the recipes given, or those it ships in and a part computes.

        most_accelerators : of a replica; None: those of one system, or of the fewest that hold the weights twice over.
        Raises InputError where most_accelerators is not a positive whole number.
        """
        shipped = [Recipe.load(name) for name in model.recipes] if recipes is None else []
        chosen = [native_recipes(model, system, shipped) if recipes is None else list(recipes) for system in systems]
        named = {axes.label(recipe): recipe for listed in chosen for recipe in listed}
        places = {label: n for n, label in enumerate(named)}
        rows: dict[Degrees, int] = {}
        listed: list[tuple[int, int, int]] = []
        for s, system in enumerate(systems):
            most = most_accelerators or self_contained(model, system, chosen[s])
            found = every_deployment(model, system, most) if deployments is None else deployments
            at = [rows.setdefault(row, len(rows)) for row in found.rows]
            listed += [(s, places[axes.label(recipe)], d) for recipe in chosen[s] for d in at]
        packed = pack([model], list(systems), list(named.values()), "kernel")
        at_system, at_recipe, deployment = np.array(listed, dtype=np.int64).reshape(-1, 3).T
        configs = np.zeros(deployment.size, dtype=CONFIG)
        configs["machine"], configs["deployment"] = at_system, deployment
        configs["kit"] = packed.kit_index[0, at_system, at_recipe]
        all_rows = Deployments(tuple(rows))
        group = np.array(all_rows.accelerators, dtype=np.int64)[deployment]
        return cls(model, systems, list(named.values()), all_rows, packed, configs, at_system, at_recipe, group)

    def of_system(self, system: int) -> Ints:
        """Configurations on one system, int64[n]; they stand together."""
        start, stop = np.searchsorted(self.system, [system, system + 1])
        found: Ints = np.arange(start, stop)
        return found

    @cached_property
    def facts(self) -> list[PowerFacts]:
        """Watts around the accelerators of each system."""
        return [PowerFacts.of(system) for system in self.systems]

    @property
    def records(self) -> Records:
        """Record arrays in the order kernels take them."""
        packed = self.packed
        rows = pack_deployments(self.deployments.rows)
        return packed.models, packed.layers, packed.machines, packed.kits, rows, self.configs

    @property
    def links(self) -> Floats:
        """Rate at which one accelerator of each system hands KV cache over to another pool [B/s]; 0: it cannot."""
        machines = self.packed.machines
        rate: Floats = machines["out_bytes_per_s"] * machines["eta_out"]
        return rate

    def degrees(self, config: int) -> dict[str, int]:
        """tp, pp, dp, ep and moe_tp of a configuration."""
        row = self.deployments.rows[int(self.configs[config]["deployment"])]
        return dict(zip(("tp", "pp", "dp", "ep", "moe_tp"), row, strict=True))

    def label(self, config: int) -> str:
        """The deployment of a configuration, as on the axis of a Dataset."""
        return deployment_label(self.deployments.rows[int(self.configs[config]["deployment"])])

    def search(
        self,
        question: Question,
        objective: Objective,
        modes: Sequence[int],
        links: Floats | None = None,
        most_points: int = 0,
        prune: bool = True,
        parallel: bool = True,
    ) -> dict[str, Any]:
        """What `kernels.plan.search_grid` finds of each configuration.

        modes : numbers of `kernels.candidates`.   links : as `links`, where the other pool is slower.
        """
        from roofline.kernels.candidates import MODES
        from roofline.kernels.plan import search_grid

        wanted = np.zeros(MODES, dtype=np.int64)
        wanted[list(modes)] = 1
        found: dict[str, Any] = search_grid(
            *self.records,
            powers=objective.powers(self.systems),
            links=self.links if links is None else links,
            prices=objective.prices(self.systems),
            modes=wanted,
            most_points=most_points,
            prune=prune,
            parallel=parallel,
            **question.arrays(),
        )
        return found


def self_contained(model: Model, system: System, recipes: Sequence[Recipe]) -> int:
    """Accelerators of one system, or of as many (a power of two) as hold the weights with as much room again."""
    formats = [(recipe.parts.experts if model.is_moe else recipe.parts.dense_ffn).weights for recipe in recipes]
    weights = model.total_params * min(weight_bytes(name) for name in formats)
    needed = 2.0 * weights / (system.accelerators * system.accelerator.memory.bytes)
    systems = 1
    while systems < needed and 2 * systems <= system.max_systems:
        systems *= 2
    return systems * system.accelerators
