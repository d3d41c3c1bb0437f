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
import statistics
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from ruamel.yaml import YAML
from sheet_text import Fit, defaults, sheet_text

Row = dict[str, str]
Array = NDArray[np.float64]

SHEETS = Path(__file__).resolve().parents[1] / "hardware_specs"
FAMILIES = {  # sheet: (system in the tables, accelerator sheet, switches reduce: from NVLink 4 on)
    "h100": ("h100_sxm", "h100-sxm", True),
    "h200": ("h200_sxm", "h200-sxm", True),
    "b200": ("b200_sxm", "b200-hgx", True),
    "b300": ("b300_sxm", "b300-hgx", True),
    "gb200": ("gb200", "gb200", True),
    "gb300": ("gb300", "gb300", True),
    "l40s": ("l40s", "l40s", False),
    "a100": ("a100_sxm", "a100-80-sxm", False),
    "rtx-pro-6000": ("rtx_pro_6000_server", "rtx-pro-6000-bw-server", False),
}
SHARED_BUS = ("l40s", "rtx_pro_6000_server")  # systems as in the tables: no links of their own, PCIe
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
SAME_CHIP = {name: pair for pair in (("b200", "gb200"), ("b300", "gb300")) for name in pair}  # in a box, in a rack
ATTENTION_CHIP = {"h200": ("h200", "h100")}
EXPERT_FLOOR_S = (25e-6, 48e-6)  # gate to finalize where nothing binds; larger blocks alone do not show it
GEMM_MOST_S = 12e-6  # weight-only kernels time larger shapes alone
PROMPT_ROWS = 4096  # rows of a GEMM from which nothing but arithmetic binds
FEW_TOKENS, MANY_TOKENS = 256, 16384  # expert blocks: bound by weights, bound by matrix work
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


def search(points: Points, floor: tuple[float, float], library: str, eta_memory: float | None = None) -> Fit:
    """Least absolute log error over (fixed in `floor`, eta_compute, eta_memory), etas up to 1; `eta_memory` is held."""
    span = [floor, (0.03, 1.0), (eta_memory, eta_memory) if eta_memory else (0.03, 1.0)]
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
    fixed_s, eta_c_best, eta_m_best = best
    model = fixed_s + np.maximum(points.compute_s / eta_c_best, points.memory_s / eta_m_best) + points.extra_s
    error = float(np.median(np.abs(model / points.measured_s - 1)))
    return Fit(eta_c_best, eta_m_best, fixed_s, library, error, len(points.measured_s))


def fastest(*systems: dict[str, list[Row]]) -> str:
    """Library with the highest geometric mean of achieved roofline share over the bins that all have, on `systems`."""
    everywhere = set.intersection(*(set(groups) for groups in systems))

    def score(library: str) -> float:
        total = 0.0
        for groups in systems:
            shared = set.intersection(*({r["bin"] for r in groups[name]} for name in everywhere))
            rows = [r for r in groups[library] if r["bin"] in shared]
            total += sum(math.log(max(share(r, "flops_frac_med"), share(r, "bw_frac_med"))) for r in rows) / len(rows)
        return total

    return max(sorted(everywhere), key=score)


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


