"""The compile cache: an edited callee must never run stale, and no cache folder must never be an error."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import roofline

CALLEE = """
from roofline.kernels._jit import kernel

@kernel
def double(x):
    return {factor} * x
"""
CALLER = """
from roofline.kernels._jit import entry
from roofline.kernels.probe_callee import double

@entry
def run(x):
    return double(x)
"""
SCRIPT = """
from roofline.kernels import _jit
from roofline.kernels.probe_caller import run
value = run(21.0)
hits = sum(run.stats.cache_hits.values()) if _jit.CACHE_FOLDER else -1
print(value, hits)
"""


class Package:
    """A copy of the package with one entry and one callee of its own, and a cache of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(Path(roofline.__file__).parent, root / "roofline", ignore=ignore)
        (root / "roofline/kernels/probe_caller.py").write_text(CALLER)
        self.write(2)

    def write(self, factor: int) -> None:
        (self.root / "roofline/kernels/probe_callee.py").write_text(CALLEE.format(factor=factor))

    def run(self, **environment: str) -> tuple[float, int]:
        """(value, cache hits; -1 without a cache) of a new process."""
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("NUMBA")}
        settings = {"PYTHONPATH": str(self.root), "ROOFLINE_CACHE": str(self.root / "cache"), **environment}
        command = [sys.executable, "-B", "-W", "error", "-c", SCRIPT]
        done = subprocess.run(
            command, env=inherited | settings, cwd=self.root, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        value, hits = done.stdout.split()
        return float(value), int(hits)


@pytest.fixture
def package(tmp_path: Path) -> Package:
    return Package(tmp_path)


def test_edited_callee_is_compiled_again_and_edit_back_hits(package: Package) -> None:
    assert package.run() == (42.0, 0)  # cold
    assert package.run() == (42.0, 1)  # warm
    package.write(3)
    assert package.run() == (63.0, 0)  # the caller's own file did not change
    package.write(2)
    assert package.run() == (42.0, 1)


def test_no_place_to_write_runs_uncached(package: Package) -> None:
    (package.root / "file").write_text("a file where a folder is wanted")
    assert package.run(ROOFLINE_CACHE=str(package.root / "file" / "below")) == (42.0, -1)


def test_no_home_and_no_cache_folder_runs(package: Package) -> None:
    nowhere = str(package.root / "file")
    Path(nowhere).write_text("")
    assert package.run(ROOFLINE_CACHE="", XDG_CACHE_HOME=nowhere, HOME=nowhere, LOCALAPPDATA=nowhere)[0] == 42.0


def test_read_only_install_uses_the_users_cache(package: Package) -> None:
    """Nothing is written beside the sources, so an install without write permission has a cache like any other."""
    before = set((package.root / "roofline").rglob("*"))
    assert package.run() == (42.0, 0)
    assert set((package.root / "roofline").rglob("*")) == before
    assert package.run() == (42.0, 1)


def test_old_caches_are_dropped(package: Package) -> None:
    old = package.root / "cache/kernels/0000"
    old.mkdir(parents=True)
    os.utime(old, (0, 0))
    recent = package.root / "cache/kernels/1111"
    recent.mkdir()
    package.run()
    assert not old.exists()
    assert recent.exists()
