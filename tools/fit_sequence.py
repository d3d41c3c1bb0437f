"""Fit what sheets say of linear attention, the indexer of sparse attention and its selection to measured kernels.

For developers: `python tools/fit_sequence.py FOLDER [--write]`, where FOLDER is `aiconfigurator_core/systems/data` of
an unpacked wheel of aiconfigurator-core 0.12.0 (Apache-2.0); needs pyarrow. Without --write it prints.

What is fitted is equation (1) with the work of equations (5i) and (5l), by the least absolute error of the logarithm
of time, each phase and each library of the same weight:

- linear attention: one gated delta net layer's convolution and recurrence together, of vLLM (its state is fp32, which
  is what reading it at the rate of the memory gives; TensorRT-LLM's is narrower), decode and prompts of 512 tokens on.
- index: SGLang's paged kernel for decode, whose keys are compressed four to one, and its dense one for prompts.
- top_k: SGLang's fused selection, scores all equal and scores rising, as decode and prompts call it. A row is one
  thread block's work, so few long rows take longer than any share of bandwidth says: the error is large.

Nothing else in a sheet changes. Sheets by default take the medians of their generation.
"""

from __future__ import annotations

import argparse
import re
import statistics
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq  # type: ignore[import-not-found,import-untyped,unused-ignore]
from fit_efficiency import FAMILIES, SHEETS, Part, Points, search
from sheet_text import BLACKWELL, digits, seconds

TABLES = "aiconfigurator-core 0.12.0 (PyPI, Apache-2.0), its measured tables"
MEASURED = ("h100", "h200", *BLACKWELL)
DEFAULTS = {"default-hopper": ("h100", "h200"), "default-blackwell": BLACKWELL, "default-rubin": BLACKWELL}
STATE_BYTES, ACTIVATION_BYTES, SCORE_BYTES = 4.0, 2.0, 4.0
KEY_BYTES = 1 + 4 / 128  # fp8 with a scale for each token
SCAN_CHUNK = 64
GLM_HEADS, PAGED_HEADS, INDEX_DIM = 32, 64, 128  # of GLM-5's indexer and of DeepSeek-V4's
PAGED_COMPRESSION = 4
FIXED = (1e-6, 40e-6)

Row = dict[str, Any]
Point = tuple[float, float, float, float, float]
Groups = dict[str, list[tuple[float, float, float]]]
"""What was measured, by name -> seconds of compute and of memory at peak rates, and as measured."""


@dataclass(frozen=True)
class Entry:
    """Numbers of one operation with their source."""

    numbers: dict[str, float]
    ref: str
    grade: str = "measured"

    def lines(self, name: str) -> tuple[str, str]:
        """The line under `operations` and the one under `sources`."""
        values = ", ".join(f"{k}: {seconds(v) if k == 'fixed_s' else digits(v)}" for k, v in self.numbers.items())
        return f"  {name}: {{{values}}}\n", f'  operations.{name}: {{ref: "{self.ref}", grade: {self.grade}}}\n'


def rows(folder: Path, pattern: str) -> list[Row]:
    """Rows of the newest table that matches, latencies in seconds; of parts without one, none."""
    found = sorted(folder.glob(pattern))
    return [row | {"seconds": 1e-3 * row["latency"]} for row in pq.read_table(found[-1]).to_pylist()] if found else []


def weighed(groups: Groups) -> Points:
    """Points of (compute, memory, measured seconds), each group of the same weight."""
    points: list[Point] = [(c, m, 0.0, t, 1.0 / len(group)) for group in groups.values() for c, m, t in group]
    return Points.of(points)


def linear_attention(folder: Path, part: Part) -> Entry | None:
    """Equation (5l), of gated delta nets."""
    calls: dict[tuple[int, ...], dict[str, Row]] = {}
    for row in rows(folder, "linear_attention/vllm/*/gdn_perf.parquet"):
        decode = row["phase"] == "generation"
        names = ("num_k_heads", "num_v_heads", "head_k_dim", "head_v_dim", "d_conv", "batch_size", "seq_len")
        if decode or row["num_tokens"] >= 512:
            calls.setdefault((decode, *(row[name] for name in names)), {})[row["kernel_source"]] = row
    groups: Groups = {"decode": [], "prompts": []}
    for (decode, kt, ht, n, p, conv, batch, new), kernels in calls.items():
        if len(kernels) < 2:  # the convolution or the recurrence was not measured at this size
            continue
        chunk = 0.0 if decode else 2 * SCAN_CHUNK * (3 * n + 2 * p) + 2 * SCAN_CHUNK**2 / 3
        channels = ht * p + 2 * kt * n
        state = 2 * ht * n * p * STATE_BYTES + 2 * channels * (conv - 1) * ACTIVATION_BYTES
        moved = batch * state + batch * new * ACTIVATION_BYTES * (channels + 2 * ht * p + 2 * ht)
        flop = batch * new * ht * (6 * n * p + chunk)
        took = sum(row["seconds"] for row in kernels.values())
        at_peak = flop / part.flop_per_s["bf16"], moved / part.bytes_per_s
        groups["decode" if decode else "prompts"].append((*at_peak, took))
    return fitted(groups, "vLLM 0.24.0, gated delta nets") if all(groups.values()) else None


