"""Static batches, predicted and measured: the throughput tables of TensorRT-LLM 0.9.

Rows are from docs/source/performance/perf-overview.md of TensorRT-LLM v0.9 (Apache-2.0), "Peak Throughput": a batch of
equal requests, prefilled at once and decoded to the end, rate = batch * OSL / (prefill + OSL steps). The models
are those of the tables, which the shipped sheets do not cover, given as mappings.

Assumed, since the tables do not say: FP8 rows keep the KV cache in FP8 (in BF16, 17 of the 48 would not fit their
memory), and a process may fill all of it.

    python -m bench.static_batch        prints every row and the summary
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import roofline as rl

TABLE = Path(__file__).parent.parent / "tests" / "data" / "static_batch.csv"
_SYSTEM = {"H200": "dgx-h200", "H100": "dgx-h100", "L40S": "l40s", "A100-80GB": "a100-80-sxm"}
_STEPS = 33  # decode steps priced of the OSL: the time of a step is close to linear in the context between them


def _dense(
    name: str, layers: int, hidden: int, heads: int, kv_heads: int, inner: int, vocab: int, **other: Any
) -> dict[str, Any]:
    attention = {"kind": "gqa", "heads": heads, "kv_heads": kv_heads, "head_dim": hidden // heads}
    attention |= {"window": other["window"]} if "window" in other else {}
    row = {"count": layers, "norms": other.get("norms", 2), "attention": attention}
    row |= {"ffn": {"matrices": other.get("matrices", 3), "inner": inner}}
    return {
        "name": name,
        "hidden": hidden,
        "vocab": vocab,
        "tied_embeddings": False,
        "max_context": 8192,
        "recipes": ["fp8", "bf16"],
        "layers": [row],
    }


MODELS: dict[str, Any] = {
    "GPT-J-6B": _dense("GPT-J-6B", 28, 4096, 16, 16, 16384, 50400, matrices=2, norms=1),
    "LLaMA-7B": _dense("LLaMA-7B", 32, 4096, 32, 32, 11008, 32000),
    "Mistral-7B": _dense("Mistral-7B", 32, 4096, 32, 8, 14336, 32000, window=4096),
    "LLaMA-2-70B": _dense("LLaMA-2-70B", 80, 8192, 64, 8, 28672, 32000),
    "Mixtral-8x7B": "mixtral-8x7b",
}


@dataclass(frozen=True)
class Row:
    """One line of the table with its prediction [output tokens/s]."""

    model: str
    gpu: str
    weights: str
    tp: int
    isl: int
    osl: int
    batch: int
    measured: float
    predicted: float

    @property
    def error(self) -> float:
        """Signed relative error."""
        return self.predicted / self.measured - 1.0


def predict(model: Any, system: Any, recipe: str, tp: int, batch: int, isl: int, osl: int) -> float:
    """Output tokens/s of a static batch: prefill at once, then `osl` steps over the growing context."""
    contexts = np.unique(np.linspace(isl + 1, isl + osl, min(_STEPS, osl)).round().astype(int))
    where = (model, system, recipe)
    step = rl.decode(*where, tp=tp, batch=batch, context=contexts.tolist())["step_time"].values.ravel()
    prompt = rl.prefill(*where, tp=tp, batch=batch, isl=isl)["prefill_time"].item()
    decode = np.interp(np.arange(isl + 1, isl + osl + 1), contexts, step).sum()
    return float(batch * osl / (prompt + decode))


def score() -> list[Row]:
    """Every row of the table with its prediction."""
    whole = "accelerator__efficiency__runtime__memory_fraction"  # the tables fill the memory
    systems = {gpu: rl.System.load(name).replace(**{whole: 1.0}) for gpu, name in _SYSTEM.items()}
    rows = []
    with TABLE.open(newline="") as file:
        for line in csv.DictReader(file):
            recipe = "fp8" if line["weights"] == "fp8" else "bf16"
            size = [int(line[name]) for name in ("tp", "batch", "isl", "osl")]
            rate = predict(MODELS[line["model"]], systems[line["gpu"]], recipe, *size)
            tp, batch, isl, osl = size
            measured = float(line["output_tokens_per_s"])
            rows.append(Row(line["model"], line["gpu"], line["weights"], tp, isl, osl, batch, measured, rate))
    return rows


def median_error(rows: list[Row]) -> float:
    """Median absolute relative error; a row without a prediction counts as 1."""
    return float(np.median([abs(row.error) if np.isfinite(row.error) else 1.0 for row in rows]))


def main() -> None:
    """Print the table."""
    from rich.console import Console
    from rich.table import Table

    rows = score()
    table = Table(title="Static batches, output tokens/s")
    for name in ("model", "GPU", "format", "tp", "ISL", "OSL", "batch", "measured", "predicted", "error"):
        table.add_column(name, justify="left" if name in ("model", "GPU", "format") else "right")
    for row in rows:
        sizes = [str(n) for n in (row.tp, row.isl, row.osl, row.batch)]
        figures = [
            f"{row.measured:,.0f}",
            f"{row.predicted:,.0f}",
            f"{row.error:+.0%}" if np.isfinite(row.error) else "does not fit",
        ]
        table.add_row(row.model, row.gpu, row.weights, *sizes, *figures)
    console = Console(width=110)
    console.print(table)
    for gpu in (None, *_SYSTEM):
        chosen = [row for row in rows if gpu in (None, row.gpu)]
        console.print(f"{gpu or 'all'}: {len(chosen)} rows, median absolute error {median_error(chosen):.1%}")


if __name__ == "__main__":
    main()
