"""One of two systems that share the layers of a model: what it runs of them, and what that costs there (section 14)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from roofline.errors import InputError
from roofline.grid import axes
from roofline.layout import CONFIG, KIT, MACHINE, Limit
from roofline.specs import Model, System
from roofline.specs.model import Layers
from roofline.specs.pack import pack_deployments, pack_machine, pack_models

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from roofline.grid.axes import Degrees

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

NO_LAYER = Layers(count=1, norms=0)
"""A layer that computes nothing: a model of it is what stands before and after the layers."""

NOT_ON_F = ("attn", "router", "head", "decode_core", "context_core", "index", "scan")
"""Parts of a kit that the feed-forward side neither computes nor holds."""

_MEMORY = int(Limit.MEMORY)
TIME, COMPUTE, MOVED = range(3)
"""What a *load* is of, its first axis: s, s at dense peak, B."""


def halves(model: Model) -> tuple[Model, Model]:
    """(what A runs of a model, what F runs of it): attention and norms of each layer; its feed-forward or experts.

    Embedding and lm_head stand in both, and the router with the experts; `feed_forward_kit` makes them free on F.
    Raises `InputError` where the model has no attention or no feed-forward.
    """
    if not any(row.attention for row in model.layers):
        raise InputError(f"model: {axes.label(model)} has no attention to set apart")
    if not any(feeds(row) for row in model.layers):
        raise InputError(f"model: {axes.label(model)} has no feed-forward to set apart")
    sides = []
    for side in (_attention_of, _feed_forward_of):
        changes: dict[str, Any] = {"layers": tuple(side(row) for row in model.layers)}
        if model.mtp is not None:
            changes["mtp__layers"] = tuple(side(row) for row in model.mtp.layers)
        sides.append(model.replace(**changes))
    return sides[0], sides[1]


def _attention_of(row: Layers) -> Layers:
    return Layers(count=row.count, attention=row.attention, norms=row.norms, norm_bias=row.norm_bias)


def _feed_forward_of(row: Layers) -> Layers:
    return Layers(count=row.count, norms=0, ffn=row.ffn, experts=row.experts)


def feeds(row: Layers) -> bool:
    """Whether a layer has something for F."""
    return row.ffn is not None or row.experts is not None


def draft_rows(model: Model) -> tuple[Layers, ...]:
    """Layers of one module that drafts; none where the model has no such module."""
    return model.mtp.layers if model.mtp else ()


def experts_of(rows: Iterable[Layers]) -> list[int]:
    """How many experts each kind of layer has that has any."""
    return [row.experts.count for row in rows if row.experts]


def feed_forward_kit(record: Any) -> Any:
    """A kit whose embedding, lm_head, attention and router take neither time nor memory."""
    kit = np.array(record)
    for name in NOT_ON_F:
        kit[name] = (0.0, 0.0, 0.0, math.inf, 1.0, 1.0, 0.0)
    kit["w_embed"] = kit["w_logit"] = kit["w_gather_logit"] = 0.0
    return kit


class Side:
    """One of the two systems with a kit and its deployments, and what models cost there."""

    def __init__(self, system: System, kit: Any, rows: tuple[Degrees, ...]) -> None:
        self.system, self.kit, self.rows = system, kit, rows
        self.machine = np.array([pack_machine(system, "kernel")], dtype=MACHINE)
        degrees = np.array(rows, dtype=np.int64)
        self.tp, self.dp = degrees[:, 0], degrees[:, 2]
        self.accelerators: Ints = self.tp * self.dp

    def holding(self, model: Model, drafts: int) -> Side:
        """This side with the deployments that hold a model; with all where none does."""
        one = np.ones(1, dtype=np.int64)
        _, limit = self.memory(model, one, 1 + drafts, 1 + drafts, drafts)
        kept = [row for row, code in zip(self.rows, limit[:, 0], strict=True) if code == 0]
        return Side(self.system, self.kit, tuple(kept)) if kept else self

    def _run(
        self, models: Sequence[Model], batches: Ints, contexts: Ints, new: int, drafts: int, want: tuple[int, ...],
        machine: NDArray[np.void], alone: bool,
    ) -> dict[str, Any]:  # fmt: skip
        """Arrays of the kernels over [model * deployment, batch, context].   alone : each model has one layer."""
        from roofline.kernels.sweep import decode_grid

        packed, layers = pack_models(models)
        plain = [(tp, pp, dp, 1, tp * dp) for tp, pp, dp, _, _ in self.rows]
        count = len(self.rows)
        configs = np.zeros(len(models) * count, dtype=CONFIG)
        configs["model"] = np.repeat(np.arange(len(models)), count)
        configs["deployment"] = np.tile(np.arange(count), len(models))
        if alone:  # a layer without experts, alone in a model, is refused where experts are spread; it has none to
            configs["deployment"] += count * np.repeat([not experts_of(model.layers) for model in models], count)
        configs["kit"] = -1 if self.kit is None else 0
        kits = np.zeros(1, dtype=KIT) if self.kit is None else np.array([self.kit], dtype=KIT)
        spread = np.broadcast_to(batches, (configs.size, batches.size))
        result: dict[str, Any] = decode_grid(
            packed, layers, machine, kits, pack_deployments([*self.rows, *plain]), configs, spread, contexts,
            new_tokens=new, drafts=drafts, want=want, with_bound=False,
        )  # fmt: skip
        return result

    def memory(
        self, model: Model, batches: Ints, context: int, new: int, drafts: int, extra: float = 0.0
    ) -> tuple[Floats, NDArray[np.int8]]:
        """Memory [B], with `extra` bytes held by every rank, and `Limit`: [deployment, batch]."""
        from roofline.kernels.outputs import Var

        lengths = np.array([context], dtype=np.int64)
        result = self._run([model], batches, lengths, new, drafts, (int(Var.MEMORY),), self.machine, False)
        memory = result["values"][int(Var.MEMORY)][..., 0] + extra
        limit = result["limit"][..., 0]
        machine = self.machine[0]
        capacity = machine["memory_bytes"] * machine["memory_fraction"] - machine["reserve_bytes"]
        limit[(limit == 0) & (memory > capacity)] = _MEMORY
        return memory, limit

    def loads(self, models: Sequence[Model], batches: Ints, contexts: Ints, new: int, drafts: int = 0) -> Floats:
        """Mean over the contexts of the loads of models, whatever memory holds: [3, model, deployment, batch]."""
        from roofline.kernels.outputs import Var

        roomy = self.machine.copy()
        roomy["memory_bytes"] = math.inf
        want = int(Var.STEP), int(Var.DRAWN_COMPUTE), int(Var.DRAWN_MEMORY)
        values = self._run(models, batches, contexts, new, drafts, want, roomy, True)["values"]
        step, compute, memory = (values[variable] for variable in want)
        loads = np.stack([step, compute * step, memory * step * self.machine["bytes_per_s"][0]]).mean(axis=-1)
        shaped: Floats = loads.reshape(3, len(models), len(self.rows), batches.size)
        return shaped

    def layers(self, rows: Sequence[Layers], like: Model, batches: Ints, contexts: Ints, new: int) -> Floats:
        """Loads of one layer of each of `rows`, without the ends of a model `like` it: [3, row, deployment, batch]."""
        alone = [model_of(like, Layers(**{**row.__dict__, "count": 1})) for row in (*rows, NO_LAYER)]
        loads = self.loads(alone, batches, contexts, new)
        less: Floats = loads[:, :-1] - loads[:, -1:]
        return less

    def gemm(self, part: str, rows: Ints, inputs: int, outputs: int) -> Floats:
        """Load of a GEMM of a part of the kit, equations (1) and (2): [3, *rows.shape]."""
        if self.kit is None:
            return np.full((3, *rows.shape), np.nan)
        at, bandwidth = self.kit[part], self.machine["bytes_per_s"][0]
        flop = 2.0 * rows * inputs * outputs
        moved = inputs * outputs * at["w_weight"] + rows * inputs * at["w_act"] + rows * outputs * at["w_out"]
        roofs = flop / (at["eta_compute"] * at["flop_per_s"]), moved / (at["eta_memory"] * bandwidth)
        return np.stack([at["fixed_s"] + np.maximum(*roofs), flop / at["flop_per_s"], moved])

    def out_rate(self) -> float:
        """Scale-out of one accelerator [B/s]."""
        return float(self.machine["eta_out"][0] * self.machine["out_bytes_per_s"][0])

    def out_latency(self) -> float:
        """Fixed time of a hand-over over scale-out [s]."""
        return float(self.machine["out_s"][0] + self.machine["out_hop_s"][0])

    def watts(self, load: Floats, step_s: Floats) -> Floats:
        """Draw of one accelerator over a step of which it has a load: equation (16)."""
        machine = self.machine[0]
        u_f, u_m = load[COMPUTE] / step_s, load[MOVED] / machine["bytes_per_s"] / step_s
        x = machine["power_a"] * np.sqrt(u_f) + machine["power_b"] * u_m
        idle_w = machine["idle_w"]
        draw: Floats = idle_w + (machine["tdp_w"] - idle_w) * (1.0 - 1.0 / (1.0 + x + 0.5 * x * x))
        return draw


def model_of(model: Model, row: Layers, drafting: bool = False) -> Model:
    """A model with one row of layers, and a draft module of the same where it drafts."""
    if drafting and model.mtp is not None:
        return model.replace(layers=(row,), mtp__layers=(row,))
    return model.replace(layers=(row,), mtp=None)
