"""Make docs/zoo.md and its pictures from the built-in sheets; they are never changed by hand."""

from __future__ import annotations

from pathlib import Path

from roofline.rack import feasibility
from roofline.report.feasibility import feasibility_picture
from roofline.report.files import save_figure
from roofline.report.overview import overview
from roofline.report.ridges import ridge_points
from roofline.report.tables import markdown, table

FOLDER = Path(__file__).parent
PAGE = FOLDER / "zoo.md"
IMAGES = FOLDER / "img"

ACCELERATORS = {
    "accelerator": "accelerator",
    "year": "year",
    "bf16_flop_per_s": "bf16 FLOP/s",
    "fp8_flop_per_s": "fp8 FLOP/s",
    "fp4_flop_per_s": "fp4 FLOP/s",
    "int8_flop_per_s": "int8 OP/s",
    "memory_bytes": "memory",
    "memory_kind": "kind",
    "memory_bytes_per_s": "bandwidth, B/s",
    "bf16_ridge": "ridge bf16, FLOP/B",
    "fp8_ridge": "ridge fp8",
    "fp4_ridge": "ridge fp4",
    "scale_up_bytes_per_s": "scale-up, B/s",
    "domain": "domain",
    "tdp_w": "TDP",
    "flop_per_j": "FLOP/J",
    "bytes_per_j": "B/J",
    "grade": "grade",
}
MODELS = {
    "model": "model",
    "mixers": "layers that mix tokens",
    "layers": "layers",
    "total_params": "parameters",
    "active_params": "active",
    "matmul_active_params": "active in products",
    "mtp_params": "MTP",
    "kv_bytes_per_token": "KV per token",
    "kv_bytes_32k": "KV of 32k",
    "state_bytes": "state",
    "max_context": "context",
    "recipes": "recipes",
    "grade": "grade",
}

TEXT = """# The zoo

Every accelerator and model that ships, side by side. Made from the sheets by `python docs/make_zoo.py`; the same tables
come from `roofline specs table accelerators` and `roofline specs table models`, with `--out x.csv` for a file. Where a
cell has a dash, the part has not the thing or it is undisclosed.

## Accelerators

Dense peaks. Bytes in one direction. The *ridge point* is peak over memory bandwidth: a kernel that does fewer FLOP on
a byte than that waits for memory. *FLOP/J* is the fastest dense arithmetic at TDP, *B/J* memory traffic at TDP.
*Grade* is the worst of peaks, memory and TDP. Traps in these figures, and how they are resolved:
[hardware_specs/README.md](../hardware_specs/README.md).

{accelerators}

![Ridge points over the years](img/ridge-points.png)

## Models

Parameters of the text model; *active* are those a token meets, *active in products* leaves out an embedding table that
is only looked up, *MTP* are multi-token-prediction modules beside them. *KV per token* is what the BF16 cache of a
sequence grows by once every window is full, index keys included; *KV of 32k* what it holds then (or at the longest
context). *State* is the fp32 state of recurrent layers, whatever the length.

{models}

## Which model runs where

`roofline feasibility` finds the fewest accelerators that hold a model, in a recipe it ships in, and decode one
sequence. Tried is every tp that the heads allow, every number of pipeline stages, and for experts every dp that is a
power of two: few accelerators, not fast ones. FP4 and FP8 weights run on parts without that arithmetic too, widened:
they still take fewer bytes.

![Fewest accelerators of every model on every system](img/feasibility.png)

## Where the figures are from

{sources}
"""


def page() -> str:
    """The text of docs/zoo.md."""
    parts, models = table(overview("accelerators")), table(overview("models"))
    lines = []
    for rows, label in ((parts, "accelerator"), (models, "model")):
        lines += [f"- `{row[label]}`: {row['source']}" for row in rows.rows()]
    return TEXT.format(
        accelerators=markdown(parts, ACCELERATORS), models=markdown(models, MODELS), sources="\n".join(lines)
    )


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    save_figure(ridge_points(overview("accelerators")), IMAGES / "ridge-points.png")
    save_figure(feasibility_picture(feasibility()), IMAGES / "feasibility.png")
    print(PAGE)
