"""The import rule: a room imports only from rooms before it. Read from the source of every module."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "roofline"

ROOMS = (
    "layout",
    "specs",
    "kernels",
    "grid",
    "serving",
    "rack",
    "planning",
    "insight",
    "validation",
    "report",
    "cli",
)
"""In order: each may import from itself and from those before it."""

ANYWHERE = {"provenance", "errors", "__init__"}
"""Modules that every room may import. `roofline` itself holds lazy names and the version."""

KERNEL_LIBRARIES = {"numpy", "numba", "llvmlite", "math"}
"""What compiled code may be made of; _jit.py, which decorates and caches it, also needs the standard library."""


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """(absolute dotted name, line) of all imports of a file, in functions and under TYPE_CHECKING too."""
    package = module_name(path) if path.name == "__init__.py" else module_name(path).rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, base] if base else above)
            yield base, node.lineno
            for alias in node.names:
                yield f"{base}.{alias.name}", node.lineno
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in ("import_module", "__import__") and isinstance(node.args[0].value, str):
                yield node.args[0].value, node.lineno


def room_of(name: str) -> str | None:
    """The room of a dotted name within roofline; None for others and for `roofline` itself."""
    parts = name.split(".")
    return parts[1] if parts[0] == "roofline" and len(parts) > 1 else None


MODULES = sorted(PACKAGE.rglob("*.py"))
KNOWN_ROOMS = {*ROOMS, "testing", "provenance", "errors"}


def test_every_module_stands_in_a_known_room() -> None:
    assert MODULES
    for path in MODULES:
        if path.parent == PACKAGE and path.stem in ("__init__", "__main__"):
            continue
        assert room_of(module_name(path)) in KNOWN_ROOMS, f"{path} is in no room of the plan"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_come_from_earlier_rooms(path: Path) -> None:
    room = room_of(module_name(path))
    if room is None or room == "testing":
        return  # the package itself is lazy (tested below); testing imports what it tests
    for name, line in imports(path):
        other = room_of(name)
        if other is None or other not in KNOWN_ROOMS:  # another library, or a name of the package itself
            continue
        assert other != "testing", f"{path}:{line}: the product imports testing"
        if other in ANYWHERE:
            continue
        assert room in ROOMS, f"{path}:{line}: {room} may be imported from anywhere and imports {other}"
        assert ROOMS.index(other) <= ROOMS.index(room), f"{path}:{line}: {room} comes before {other}"


@pytest.mark.parametrize("path", sorted((PACKAGE / "kernels").glob("*.py")), ids=lambda p: p.name)
def test_kernels_import_only_what_compiles(path: Path) -> None:
    for name, line in imports(path):
        top = name.split(".")[0]
        if top == "roofline":
            assert name == "roofline" or room_of(name) in ("layout", "kernels"), f"{path}:{line}: {name}"
        elif path.name == "_jit.py":
            assert top in KERNEL_LIBRARIES or top in sys.stdlib_module_names, f"{path}:{line}: {name}"
        else:
            allowed = top in KERNEL_LIBRARIES or top in ("__future__", "enum", "typing")  # a NamedTuple compiles
            assert allowed, f"{path}:{line}: kernels import {name}"


def test_layout_stands_alone() -> None:
    names = {name.split(".")[0] for name, _ in imports(PACKAGE / "layout.py")}
    assert names <= {"__future__", "enum", "numpy"}


@pytest.mark.parametrize("path", sorted((ROOT / "tests" / "oracle").glob("*.py")), ids=lambda p: p.name)
def test_oracle_is_independent(path: Path) -> None:
    """Of roofline the oracle may know the names of fields and codes, nothing that computes."""
    for name, line in imports(path):
        assert room_of(name) in (None, "layout"), f"{path}:{line}: the oracle imports {name}"


def test_the_package_itself_loads_nothing_heavy() -> None:
    """`import roofline` must not bring numpy, numba, xarray or any room."""
    code = (
        "import sys; import roofline; "
        "print([m for m in sys.modules if m.split('.')[0] in {'numpy', 'numba', 'xarray', 'pydantic', 'matplotlib'} "
        "or m.startswith('roofline.')])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert result.stdout.strip() == "[]"
