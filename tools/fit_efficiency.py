"""Fit the efficiency sheets to tables of measured kernels.

For developers: `python tools/fit_efficiency.py FOLDER [--out hardware_specs/efficiency]`, where FOLDER holds
`kernel_efficiency.csv`, `gemm_m1_fit.csv` and `collectives.csv` (achieved shares of peak by size, a line through the
one-row GEMMs, and collectives by message size, all tabled from the Apache-2.0 data of aiconfigurator-core 0.12.0).
Peaks come from the accelerator sheets, so a share is a share of the sheet's own peak. Without --out it prints.

What is fitted is equation (1), time = fixed + max(F/(eta_compute P), bytes/(eta_memory W)), and equations (10),
(11) and (13) for collectives, by the least absolute error of the logarithm of time: a bin that a library runs badly
moves little. Fixed times stay within the stated floors; a sheet that shows one of their ends was held there. The
search is a grid, refined; the same tables give the same sheets.
"""

from __future__ import annotations

import argparse
import csv
import math
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from ruamel.yaml import YAML
from sheet_text import Fit, defaults, sheet_text

Row = dict[str, str]
Array = NDArray[np.float64]

SHEETS = Path(__file__).resolve().parents[1] / "hardware_specs"
FAMILIES = {  # sheet: (system in the tables, accelerator sheet, switches reduce)
    "h100": ("h100_sxm", "h100-sxm", True),
    "h200": ("h200_sxm", "h200-sxm", True),
    "b200": ("b200_sxm", "b200-hgx", True),
    "b300": ("b300_sxm", "b300-hgx", True),
    "gb200": ("gb200", "gb200", True),
    "gb300": ("gb300", "gb300", True),
    "l40s": ("l40s", "l40s", False),
    "a100": ("a100_sxm", "a100-80-sxm", False),
}
FORMATS = {
    "bfloat16": ("bf16", 2.0),
    "fp8": ("fp8", 1.0),
    "fp8_block": ("fp8_block", 1.0),
    "nvfp4": ("nvfp4", 0.5625),
    "int8_wo": ("int8", 1.0),
    "int4_wo": ("int4", 0.5),
}
MATH = {"bf16": "bf16", "fp8": "fp8", "fp8_block": "fp8", "nvfp4": "fp4", "int8": "bf16", "int4": "bf16"}
ATTENTION = {"bfloat16/kv_bfloat16": "bf16", "fp8/kv_fp8": "fp8"}
HOP_S = 0.5e-6  # as in the system sheets: it is part of what was measured, not of the fixed time
ATTENTION_FLOOR_S = (7e-6, 11e-6)  # smallest decode attention of any library and part in the tables
EXPERT_FLOOR_S = (25e-6, 48e-6)  # gate to finalize where nothing binds; larger blocks alone do not show it
GEMM_FLOOR_S = (2e-6, 12e-6)
FEW_TOKENS, MANY_TOKENS = 256, 4096  # expert blocks: bound by weights, bound by matrix work
# Typical expert block behind the tabled bins: tells how many bytes are permuted for each FLOP, equation (8) beside it.
HIDDEN, INNER = 4096.0, 1536.0
PERMUTE_BYTES_PER_FLOP = (8 * HIDDEN + 6 * INNER) / (6 * HIDDEN * INNER)
PERMUTE_ETA = 0.5
KV_SHARE = 0.25  # KV heads over query heads: bytes per FLOP of a prompt's attention


@dataclass(frozen=True)
class Points:
    """Measured operations, one entry each: seconds at peak rates, on top, and as measured; weights."""

    compute_s: Array
    memory_s: Array
    extra_s: Array
    measured_s: Array
    weight: Array

    @classmethod
    def of(cls, rows: list[tuple[float, float, float, float, float]]) -> Points:
        """Points of (compute, memory, extra, measured, weight) tuples."""
        return cls(*np.asarray(rows, dtype=np.float64).reshape(-1, 5).T)


