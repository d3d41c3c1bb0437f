"""The one exception for what a user can mend. The command line prints it and exits with 2."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class InputError(ValueError):
    """Bad input: the message names the place, the field, the value and the fix."""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> InputError:
    """An `InputError` for a name that nothing answers to, with the nearest ones."""
    choices = sorted(known)
    near = get_close_matches(name.lower(), choices, n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(choices)}"
    return InputError(f"no {kind} named {name!r}; {hint}")
