"""What a benchmark writes down, how it takes times, and the machine it ran on."""

from __future__ import annotations

import datetime
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numba.core import config as numba_config

import roofline


@dataclass
class Row:
    """One measured figure of one case.

    unit : of `median` and `spread` (lowest, highest of `repeats`).   ratios : what it is over a yardstick of this run.
    skipped : why there is no figure.
    """

    case: str
    phase: str
    unit: str = ""
    median: float | None = None
    spread: tuple[float, float] | None = None
    repeats: int = 0
    parameters: dict[str, Any] = field(default_factory=dict)
    ratios: dict[str, float] = field(default_factory=dict)
    skipped: str = ""

    def measured(self, values: Sequence[float]) -> Row:
        """The same row with its figures."""
        self.median, self.spread = statistics.median(values), (min(values), max(values))
        self.repeats = len(values)
        return self

    def over(self, yardstick: Row, name: str, times: float = 1.0) -> None:
        """Note this row's median, `times` over, as a share of another's."""
        if self.median is not None and yardstick.median:
            self.ratios[name] = times * self.median / yardstick.median


@dataclass
class Task:
    """A row with the work whose rate it wants; the work returns how many things it did."""

    row: Row
    work: Callable[[], int]


def rates(tasks: Sequence[Task], repeats: int) -> list[Row]:
    """Rates of tasks taken in turn, `repeats` rounds after one that is not counted.

    In turn, so that what else the machine does in a second falls on a figure and on its yardstick alike.
    """
    seen: list[list[float]] = [[] for _ in tasks]
    for number in range(repeats + 1):
        for task, values in zip(tasks, seen, strict=True):
            start = time.perf_counter()
            done = task.work()
            seconds = time.perf_counter() - start
            if number > 0:
                values.append(done / seconds)
    return [task.row.measured(values) for task, values in zip(tasks, seen, strict=True)]


def cpu_name() -> str:
    """The processor as the system names it."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def machine() -> dict[str, Any]:
    """Where and with what these figures were taken."""
    from roofline.kernels._jit import source_digest

    return {
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "numba_threads": numba_config.NUMBA_NUM_THREADS,
        "load_average_at_start": [round(x, 2) for x in os.getloadavg()] if hasattr(os, "getloadavg") else None,
        "platform": f"{platform.system()} {platform.machine()}, {' '.join(platform.libc_ver())}".rstrip(", "),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "numba": numba.__version__,
        "roofline": roofline.__version__,
        "kernels": source_digest(),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def document(facts: dict[str, Any], rows: Sequence[Row], tiny: bool) -> dict[str, Any]:
    """The result file's content."""
    return {"machine": facts, "tiny": tiny, "rows": [asdict(row) for row in rows]}