def rows_of(path: Path) -> list[Row]:
    """Rows of a CSV file."""
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


@dataclass
class Tables:
    """The three tables as read, with what the shares in them are shares of."""

    kernels: list[Row]
    lines: list[Row]
    collectives: list[Row]
    bandwidth: dict[str, float] = field(default_factory=dict)  # B/s by system

    @classmethod
    def read(cls, folder: Path) -> Tables:
        """Read the tables in `folder`; FileNotFoundError where one is missing."""
        lines = rows_of(folder / "gemm_m1_fit.csv")
        bandwidth = {r["system"]: 1e12 * float(r["slope_TBps"]) / float(r["slope_frac_bw"]) for r in lines}
        return cls(rows_of(folder / "kernel_efficiency.csv"), lines, rows_of(folder / "collectives.csv"), bandwidth)

    def select(self, op: str, system: str) -> dict[tuple[str, str], list[Row]]:
        """Rows of one kind of operation on one system, by (format as tabled, library)."""
        out: dict[tuple[str, str], list[Row]] = {}
        for row in self.kernels:
            if row["op"].startswith(op) and row["system"] == system:
                out.setdefault((row["dtype"], row["backend"]), []).append(row)
        return out

    def peak(self, system: str, dtype: str) -> float:
        """FLOP/s the tabled shares refer to: one-row GEMMs have 2/w FLOP per byte of weight."""
        width = FORMATS[dtype][1]
        first = [r for (d, _), rs in self.select("gemm", system).items() if d == dtype for r in rs if r["bin"] == "1"]
        ratios = [2 / width * float(r["bw_frac_med"]) / float(r["flops_frac_med"]) for r in first]
        return float(np.median(ratios)) * self.bandwidth[system]


@dataclass(frozen=True)
class Part:
    """What one accelerator sheet says."""

    flop_per_s: dict[str, float]
    bytes_per_s: float
    link_bytes_per_s: float

    @classmethod
    def read(cls, stem: str) -> Part:
        """Read hardware_specs/accelerators/STEM.yaml."""
        sheet = YAML(typ="safe").load(SHEETS / "accelerators" / f"{stem}.yaml")
        peaks = {k: float(v) for k, v in sheet["dense_flop_per_s"].items()}
        return cls(peaks, float(sheet["memory"]["bytes_per_s"]), float(sheet["scale_up_bytes_per_s"]))


def search(points: Points, floor: tuple[float, float], library: str) -> Fit:
    """Least absolute log error over (fixed, eta_compute, eta_memory), etas in (0, 1], fixed within `floor`."""
    span = [floor, (0.03, 1.0), (0.03, 1.0)]
    if not points.compute_s.any():
        span[1] = (1.0, 1.0)
    limits, best = list(span), (0.0, 1.0, 1.0)
    for _ in range(5):
        axes = [np.geomspace(lo, hi, 25 if hi > lo else 1) for lo, hi in span]
        fixed, eta_c, eta_m = (a.ravel() for a in np.meshgrid(*axes, indexing="ij"))
        loss = np.zeros(fixed.size)
        for c, m, x, t, w in zip(
            points.compute_s, points.memory_s, points.extra_s, points.measured_s, points.weight, strict=True
        ):
            miss = np.log((fixed + np.maximum(c / eta_c, m / eta_m) + x) / t)
            loss += w * (np.abs(miss) + 0.1 * miss * miss)  # the small square breaks ties
        at = int(np.argmin(loss))
        best = (float(fixed[at]), float(eta_c[at]), float(eta_m[at]))
        widths = [(hi / lo) ** 0.15 for lo, hi in span]
        span = [(max(lo, b / w), min(hi, b * w)) for b, w, (lo, hi) in zip(best, widths, limits, strict=True)]
    fixed_s, eta_compute, eta_memory = best
    model = fixed_s + np.maximum(points.compute_s / eta_compute, points.memory_s / eta_memory) + points.extra_s
    error = float(np.median(np.abs(model / points.measured_s - 1)))
    return Fit(eta_compute, eta_memory, fixed_s, library, error, len(points.measured_s))


