"""A folder of small valid sheets of made-up hardware, to be broken one field at a time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

ACCELERATOR = """\
name: Acme One 80GB
aliases: [acme-1, "Acme First"]
vendor: Acme
year: 2024
dense_flop_per_s: {bf16: 4.0e14, fp16: 4.0e14, fp8: 8.0e14}
memory: {bytes: 80.0e9, bytes_per_s: 3.0e12, kind: HBM3}
scale_up_bytes_per_s: 4.0e11
power: {tdp_w: 500}
efficiency: acme
sources:
  year: {ref: "Acme data sheet", grade: published}
  dense_flop_per_s: {ref: "Acme data sheet", grade: published}
  memory: {ref: "Acme data sheet", grade: published}
  memory.bytes: {ref: "nvidia-smi of a friend", grade: measured}
  scale_up_bytes_per_s: {ref: "Acme data sheet", grade: published}
  power.tdp_w: {ref: "Acme data sheet", grade: published}
"""

EFFICIENCY = """\
name: Acme efficiencies
accelerators: [one]
operations:
  gemm:
    bf16: {eta_compute: 0.7, eta_memory: 0.84, fixed_s: 3.8e-6}
    fp8: {eta_compute: 0.5, eta_memory: 0.8, fixed_s: 4.7e-6, source: {ref: "another bench", grade: measured}}
  experts: {bf16: {eta_compute: 0.6, eta_memory: 0.7, fixed_s: 25e-6}}
  decode_attention: {bf16: {eta_compute: 0.3, eta_memory: 0.77, fixed_s: 8e-6}}
  context_attention: {bf16: {eta_compute: 0.45, eta_memory: 0.7, fixed_s: 8e-6}}
  elementwise: {eta_memory: 0.7, fixed_s: 2e-6}
  permute: {eta_memory: 0.5}
collectives:
  {one_shot_s: 5e-6, two_shot_s: 9e-6, gather_s: 6e-6, exchange_s: 1e-5, p2p_s: 5e-6, out_s: 4e-6,
   eta_reduce: 0.7, eta_gather: 0.7, eta_exchange: 0.6, eta_p2p: 0.8, eta_out: 0.8}
experts_skew: 1.2
runtime: {memory_fraction: 0.9, reserve_bytes: 2e9}
sources:
  operations: {ref: "our bench", grade: measured}
  collectives: {ref: "our bench", grade: measured}
  experts_skew: {ref: "our bench", grade: measured}
  runtime: {ref: "a rule of thumb", grade: estimated}
"""

SYSTEM = """\
name: Acme box
kind: box
accelerator: one
accelerators: 8
scale_up: {domain: 8, topology: switched, hop_s: 5e-7, in_switch_reduction: true}
scale_out: {bytes_per_s: 5e10, hop_s: 2e-6}
power:
  host_dc_w: {cpu: 700, fans: 600}
  psu: {rated_w: 12000, load: [0.1, 0.5, 1.0], efficiency: [0.92, 0.96, 0.95]}
  max_w: 6500
  provisioned_w_per_accelerator: {2026: 1100}
cooling: air
facility: air
sources:
  accelerators: {ref: "Acme data sheet", grade: published}
  scale_up: {ref: "Acme data sheet", grade: published}
  scale_out: {ref: "Acme data sheet", grade: published}
  power: {ref: "Acme data sheet", grade: published}
"""

MODEL = """\
name: Tiny
hidden: 1024
vocab: 32000
tied_embeddings: false
max_context: 8192
recipes: [bf16]
layers:
  - count: 24
    attention: {kind: gqa, heads: 16, kv_heads: 4, head_dim: 64}
    ffn: {matrices: 3, inner: 4096}
sources:
  hidden: {ref: "Acme model card", grade: published}
  vocab: {ref: "Acme model card", grade: published}
  max_context: {ref: "Acme model card", grade: published}
  layers: {ref: "Acme model card", grade: published}
"""

RECIPE = """\
name: Half
description: Everything in eight bits but the ends.
parts:
  attention: fp8
  dense_ffn: fp8
  experts: fp8
  shared_experts: fp8
  lm_head: bf16
  embedding: bf16
  router: bf16
  kv_cache: fp8
  activations: fp8
  collectives: bf16
  dispatch: fp8
  attention_math: bf16
"""

SHEETS = {
    "accelerators/one": ACCELERATOR,
    "efficiency/acme": EFFICIENCY,
    "systems/box": SYSTEM,
    "models/tiny": MODEL,
    "recipes/half": RECIPE,
}

Edit = Callable[..., Path]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A user's folder with one valid sheet of each kind but the facility."""
    for name, text in SHEETS.items():
        path = tmp_path / f"{name}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return tmp_path


@pytest.fixture
def edit(folder: Path) -> Edit:
    """Replace one passage of one sheet: edit("accelerators/one", "3.0e12", "3350") -> its path."""

    def change(name: str, old: str, new: str) -> Path:
        path = folder / f"{name}.yaml"
        text = path.read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {name}"
        path.write_text(text.replace(old, new), encoding="utf-8")
        return path

    return change
