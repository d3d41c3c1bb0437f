"""What a new process costs: imports, compilation, the command line, memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.record import Row

ROOT = Path(__file__).parent.parent

SMALL = 'models=["llama-3.1-8b"], systems=["dgx-h100"], recipes=["bf16"], tp=[1, 2], batch=[1, 2],'
FIRST_RESULTS = f"""
import json, time
t0 = time.perf_counter()
import roofline as rl
t1 = time.perf_counter()
rl.decode({SMALL} context=[1024, 2048])
t2 = time.perf_counter()
rl.prefill({SMALL} isl=[1024, 2048])
t3 = time.perf_counter()
rl.decode({SMALL} context=[1024, 2048])
t4 = time.perf_counter()
print(json.dumps({{"import": t1 - t0, "decode": t2 - t0, "prefill": t3 - t2, "decode again": t4 - t3}}))
"""

PEAK = """
import json, resource, sys
import roofline as rl
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
axes = dict(models=["llama-3.1-70b"], systems=["dgx-b200"], recipes=["fp8"], tp=[4, 8])
rl.decode(**axes, batch=[1], context=[1024])
before = peak()
ds = rl.decode(**axes, batch=range(1, 1 + {batches}), context=range(128, 128 + {contexts}))
print(json.dumps({{"before": before, "after": peak(), "result": int(ds.nbytes), "cells": int(ds.limit.size)}}))
"""


def environment(cache: Path) -> dict[str, str]:
    """The environment of a new process whose compiled kernels are kept in `cache`."""
    return os.environ | {"ROOFLINE_CACHE": str(cache), "PYTHONPATH": str(ROOT)}


def run(command: Sequence[str], cache: Path) -> tuple[float, str]:
    """(seconds, standard output) of a command. Raises CalledProcessError, with its output, where it fails."""
    start = time.perf_counter()
    done = subprocess.run(
        command, cwd=cache, env=environment(cache), text=True, check=True, stdout=subprocess.PIPE, timeout=600
    )
    return time.perf_counter() - start, done.stdout


def repeated(command: Sequence[str], cache: Path, repeats: int) -> list[float]:
    """Seconds of a command, start of the interpreter included, `repeats` times."""
    return [run(command, cache)[0] for _ in range(repeats)]


def python(code: str) -> list[str]:
    """The command that runs `code`."""
    return [sys.executable, "-c", code]


def roofline(*arguments: str) -> list[str]:
    """The command line of `roofline`."""
    return [sys.executable, "-m", "roofline.cli.main", *arguments]


def start_rows(repeats: int) -> list[Row]:
    """Import and `--help`, beside an interpreter that does nothing."""
    cases = {
        "python -c pass": python("pass"),
        "import roofline": python("import roofline"),
        "roofline --help": roofline("--help"),
    }
    rows = []
    with TemporaryDirectory() as folder:
        for name, command in cases.items():
            row = Row("new process", name, "s", parameters={"command": name})
            rows.append(row.measured(repeated(command, Path(folder), repeats)))
    for row in rows[1:]:
        row.over(rows[0], "times a bare interpreter")
    return rows


def compile_rows(cache: Path, repeats: int) -> list[Row]:
    """Time to a first result with nothing compiled, and in a new process that finds what the first one kept.

    cache : an empty folder, left with the compiled kernels.
    """
    cold = json.loads(run(python(FIRST_RESULTS), cache)[1])
    warm = [json.loads(run(python(FIRST_RESULTS), cache)[1]) for _ in range(repeats)]
    rows = []
    for name in ("decode", "prefill"):
        what = f"first rl.{name}" + (", import included" if name == "decode" else " after rl.decode")
        about = {"call": what, "cells": 8}
        first = Row("compile", f"{name}, cold", "s", parameters=about | {"cache": "empty"}).measured([cold[name]])
        second = Row("compile", f"{name}, warm", "s", parameters=about | {"cache": "warm, new process"})
        second.measured([run[name] for run in warm])
        second.over(first, "of cold")
        rows += [first, second]
    again = Row("compile", "decode, second call", "s", parameters={"call": "rl.decode again, same process", "cells": 8})
    return [*rows, again.measured([run["decode again"] for run in warm])]


def heatmap_rows(repeats: int) -> list[Row]:
    """The main job, from nothing compiled and with a warm cache."""
    with TemporaryDirectory() as folder:
        cache = Path(folder)
        command = roofline("heatmap", "--out", str(cache / "heatmap.png"))
        about = {"command": "roofline heatmap", "picture": "png"}
        cold = Row("roofline heatmap", "cold", "s", parameters=about | {"cache": "empty"})
        cold.measured(repeated(command, cache, 1))
        warm = Row("roofline heatmap", "warm", "s", parameters=about | {"cache": "warm, new process"})
        warm.measured(repeated(command, cache, repeats))
        warm.over(cold, "of cold")
    return [cold, warm]


def memory_rows(cache: Path, batches: int, contexts: int) -> list[Row]:
    """Peak memory of a sweep through the labelled interface, beside the size of what it returns.

    cache : with the kernels compiled, so that it is not the compiler's peak.
    """
    if sys.platform == "win32":
        return [Row("peak memory", "rl.decode", skipped="this system does not tell a process its peak memory")]
    run(python(PEAK.format(batches=1, contexts=1)), cache)
    seen = json.loads(run(python(PEAK.format(batches=batches, contexts=contexts)), cache)[1])
    about = {"call": "rl.decode, all variables", "cells": seen["cells"], "result_bytes": seen["result"]}
    before = Row("peak memory", "imported, kernels loaded", "B", parameters=about).measured([seen["before"]])
    after = Row("peak memory", "with the sweep", "B", parameters=about).measured([seen["after"]])
    after.ratios["of the result's bytes, over the process before"] = (seen["after"] - seen["before"]) / seen["result"]
    return [before, after]