def fastest(groups: dict[str, list[Row]]) -> str:
    """Library with the highest geometric mean of achieved roofline share over the bins all of them have."""
    shared = set.intersection(*({r["bin"] for r in rows} for rows in groups.values()))

    def score(rows: list[Row]) -> float:
        logs = [math.log(max(share(r, "flops_frac_med"), share(r, "bw_frac_med"))) for r in rows if r["bin"] in shared]
        return sum(logs) / len(logs)

    return max(sorted(groups), key=lambda name: score(groups[name]))


def share(row: Row, column: str) -> float:
    """A share of peak, 0 where the table has none."""
    return float(row[column] or 0.0)


def by_format(groups: dict[tuple[str, str], list[Row]], names: dict[str, str]) -> dict[str, dict[str, list[Row]]]:
    """Regroup as format -> library -> rows, formats as the sheets name them."""
    out: dict[str, dict[str, list[Row]]] = {}
    for (dtype, library), rows in groups.items():
        if dtype in names:
            out.setdefault(names[dtype], {})[library] = rows
    return out


def name_of(library: str, rows: list[Row]) -> str:
    """Library with its version where tabled."""
    return f"{library} {rows[0]['version']}".strip()


def fit_gemm(tables: Tables, system: str, part: Part) -> dict[str, Fit]:
    """Dense GEMMs, N and K of 4096 to 16384, by format; the one-row line and the shortest call pin the fixed time."""
    out = {}
    names = {tabled: name for tabled, (name, _) in FORMATS.items()}
    for name, groups in by_format(tables.select("gemm", system), names).items():
        dtype = next(tabled for tabled, n in names.items() if n == name)
        if MATH[name] not in part.flop_per_s:
            continue
        library = fastest(groups)
        peak_ratio = tables.peak(system, dtype) / part.flop_per_s[MATH[name]]
        band_ratio = tables.bandwidth[system] / part.bytes_per_s
        points = []
        for row in groups[library]:
            seconds, flop, moved = 1e-6 * float(row["latency_us_med"]), *shares(row)
            if max(flop, moved) < 1.0:  # else it came out of cache
                points.append((seconds * flop * peak_ratio, seconds * moved * band_ratio, 0.0, seconds, 1.0))
        line = next(r for r in tables.lines if (r["system"], r["backend"], r["dtype"]) == (system, library, dtype))
        points.append((0.0, 0.0, 0.0, 1e-6 * float(line["min_latency_us"]), 3.0))
        if float(line["intercept_us"]) > 0:  # a negative one says the smaller weights sat in cache
            for side in (4096.0, 8192.0, 16384.0):
                moved_bytes = FORMATS[dtype][1] * side * side
                seconds = 1e-6 * float(line["intercept_us"]) + moved_bytes / (1e12 * float(line["slope_TBps"]))
                points.append((0.0, moved_bytes / part.bytes_per_s, 0.0, seconds, 1.0))
        out[name] = search(Points.of(points), GEMM_FLOOR_S, name_of(library, groups[library]))
    return out


def shares(row: Row) -> tuple[float, float]:
    """(share of peak compute, share of peak bandwidth), medians of a bin."""
    return share(row, "flops_frac_med"), share(row, "bw_frac_med")


