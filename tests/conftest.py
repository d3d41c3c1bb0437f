"""Hypothesis profiles, and a count of how often a law's branch was reached.

HYPOTHESIS_PROFILE picks `ci` (default: the same examples every time), `dev` (new ones in every run, failing ones kept
in .hypothesis) or `nojit` (a handful, for runs with NUMBA_DISABLE_JIT=1). Where it says `ci` outright, a law none of
whose examples reached its branch fails: other versions of hypothesis draw other examples, so nobody else is asked to.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, event, settings
from hypothesis.database import DirectoryBasedExampleDatabase

import bench
import roofline

SLOW_IS_FINE = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example]

settings.register_profile(
    "dev",
    max_examples=30,
    deadline=None,
    print_blob=True,
    suppress_health_check=SLOW_IS_FINE,
    database=DirectoryBasedExampleDatabase(Path(__file__).parent.parent / ".hypothesis" / "examples"),
)
settings.register_profile(
    "ci", max_examples=60, deadline=None, print_blob=True, derandomize=True, suppress_health_check=SLOW_IS_FINE
)
settings.register_profile("nojit", parent=settings.get_profile("dev"), max_examples=2, derandomize=True, database=None)
PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "")
settings.load_profile(PROFILE or "ci")

# Hypothesis also draws constants that it reads in the modules imported so far: all of them, before the first example,
# or a law's examples would depend on which tests ran before it in the same process.
for package in (roofline, bench):
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)

_reached: Counter[str] = Counter()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "reaches(*branches): the test must reach each of these branches at least once")


@pytest.fixture(scope="session")
def reach() -> Callable[[str], None]:
    """Call with a branch's name where a law is really tested."""

    def record(branch: str) -> None:
        event(branch)
        _reached[branch] += 1

    return record


@pytest.fixture(autouse=True)
def every_branch_is_reached(request: pytest.FixtureRequest) -> Iterator[None]:
    """After a test marked `reaches`: a law none of whose examples reached its branch has tested nothing."""
    _reached.clear()
    failures = request.session.testsfailed
    yield
    marker = request.node.get_closest_marker("reaches")
    if marker is None or PROFILE != "ci" or request.session.testsfailed > failures:
        return
    missed = [branch for branch in marker.args if not _reached[branch]]
    assert not missed, f"no example reached: {', '.join(missed)}"
