"""What a result must say about itself: version, sheets by digest, fidelity, boundary, bases and the command."""

from __future__ import annotations

import hashlib
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from roofline import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable

KEYS = ("fidelity", "boundary", "basis", "token_basis")
"""Attributes without which a figure cannot be compared with another; every table carries them as columns."""


def digest(content: str | bytes) -> str:
    """First 12 hexadecimal digits of the SHA-256 of a sheet's content."""
    raw = content.encode() if isinstance(content, str) else content
    return hashlib.sha256(raw).hexdigest()[:12]


def file_digest(path: str | Path) -> str:
    """`digest` of a file's bytes. Raises OSError where it cannot be read."""
    return digest(Path(path).read_bytes())


def command() -> str:
    """The command line of this process, as a shell would take it; empty in an interactive session."""
    if not sys.argv or not sys.argv[0]:
        return ""
    program = Path(sys.argv[0])
    ours = program.stem == "roofline" or program.parts[-3:-1] == ("roofline", "cli")
    return shlex.join(["roofline" if ours else program.name, *sys.argv[1:]])


def attributes(
    *,
    fidelity: str,
    boundary: str = "accelerator",
    basis: str = "metered",
    token_basis: str = "output",
    sheets: Mapping[str, str] | Iterable[tuple[str, str]] = (),
) -> dict[str, str]:
    """Attributes for a result, all of them strings, so that any file format holds them.

    sheets : id and digest of every sheet the result was made from; a changed sheet may share the id of its origin.
    """
    pairs = sheets.items() if isinstance(sheets, Mapping) else sheets
    listed = " ".join(f"{name}={value}" for name, value in sorted(set(pairs)))
    return {
        "roofline_version": __version__,
        "fidelity": fidelity,
        "boundary": boundary,
        "basis": basis,
        "token_basis": token_basis,
        "sheets": listed,
        "command": command(),
    }