def fit_experts(tables: Tables, system: str, part: Part, gemm: dict[str, Fit]) -> dict[str, Fit]:
    """Expert blocks of 64 experts or more, in two steps, because a bin mixes shards of very different widths.

    Fixed time and eta_memory from the medians of bins of up to 256 tokens, which read weights; eta_compute from the
    best tenth of bins of 4096 tokens and more, taken for the wide shards, after the share of time that token
    permutation (an operation of its own in the model) takes beside an expert of INNER: 1/share = 1/eta_compute +
    permute. Through the medians of all bins eta_compute comes out at 0.05 to 0.33: those are narrow shards.
    """
    out = {}
    names = {tabled: name for tabled, (name, _) in FORMATS.items()}
    for name, groups in by_format(tables.select("moe", system), names).items():
        dtype = next(tabled for tabled, n in names.items() if n == name)
        library = fastest_experts(groups)
        peak_ratio = tables.peak(system, dtype) / part.flop_per_s[MATH[name]]
        band_ratio = tables.bandwidth[system] / part.bytes_per_s
        few, etas = [], []
        for row in groups[library]:
            seconds = 1e-6 * float(row["latency_us_med"])
            if int(row["bin"]) <= FEW_TOKENS:
                few.append((0.0, seconds * share(row, "bw_frac_med") * band_ratio, 0.0, seconds, 1.0))
            elif int(row["bin"]) >= MANY_TOKENS:
                beside = PERMUTE_BYTES_PER_FLOP * part.flop_per_s[MATH[name]] / (PERMUTE_ETA * part.bytes_per_s)
                left = 1 / (share(row, "flops_frac_p90") * peak_ratio) - beside
                etas.append(1 / left if left > 1 else 1.0)
        fit = search(Points.of(few), EXPERT_FLOOR_S, name_of(library, groups[library]))
        # An expert GEMM is a dense GEMM with fewer rows: its share of peak cannot be the higher one.
        out[name] = fit.with_compute(min(max(etas), gemm[name].eta_compute))
    return out


def fastest_experts(groups: dict[str, list[Row]]) -> str:
    """Library with the highest product of its shares at few tokens (medians) and at many (best tenth)."""

    def score(rows: list[Row]) -> float:
        few = [math.log(share(r, "bw_frac_med")) for r in rows if int(r["bin"]) <= FEW_TOKENS]
        many = [math.log(share(r, "flops_frac_p90")) for r in rows if int(r["bin"]) >= MANY_TOKENS]
        return sum(few) / len(few) + sum(many) / len(many)

    return max(sorted(groups), key=lambda name: score(groups[name]))


def fit_decode(tables: Tables, system: str, part: Part) -> dict[str, Fit]:
    """Attention over the cache, head size 128, by format of the cache. Only bandwidth is tabled."""
    out = {}
    groups_by = by_format(tables.select("generation", system), {"bfloat16": "bf16", "fp8": "fp8"})
    for name, groups in groups_by.items():
        library = fastest(groups)
        band_ratio = tables.bandwidth[system] / part.bytes_per_s
        timed = [(1e-6 * float(r["latency_us_med"]), shares(r)[1] * band_ratio) for r in groups[library]]
        points = [(0.0, seconds * moved, 0.0, seconds, 1.0) for seconds, moved in timed]
        out[name] = search(Points.of(points), ATTENTION_FLOOR_S, name_of(library, groups[library]))
    return out


def fit_context(tables: Tables, system: str, part: Part) -> dict[str, Fit]:
    """Attention of a prompt of 512 tokens and more, head size 128, by math type.

    FLOP are tabled; bytes follow from equation (4) with L = Q: (4 + 4 w KV_SHARE) H d L over 2 H d L^2.
    """
    out = {}
    for name, groups in by_format(tables.select("context", system), ATTENTION).items():
        library = fastest(groups)
        dtype, width = ("bfloat16", 2.0) if name == "bf16" else ("fp8", 1.0)
        points = []
        for row in groups[library]:
            seconds, length = 1e-6 * float(row["latency_us_med"]), float(row["bin"])
            work = seconds * shares(row)[0] * tables.peak(system, dtype)
            moved = work * (4 + 4 * width * KV_SHARE) / (2 * length)
            if length >= 512:
                points.append((work / part.flop_per_s[name], moved / part.bytes_per_s, 0.0, seconds, 1.0))
        out[name] = search(Points.of(points), ATTENTION_FLOOR_S, name_of(library, groups[library]))
    return out


