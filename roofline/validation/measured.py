"""Measured points: rows of a CSV of served throughput, latency, energy and power with the conditions they hold for.

One row is one measurement. Columns may be missing or more than are named here; a blank is unknown, never zero. Units
are the file's (ms, tokens/s, W) in the fields named after its columns, SI in the properties.
"""

from __future__ import annotations

import csv
import hashlib
import io
import math
import re
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

from roofline.errors import InputError

REQUIRED = ("source", "model", "gpu", "metric_kind")
"""Columns without which no row means anything."""

_WALL = re.compile(r"SYSTEM wall power (\d+(?:\.\d+)?) W")
"""How notes say that power and energy of a row are of the whole system; MLPerf's are."""

METRIC_KINDS = ("steady_decode", "offline_throughput", "online_serving")


@dataclass(frozen=True, slots=True)
class Point:
    """One measurement, a field for each column. Numbers are None and texts empty where the file has a blank.

    num_gpus : of the whole deployment, both pools where there are two.   tp, pp, ep, dp, moe_tp_size : degrees.
    isl, osl : nominal tokens.   concurrency_or_batch : clients, or sequences of a batch, of the whole deployment.
    flags : separated by semicolons; a row without any is clean.   line : of the file, from 1.
    """

    source: str
    source_ref: str
    date: str
    model: str
    gpu: str
    num_gpus: float | None
    weight_dtype: str
    kv_dtype: str
    framework: str
    framework_version: str
    tp: float | None
    pp: float | None
    ep: float | None
    dp: float | None
    disagg: float | None
    isl: float | None
    osl: float | None
    concurrency_or_batch: float | None
    metric_kind: str
    output_tok_s_total: float | None
    total_tok_s: float | None
    output_tok_s_per_gpu: float | None
    ttft_ms: float | None
    tpot_ms: float | None
    energy_j_per_output_token: float | None
    avg_gpu_power_w: float | None
    notes: str
    moe_tp_size: float | None
    prefill_batch_size: float | None
    prefill_num_workers: float | None
    prefill_tp_size: float | None
    prefill_pp_size: float | None
    prefill_attention_dp_size: float | None
    prefill_moe_tp_size: float | None
    prefill_moe_ep_size: float | None
    decode_batch_size: float | None
    decode_num_workers: float | None
    decode_tp_size: float | None
    decode_pp_size: float | None
    decode_attention_dp_size: float | None
    decode_moe_tp_size: float | None
    decode_moe_ep_size: float | None
    row_id: str
    flags: str
    line: int

    @property
    def tpot_s(self) -> float | None:
        """Time per output token [s]: mean, or median where the source says so."""
        return None if self.tpot_ms is None else 1e-3 * self.tpot_ms

    @property
    def ttft_s(self) -> float | None:
        """Time to first token [s]: mean, or median where the source says so."""
        return None if self.ttft_ms is None else 1e-3 * self.ttft_ms

    @property
    def output_tok_s(self) -> float | None:
        """Output tokens/s of the whole deployment."""
        if self.output_tok_s_total is not None:
            return self.output_tok_s_total
        if self.output_tok_s_per_gpu is not None and self.num_gpus is not None:
            return self.output_tok_s_per_gpu * self.num_gpus
        return None

    @property
    def wall_w(self) -> float | None:
        """Mean draw of the whole system at the wall [W], where the notes have it."""
        found = _WALL.search(self.notes)
        return float(found[1]) if found else None

    @property
    def joules_per_token(self) -> float | None:
        """Energy of the accelerators per output token [J]."""
        return None if self.wall_w is not None else self.energy_j_per_output_token

    @property
    def wall_joules_per_token(self) -> float | None:
        """Energy of the whole system, at the wall, per output token [J]."""
        return None if self.wall_w is None else self.energy_j_per_output_token

    @property
    def power_w(self) -> float | None:
        """Mean draw of one accelerator [W]."""
        return self.avg_gpu_power_w

    @property
    def flagged(self) -> tuple[str, ...]:
        """What the file says is doubtful about the row."""
        return tuple(flag for flag in (part.strip() for part in self.flags.split(";")) if flag)


@dataclass(frozen=True)
class Measured:
    """All points of a file, in its order.   digest : sha256 of the file, hexadecimal."""

    points: tuple[Point, ...]
    path: Path
    digest: str


@cache
def _numeric() -> frozenset[str]:
    return frozenset(field.name for field in fields(Point) if field.type == "float | None")


def read(path: str | Path) -> Measured:
    """The points of a CSV file.

    Columns may be missing but for `REQUIRED`; others than `Point` has are left unread. A row without a row_id has
    source:line. Raises `InputError` naming file, line, column, value and the fix: no such file, no rows, a required
    column or value missing, a number that is none (or not finite, or negative), a metric_kind that is not known.
    """
    source = Path(path)
    try:
        content = source.read_bytes()
        text = content.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{source}: not a CSV file that can be read: {error}") from None
    reader = csv.DictReader(io.StringIO(text, newline=""), restval="", strict=True)
    points = []
    try:
        reader.fieldnames = [name.strip() for name in reader.fieldnames or []]
        lacking = [name for name in REQUIRED if name not in reader.fieldnames]
        if lacking:
            found = ", ".join(reader.fieldnames) or "none"
            raise InputError(f"{source}:1: no column {', '.join(lacking)}; found {found}")
        points = [_point(row, f"{source}:{reader.line_num}", reader.line_num) for row in reader]
    except csv.Error as error:
        raise InputError(f"{source}:{reader.line_num}: not CSV: {error}") from None
    if not points:
        raise InputError(f"{source}: has no rows; give at least one measurement under the header")
    return Measured(tuple(points), source, hashlib.sha256(content).hexdigest())


def _point(row: dict[str, Any], place: str, line: int) -> Point:
    if None in row:
        raise InputError(f"{place}: has more values than the header has columns; quote commas within a value")
    numeric = _numeric()
    values: dict[str, Any] = {"line": line}
    for field in fields(Point)[:-1]:
        text = str(row.get(field.name, "")).strip()
        values[field.name] = _number(text, f"{place}: {field.name}") if field.name in numeric else text
    for name in REQUIRED:
        if not values[name]:
            raise InputError(f"{place}: {name} is blank; every row needs one")
    if values["metric_kind"] not in METRIC_KINDS:
        known = ", ".join(METRIC_KINDS)
        raise InputError(f"{place}: metric_kind = {values['metric_kind']!r}: give one of {known}")
    values["row_id"] = values["row_id"] or f"{values['source']}:{line}"
    return Point(**values)


def _number(text: str, where: str) -> float | None:
    if not text:
        return None
    try:
        found = float(text)
    except ValueError:
        raise InputError(f"{where} = {text!r}: give a number, or leave it blank where it is unknown") from None
    if not math.isfinite(found) or found < 0.0:
        raise InputError(f"{where} = {text!r}: give a finite number >= 0, or leave it blank where it is unknown")
    return found