def index(folder: Path, part: Part) -> Entry | None:
    """Equation (5i): decode from the paged kernel, prompts from the dense one."""
    groups: Groups = {"decode": [], "prompts": []}
    decode = rows(folder, "sparse_attention/sglang/*/dsv4_paged_mqa_logits_module_perf.parquet")
    prompt = rows(folder, "sparse_attention/sglang/*/glm5_mqa_logits_module_perf.parquet")
    tables = (("decode", decode, PAGED_HEADS, PAGED_COMPRESSION), ("prompts", prompt, GLM_HEADS, 1))
    for group, table, heads, shrink in tables:
        for row in table:
            batch, new, length = row["batch_size"], row["isl"], row["isl"] + row["step"]
            if row["seconds"] <= 0 or (new != 1 if group == "decode" else new < 256):
                continue
            keys = -(-length // shrink)
            pairs = batch * (new * keys - new * (new - 1) / 2 / shrink)
            moved = INDEX_DIM * KEY_BYTES * batch * (keys + new * heads) + pairs * SCORE_BYTES
            flop = 2.0 * heads * INDEX_DIM * pairs
            groups[group].append((flop / part.flop_per_s["fp8"], moved / part.bytes_per_s, row["seconds"]))
    return fitted(groups, "SGLang 0.5.14, indexers of GLM-5 and DeepSeek-V4") if all(groups.values()) else None


def top_k(folder: Path, part: Part) -> Entry | None:
    """The selection: bytes of the scores alone."""
    groups: Groups = {}
    for row in rows(folder, "sparse_attention/sglang/*/glm5_topk_module_perf.parquet"):
        new, length = row["isl"], row["isl"] + row["step"]
        if row["seconds"] > 0 and (new == 1 or new >= 256):
            pairs = row["batch_size"] * (new * length - new * (new - 1) / 2)
            point = (0.0, pairs * SCORE_BYTES / part.bytes_per_s, row["seconds"])
            scores = "equal" if row["score_mode"] == "flat" else "rising"
            groups.setdefault(f"{'decode' if new == 1 else 'prompts'} of {scores} scores", []).append(point)
    return fitted(dict(sorted(groups.items())), "SGLang 0.5.14, selection of GLM-5") if groups else None


def fitted(groups: Groups, what: str) -> Entry:
    """The fit of all groups together, with its error."""
    points = weighed(groups)
    fit = search(points, FIXED, what)
    each = {name: search_error(weighed({name: group}), fit) for name, group in groups.items()}
    numbers = {"eta_compute": fit.eta_compute, "eta_memory": fit.eta_memory, "fixed_s": fit.fixed_s}
    if not points.compute_s.any():
        del numbers["eta_compute"]
    errors = ", ".join(f"{name} {100 * error:.0f} %" for name, error in each.items())
    return Entry(numbers, f"{TABLES}: {what}, {len(points.weight)} points, median errors: {errors}")


def search_error(points: Points, fit: Any) -> float:
    """Median absolute relative error of `fit` over some points."""
    model = fit.fixed_s + np.maximum(points.compute_s / fit.eta_compute, points.memory_s / fit.eta_memory)
    return float(np.median(np.abs(model / points.measured_s - 1)))


def all_entries(folder: Path) -> dict[str, dict[str, Entry]]:
    """Sheet -> operation -> entry, measured sheets and defaults."""
    found: dict[str, dict[str, Entry]] = {}
    for name in MEASURED:
        system, stem, _ = FAMILIES[name]
        made = {"linear_attention": linear_attention, "index": index, "top_k": top_k}
        part = Part.read(stem)
        tried = {kind: make(folder / system, part) for kind, make in made.items()}
        found[name] = {kind: entry for kind, entry in tried.items() if entry}
    for name, members in DEFAULTS.items():
        kinds = set.intersection(*(set(found[member]) for member in members))
        found[name] = {}
        for kind in sorted(kinds):
            same = [found[member][kind].numbers for member in members]
            middle = {key: statistics.median(numbers[key] for numbers in same) for key in same[0]}
            rule = f"median of the sheets {', '.join(members)}"
            rule = f"as default-blackwell: {rule}" if name == "default-rubin" else rule
            found[name][kind] = Entry(middle, rule, "estimated")
    return found


def with_entries(text: str, entries: dict[str, Entry]) -> str:
    """A sheet's text with its lines of these operations put in, or put anew."""
    for kind, entry in entries.items():
        number, source = entry.lines(kind)
        text = re.sub(rf"^  {kind}: .*\n|^  operations\.{kind}: .*\n", "", text, flags=re.MULTILINE)
        text = text.replace("collectives:\n", f"{number}collectives:\n", 1)
        text = re.sub(
            r"^(?=  collectives\.one_shot_s: )", lambda _, line=source: line, text, count=1, flags=re.MULTILINE
        )
    return text


def report(found: dict[str, dict[str, Entry]]) -> Iterator[str]:
    """All entries as text."""
    for name, entries in found.items():
        yield f"# {name}.yaml\n"
        for kind, entry in entries.items():
            yield from entry.lines(kind)


def main() -> None:
    """Fit, then print or write into the sheets."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="aiconfigurator_core/systems/data of an unpacked wheel")
    parser.add_argument("--write", action="store_true", help="put the numbers into the sheets")
    args = parser.parse_args()
    found = all_entries(args.folder)
    if not args.write:
        sys.stdout.writelines(report(found))
        return
    for name, entries in found.items():
        path = SHEETS / "efficiency" / f"{name}.yaml"
        path.write_text(with_entries(path.read_text(encoding="utf-8"), entries), encoding="utf-8")


if __name__ == "__main__":
    main()