def fit_reduce(tables: Tables, system: str, part: Part, in_switch: bool) -> tuple[float, float, float, float, str]:
    """(one_shot_s, two_shot_s, eta_reduce, median error, library) of equation (10), TensorRT-LLM's own all-reduce."""
    rows = [r for r in tables.collectives if r["system"] == system and r["lib"].startswith("trtllm")]
    size = np.array([float(r["bytes"]) for r in rows])
    ranks = np.array([float(r["num_gpus"]) for r in rows])
    seconds = np.array([1e-6 * float(r["latency_us"]) for r in rows])
    link = part.link_bytes_per_s
    one, two = (ranks - 1) * size / link, 2 * (ranks - 1) / ranks * size / link
    if in_switch:
        two = np.where(ranks >= 3, np.minimum(two, (ranks + 1) / ranks * size / link), two)
    best = (math.inf, 0.0, 0.0, 1.0, 0.0)
    for a in np.geomspace(1e-6, 30e-6, 50):
        for b in np.geomspace(a, 200e-6, 40):
            for eta in np.geomspace(0.03, 1.0, 60):
                model = np.minimum(a + HOP_S + one / eta, b + 2 * HOP_S + two / eta)
                miss = np.abs(np.log(model / seconds))
                loss = float(miss.mean())
                if loss < best[0]:
                    best = (loss, float(a), float(b), float(eta), float(np.median(np.abs(model / seconds - 1))))
    return (*best[1:], "TensorRT-LLM custom all-reduce " + rows[0]["lib"].split()[-1])


def fit_gather(tables: Tables, system: str, part: Part, kinds: tuple[str, ...]) -> tuple[float, float, float, str]:
    """(fixed_s, eta, median error, library) of fixed + hop + (n-1)/n S/(eta link), equations (11) and (13), NCCL."""
    rows = [r for r in tables.collectives if r["system"] == system and r["collective"] in kinds]
    rows = [r for r in rows if r["lib"].startswith("nccl")]
    ranks = np.array([float(r["num_gpus"]) for r in rows])
    sent = (ranks - 1) / ranks * np.array([float(r["bytes"]) for r in rows]) / part.link_bytes_per_s
    seconds = np.array([1e-6 * float(r["latency_us"]) for r in rows])
    zero = np.zeros_like(sent)
    shifted = Points(zero, sent, zero + HOP_S, seconds, zero + 1)
    fit = search(shifted, (2e-6, 40e-6), "")
    return fit.fixed_s, fit.eta_memory, fit.error, "NCCL " + rows[0]["lib"].split()[-1]


def main() -> None:
    """Fit every family, then the defaults by generation, and write or print the sheets."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="folder with the three tables")
    parser.add_argument("--out", type=Path, help="folder to write the sheets to")
    args = parser.parse_args()
    tables = Tables.read(args.folder)
    fits = {}
    for name, (system, stem, in_switch) in FAMILIES.items():
        part = Part.read(stem)
        gemm = fit_gemm(tables, system, part)
        fits[name] = {
            "accelerator": stem,
            "gemm": gemm,
            "experts": fit_experts(tables, system, part, gemm),
            "decode_attention": fit_decode(tables, system, part),
            "context_attention": fit_context(tables, system, part),
            "reduce": fit_reduce(tables, system, part, in_switch),
            "gather": fit_gather(tables, system, part, ("all_gather", "reduce_scatter")),
            "exchange": fit_gather(tables, system, part, ("alltoall",)),
        }
    for name, sheet in [*((n, sheet_text(n, f, fits)) for n, f in fits.items()), *defaults(fits)]:
        if args.out is None:
            sys.stdout.write(f"# {name}.yaml\n{sheet}\n")
        else:
            (args.out / f"{name}.yaml").write_text(sheet, encoding="utf-8")


if __name__ == "__main__":
    main()
