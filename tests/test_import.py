"""Importing the package and asking the command line for help must stay cheap."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

import roofline

HEAVY = {"numba", "llvmlite", "xarray", "pandas", "numpy", "matplotlib", "pydantic", "ruamel", "scipy", "dask"}


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    return done.stdout


def best_seconds(command: list[str], tries: int = 4) -> float:
    """The fastest of some runs: what the code costs, not what else the machine does."""
    seconds = []
    for _ in range(tries):
        start = time.perf_counter()
        subprocess.run(command, capture_output=True, check=True, timeout=60)
        seconds.append(time.perf_counter() - start)
    return min(seconds)


@pytest.mark.parametrize("module", ["roofline", "roofline.cli.main"])
def test_import_loads_nothing_heavy(module: str) -> None:
    loaded = set(run(f"import sys, {module}; print(*sys.modules)").split())
    assert module in loaded
    assert not HEAVY & loaded


def test_import_takes_under_300_ms() -> None:
    bare = best_seconds([sys.executable, "-c", "pass"])
    assert best_seconds([sys.executable, "-c", "import roofline"]) - bare < 0.3


def test_help_takes_under_400_ms() -> None:
    assert best_seconds([sys.executable, "-m", "roofline.cli", "--help"]) < 0.4


def test_every_public_name_is_found_at_home() -> None:
    for name in roofline.__all__:
        assert getattr(roofline, name) is not None
    assert set(roofline.__all__) == set(dir(roofline))
    assert set(roofline._HOMES) | {"__version__"} == set(roofline.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'decoed'"):
        roofline.decoed  # noqa: B018
