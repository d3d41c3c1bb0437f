"""Lists of numbers on the command line: `1,16,64`, `1:8`, `0:64:16`, `1:256:x2`, `8k`."""

from __future__ import annotations

import math
import re

from roofline.errors import InputError

MOST = 100_000
FORMS = "write whole numbers as 1,16,64 or a range as 1:8 (step 1), 16:64:16 (step 16), 1:256:x2 (doubling); 8k is 8192"
_WHOLE = re.compile(r"([0-9]+)(k|m)?", re.IGNORECASE)
_SCALE = {"": 1, "k": 1024, "m": 1024 * 1024}


def whole_numbers(text: str, option: str, *, least: int = 1) -> tuple[int, ...]:
    """Whole numbers of a list, in the order written and without repeats.

    option : as typed, for the message ("--batch").
    least : smallest number that makes sense.
    Raises InputError naming the option, what was written and the forms that are understood.
    """
    found: dict[int, None] = {}
    for piece in text.split(","):
        for value in _piece(piece.strip(), text, option):
            if value < least:
                raise InputError(f"{option} {text}: {value} is below {least}")
            found[value] = None
            if len(found) > MOST:
                raise InputError(f"{option} {text}: more than {MOST} values")
    return tuple(found)


def numbers(text: str, option: str) -> tuple[float, ...]:
    """As `whole_numbers`, and single values may have decimals: 37.5,50:200:50. Raises InputError as it does."""
    found: dict[float, None] = {}
    for piece in text.split(","):
        try:
            value = float(piece)
        except ValueError:
            found |= dict.fromkeys(float(value) for value in whole_numbers(piece, option))
            continue
        if not 0.0 < value < math.inf:
            raise InputError(f"{option} {text}: {piece.strip()} is not above 0")
        found[value] = None
    return tuple(found)


def _piece(piece: str, text: str, option: str) -> range | list[int]:
    parts = piece.split(":")
    if len(parts) == 1:
        return [_number(piece, text, option)]
    if len(parts) > 3:
        raise InputError(f"{option} {text}: {piece!r} is not a range; {FORMS}")
    first, last = _number(parts[0], text, option), _number(parts[1], text, option)
    if last < first:
        raise InputError(f"{option} {text}: the range {piece} runs backwards; write {parts[1]}:{parts[0]}")
    if len(parts) == 3 and parts[2][:1] in {"x", "X"}:
        factor = _number(parts[2][1:], text, option)
        if factor < 2 or first == 0:
            raise InputError(
                f"{option} {text}: the range {piece} never ends; start at 1 or more with a factor of 2 or more"
            )
        values = [first]
        while values[-1] * factor <= last:
            values.append(values[-1] * factor)
        return values
    step = _number(parts[2], text, option) if len(parts) == 3 else 1
    if step == 0:
        raise InputError(f"{option} {text}: the range {piece} has a step of 0")
    return range(first, last + 1, step)


def _number(word: str, text: str, option: str) -> int:
    match = _WHOLE.fullmatch(word.strip())
    if match is None:
        raise InputError(f"{option} {text}: {word!r} is not a whole number of 0 or more; {FORMS}")
    return int(match[1]) * _SCALE[(match[2] or "").lower()]


def shares(text: str, option: str) -> float | list[float]:
    """Shares of a list such as 0.8,0.6; a single one as a number. Raises InputError naming the option."""
    found: list[float] = []
    for piece in text.split(","):
        try:
            found.append(float(piece))
        except ValueError:
            raise InputError(f"{option} {text}: {piece.strip()!r} is not a number; write shares as 0.8,0.6") from None
    return found[0] if len(found) == 1 else found


def names(words: list[str] | str, what: str) -> list[str]:
    """Names of a comma-separated list, without repeats. Raises InputError where there is none."""
    listed = [words] if isinstance(words, str) else words
    found = list(dict.fromkeys(name.strip() for word in listed for name in word.split(",") if name.strip()))
    if not found:
        raise InputError(f"no {what} named")
    return found