def fit_gemm(tables: Tables, name: str, part: Part) -> dict[str, Fit]:
    """Dense GEMMs, N and K of 4096 to 16384, by format: each number from the sizes at which it alone binds.

    eta_memory : slope of the one-row line, so neither launches nor weights that stayed in cache count.   eta_compute :
    bins of `PROMPT_ROWS` and more, chunks of prompts.   fixed_s : the shortest call.   Each the median over libraries:
    a server runs one of them. Per-tensor FP8 has the fixed time of bf16, whose activations are quantised by the
    kernel before (norm or activation); by blocks and in FP4 a kernel of its own quantises, and is in the shortest call.
    """
    system = FAMILIES[name][0]
    out: dict[str, Fit] = {}
    names = {tabled: fmt for tabled, (fmt, _) in FORMATS.items()}
    for fmt, groups in by_format(tables.select("gemm", system), names).items():
        dtype = next(tabled for tabled, n in names.items() if n == fmt)
        if MATH[fmt] not in part.flop_per_s:
            continue
        peak_ratio = tables.peak(system, dtype) / part.flop_per_s[MATH[fmt]]
        band_ratio = tables.bandwidth[system] / part.bytes_per_s
        lines = [r for r in tables.lines if (r["system"], r["dtype"]) == (system, dtype)]
        large = [[shares(r)[0] for r in rows if int(r["bin"]) >= PROMPT_ROWS] for rows in groups.values()]
        eta_c = statistics.median(math.prod(found) ** (1 / len(found)) for found in large if found) * peak_ratio
        eta_m = statistics.median(float(r["slope_frac_bw"]) for r in lines) * band_ratio
        fixed_s = 1e-6 * statistics.median(float(r["min_latency_us"]) for r in lines)
        fixed_s = min(fixed_s, out["bf16"].fixed_s) if fmt == "fp8" and "bf16" in out else min(fixed_s, GEMM_MOST_S)
        timed = [(1e-6 * float(r["latency_us_med"]), *shares(r)) for rows in groups.values() for r in rows]
        missed = [
            abs((fixed_s + max(t * c * peak_ratio / eta_c, t * m * band_ratio / eta_m)) / t - 1) for t, c, m in timed
        ]
        libraries = ", ".join(name_of(library, rows) for library, rows in groups.items())
        out[fmt] = Fit(eta_c, min(1.0, eta_m), fixed_s, libraries, float(np.median(missed)), len(timed))
    return out


def shares(row: Row) -> tuple[float, float]:
    """(share of peak compute, share of peak bandwidth), medians of a bin."""
    return share(row, "flops_frac_med"), share(row, "bw_frac_med")


def fit_experts(tables: Tables, name: str, gemm: dict[str, Fit]) -> dict[str, Fit]:
    """Expert blocks of 64 experts or more, in two steps, because a bin mixes shards of very different widths.

    Fixed time and eta_memory from the medians of bins of up to 256 tokens, which read weights, of the library fastest
    there; eta_compute from the best tenth of the bin of 16384 tokens, taken for the wide shards, of the library fastest
    there, after the share of time that token permutation (an operation of its own in the model) takes beside an
    expert of INNER: 1/share = 1/eta_compute + permute. (Through the medians of all bins eta_compute comes out at 0.05
    to 0.33: those are narrow shards.) Boxes and racks of the same chip are fitted together: what differs between
    their tables is the version of the libraries.
    """
    out = {}
    names = {tabled: fmt for tabled, (fmt, _) in FORMATS.items()}
    stems = [FAMILIES[chip][:2] for chip in SAME_CHIP.get(name, (name,))]
    tabled = [(system, Part.read(stem), by_format(tables.select("moe", system), names)) for system, stem in stems]
    for fmt in dict.fromkeys(fmt for _, _, formats in tabled for fmt in formats):
        dtype = next(t for t, n in names.items() if n == fmt)
        few: dict[str, list[tuple[float, float, float, float, float]]] = {}
        etas: dict[str, list[float]] = {}
        measured = [(system, part, formats[fmt]) for system, part, formats in tabled if fmt in formats]
        for system, part, groups in measured:
            peak, width = part.flop_per_s[MATH[fmt]], tables.bandwidth[system] / part.bytes_per_s
            beside = PERMUTE_BYTES_PER_FLOP * peak / (PERMUTE_ETA * part.bytes_per_s)
            for library in set.intersection(*(set(groups) for _, _, groups in measured)):
                for row in groups[library]:
                    seconds = 1e-6 * float(row["latency_us_med"])
                    if int(row["bin"]) <= FEW_TOKENS:
                        point = (0.0, seconds * share(row, "bw_frac_med") * width, 0.0, seconds, 1.0)
                        few.setdefault(library, []).append(point)
                    elif int(row["bin"]) >= MANY_TOKENS:
                        left = peak / (share(row, "flops_frac_p90") * tables.peak(system, dtype)) - beside
                        etas.setdefault(library, []).append(1 / max(left, 1.0))
        reading = max(sorted(few), key=lambda name: sum(math.log(p[1] / p[3]) for p in few[name]) / len(few[name]))
        working = max(sorted(etas), key=lambda name: math.prod(etas[name]) ** (1 / len(etas[name])))
        where = " and ".join(system for system, _, _ in measured)
        fit = search(Points.of(few[reading]), EXPERT_FLOOR_S, f"{reading} on {where}")
        # An expert GEMM is a dense GEMM with fewer rows: its share of peak cannot be the higher one.
        eta = math.prod(etas[working]) ** (1 / len(etas[working]))
        fit = replace(fit, eta_compute=min(eta, gemm[fmt].eta_compute), many=working)
        own = any(system == FAMILIES[name][0] for system, _, _ in measured)
        out[fmt] = fit if own else fit.by_rule(f"not measured here: {where}, the same chip; eta_compute <= the GEMM's")
    return out


