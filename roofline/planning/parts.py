"""What a plan chose for one cell, as parts to be placed: pools with their accelerators, draws and share of prompts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from roofline.grid import axes
from roofline.grid.drafts import drafts_of
from roofline.grid.evaluate import Grid
from roofline.planning.question import NODES
from roofline.rack.energy import PowerFacts
from roofline.rack.site import Part
from roofline.serving.steps import step_table
from roofline.specs import Recipe

if TYPE_CHECKING:
    from collections.abc import Mapping

    import xarray as xr

    from roofline.serving.workload import Workload
    from roofline.specs import Model, System
    from roofline.specs.stack import Stack

DEGREES = ("tp", "pp", "dp", "ep", "moe_tp")


class Chosen:
    """One cell of a plan with the sheets that it names.

    cell : a plan of one model, system, workload and SLO.   systems, recipes : sheets by label, the cell's system among
    them; recipes that are not given are looked up by name.   workload, stack : as the plan was asked.
    """

    def __init__(
        self,
        cell: xr.Dataset,
        model: Model,
        systems: Mapping[str, System],
        recipes: Mapping[str, Recipe],
        workload: Workload,
        stack: Stack,
    ) -> None:
        self.cell, self.model, self.systems, self.recipes = cell, model, systems, recipes
        self.workload, self.stack = workload, stack

    def number(self, name: str) -> float:
        """A figure of the cell."""
        return float(self.cell[name].item())

    def text(self, name: str) -> str:
        """A label of the cell."""
        return str(self.cell[name].item())

    @property
    def runs(self) -> bool:
        """Whether anything was chosen."""
        return self.text("mode") != ""

    def parts(self) -> list[Part]:
        """Parts of one unit.

        Accelerators that compute prompts only are charged to prompts, those that decode only to output; of replicas
        that do both, prompts take the share of time of `prompt_share`.
        """
        own = self.text("system")
        if not self.number("prefill_replicas"):
            share = self.prompt_share()
            return [self._part("serving", own, self.number("accelerators"), 1.0, self.number("power"), share)]
        prefill, decode = self.number("prefill_replicas"), self.number("decode_replicas")
        first = self.number("prefill_accelerators")
        group = (self.number("accelerators") - first) / decode
        apart = self.number("ffn_accelerators")
        found = [
            self._part("prefill", self.text("prefill_system"), first / prefill, prefill, self._draw("prefill"), 1.0),
            self._part("decode", own, group - (apart if apart > 0.0 else 0.0), decode, self._draw("decode"), 0.0),
        ]
        if apart > 0.0:
            found.append(self._part("ffn", self.text("ffn_system"), apart, decode, self._draw("ffn"), 0.0))
        return found

    def _draw(self, pool: str) -> float:
        """Mean draw of an accelerator of a pool [W]."""
        return self.number(f"{pool}_power")

    def _part(self, role: str, label: str, group: float, replicas: float, draw_w: float, prompts: float) -> Part:
        system = self.systems[label]
        accelerator = axes.label(system.accelerator)
        facts = PowerFacts.of(system)
        return Part(role, label, accelerator, facts, round(group), round(replicas), draw_w, prompts)

    def prompt_share(self) -> float:
        """Share of the time of replicas that compute prompts and decode which prompts take: equation (9).

        A static batch computes its prompts first. In continuous batching a step with a chunk lasts longer by what the
        chunk takes: a batch of B decodes for s steps of t, so that of the B/R seconds that B requests take at R
        requests a second all but s*t are of prompts.
        """
        rate, batch = self.number("request_rate"), self.number("batch")
        if self.text("mode") == "static":
            share = (self.number("ttft") - self.stack.ttft_s) * rate / batch
        else:
            share = 1.0 - self.steps() * self.decode_step_s() * rate / batch
        return float(np.clip(share, 0.0, 1.0))

    def steps(self) -> float:
        """Mean decode steps of a request."""
        drafts = round(self.number("drafts"))
        listed = [float(share) for share in str(self.cell.attrs.get("acceptance", "")).split(",") if share.strip()]
        tau = drafts_of(drafts, listed[:drafts] if drafts else None).tokens_per_step
        chunk = self.number("chunk")
        return step_table(self.workload, round(chunk) if chunk > 0.0 else 1, tau, 1, [50.0]).steps

    def decode_step_s(self) -> float:
        """Time of a decode step without chunks [s]: t of (20) in docs/equations.md."""
        from roofline.kernels.outputs import Var
        from roofline.kernels.sweep import decode_grid

        row = {name: round(self.number(name)) for name in DEGREES}
        recipe = self.recipes.get(self.text("recipe")) or Recipe.load(self.text("recipe"))
        grid = Grid(self.model, self.systems[self.text("system")], recipe, axes.deployments(rows=[row]), "kernel")
        models, layers, machines, kits, deployments, configs = grid.records()
        roomy = machines.copy()
        roomy["memory_bytes"] = np.inf  # the plan has seen that it fits; a padded batch of this cell alone need not
        drafts, b = round(self.number("drafts")), round(self.number("batch") / row["dp"])
        contexts = np.maximum(np.round(self.workload.nodes(NODES)[0]), 1 + drafts).astype(np.int64)
        batch = np.array([[self.stack.padded(b) * row["dp"]]], dtype=np.int64)
        records = models, layers, roomy, kits, deployments, configs
        found = decode_grid(*records, batch, contexts, new_tokens=1 + drafts, drafts=drafts, want=(Var.STEP,))
        return self.stack.step_s + self.stack.sequence_s * b + float(found["values"][int(Var.STEP)][0, 0].mean())