def fit_decode(tables: Tables, name: str) -> dict[str, Fit]:
    """Attention over the cache, head size 128, by format of the cache. Only bandwidth is tabled.

    Of parts with one chip the fit whose share of bandwidth is the higher stands for both: where they differ, one
    table holds a kernel badly chosen for its large caches (FP8 on the H200: 0.68 of bandwidth below a gigabyte, 0.59
    above; public runs of 8B and 70B models reach the H100's 0.77).
    """
    found: dict[str, Fit] = {}
    for chip in ATTENTION_CHIP.get(name, (name,)):
        system, stem, _ = FAMILIES[chip]
        band_ratio = tables.bandwidth[system] / Part.read(stem).bytes_per_s
        formats = by_format(tables.select("generation", system), {"bfloat16": "bf16", "fp8": "fp8"})
        for fmt, groups in formats.items():
            library = fastest(groups)
            timed = [(1e-6 * float(r["latency_us_med"]), shares(r)[1] * band_ratio) for r in groups[library]]
            points = [(0.0, seconds * moved, 0.0, seconds, 1.0) for seconds, moved in timed]
            where = "" if chip == name else f" on {system}, the same chip"
            fit = search(Points.of(points), ATTENTION_FLOOR_S, name_of(library, groups[library]) + where)
            if fmt not in found or fit.eta_memory > found[fmt].eta_memory:
                found[fmt] = fit
    return found


def fit_context(tables: Tables, system: str, part: Part, decode: dict[str, Fit]) -> dict[str, Fit]:
    """Attention of a prompt of 512 tokens and more, head size 128, by math type.

    It never waits for memory, so its eta_memory cannot be read off: that of `decode` stands for it. FLOP are tabled;
    bytes follow from equation (4) with L = Q: (4 + 4 w KV_SHARE) H d L over 2 H d L^2. The fixed time is at most the
    shortest bin, 128 tokens.
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
        pinned = decode[name].eta_memory
        shortest_s = min(1e-6 * float(row["latency_us_med"]) for row in groups[library])
        limits = (ATTENTION_FLOOR_S[0], shortest_s)
        out[name] = search(Points.of(points), limits, name_of(library, groups[library]), pinned)
    return out


def fit_reduce(tables: Tables, system: str, part: Part, in_switch: bool) -> tuple[float, float, float, float, str]:
    """(one_shot_s, two_shot_s, eta_reduce, median error, library) of equation (10), TensorRT-LLM's own all-reduce.

    All sizes of group together where switches connect; on PCIe pairs alone. On the tabled boxes all GPUs share one
    bus, and each further one takes from the rate of the others (8 reach a tenth of a pair's): that is those boxes, not
    the part, and public runs of 4 and 8 L40S (TensorRT-LLM's) reach five times as much.
    """
    rows = [r for r in tables.collectives if r["system"] == system and r["lib"].startswith("trtllm")]
    if system in SHARED_BUS:
        rows = of_pairs(rows)
    size = np.array([float(r["bytes"]) for r in rows])
    ranks = np.array([float(r["num_gpus"]) for r in rows])
    seconds = np.array([1e-6 * float(r["latency_us"]) for r in rows])
    link = part.link_bytes_per_s
    one, two = (ranks - 1) * size / link, 2 * (ranks - 1) / ranks * size / link
    if in_switch:
        two = np.where(ranks >= 3, np.minimum(two, (ranks + 1) / ranks * size / link), two)
    limits = [(1e-6, 60e-6), (1e-6, 1e-3), (0.01, 1.0)]
    span, best = list(limits), (0.0, 0.0, 1.0)
    for _ in range(6):
        axes = [np.geomspace(lo, hi, 30) for lo, hi in span]
        a, b, eta = (axis.ravel() for axis in np.meshgrid(*axes, indexing="ij"))
        b = np.maximum(a, b)
        loss = np.zeros(a.size)
        for x, y, t in zip(one, two, seconds, strict=True):
            loss += np.abs(np.log(np.minimum(a + HOP_S + x / eta, b + 2 * HOP_S + y / eta) / t))
        at = int(np.argmin(loss))
        best = (float(a[at]), float(b[at]), float(eta[at]))
        widths = [(hi / lo) ** 0.2 for lo, hi in span]
        span = [(max(lo, v / w), min(hi, v * w)) for v, w, (lo, hi) in zip(best, widths, limits, strict=True)]
    model = np.minimum(best[0] + HOP_S + one / best[2], best[1] + 2 * HOP_S + two / best[2])
    error = float(np.median(np.abs(model / seconds - 1)))
    return (*best, error, f"TensorRT-LLM custom all-reduce {rows[0]['lib'].split()[-1]}")


def of_pairs(rows: list[Row]) -> list[Row]:
    """The rows of two GPUs."""
    return [r for r in rows if int(r["num_gpus"]) == 2]


def of_largest_group(rows: list[Row]) -> list[Row]:
    """The rows of the most GPUs."""
    most = max(int(r["num_gpus"]) for r in rows)
    return [r for r in rows if int(r["num_gpus"]) == most]


def fit_gather(tables: Tables, system: str, part: Part, kinds: tuple[str, ...]) -> tuple[float, float, float, str]:
    """(fixed_s, eta, median error, library) of fixed + hop + (n-1)/n S/(eta link), equations (11) and (13), NCCL.

    The largest group alone: NCCL's time hardly depends on n, so smaller groups would only pull eta down. On PCIe pairs,
    as `fit_reduce` has it.
    """
    rows = [r for r in tables.collectives if r["system"] == system and r["collective"] in kinds]
    rows = [r for r in rows if r["lib"].startswith("nccl")]
    rows = of_pairs(rows) if system in SHARED_BUS else of_largest_group(rows)
    ranks = np.array([float(r["num_gpus"]) for r in rows])
    sent = (ranks - 1) / ranks * np.array([float(r["bytes"]) for r in rows]) / part.link_bytes_per_s
    seconds = np.array([1e-6 * float(r["latency_us"]) for r in rows])
    zero = np.zeros_like(sent)
    shifted = Points(zero, sent, zero + HOP_S, seconds, zero + 1)
    fit = search(shifted, (2e-6, 40e-6), "")
    library = f"NCCL {rows[0]['lib'].split()[-1]}, {rows[0]['num_gpus']} GPUs,"
    return fit.fixed_s, fit.eta_memory, fit.error, library


def main() -> None:
    """Fit every family, then the defaults by generation, and write or print the sheets."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="folder with the three tables")
    parser.add_argument("--out", type=Path, help="folder to write the sheets to")
    parser.add_argument("--only", nargs="+", help="sheets to print or write; all are fitted")
    args = parser.parse_args()
    tables = Tables.read(args.folder)
    fits = {}
    for name, (system, stem, in_switch) in FAMILIES.items():
        part = Part.read(stem)
        gemm, decode = fit_gemm(tables, name, part), fit_decode(tables, name)
        fits[name] = {
            "accelerator": stem,
            "gemm": gemm,
            "experts": fit_experts(tables, name, gemm),
            "decode_attention": decode,
            "context_attention": fit_context(tables, system, part, decode),
            "reduce": fit_reduce(tables, system, part, in_switch),
            "gather": fit_gather(tables, system, part, ("all_gather", "reduce_scatter")),
            "exchange": fit_gather(tables, system, part, ("alltoall",)),
        }
    for name, sheet in [*((n, sheet_text(n, f, fits)) for n, f in fits.items()), *defaults(fits)]:
        if args.only and name not in args.only:
            continue
        if args.out is None:
            sys.stdout.write(f"# {name}.yaml\n{sheet}\n")
        else:
            (args.out / f"{name}.yaml").write_text(sheet, encoding="utf-8")


if __name__ == "__main__":
    main()
