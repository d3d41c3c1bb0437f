"""A config.json as its readers see it: each field is marked as understood when it is read, and errors name its line."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from roofline.errors import InputError
from roofline.specs.findings import Finding, input_error, shown

REQUIRED: Final = object()
"""Default of a field that a family cannot do without."""

OFF: tuple[object, ...] = (None, False, 0, "", [], {})
"""Values that switch a feature off."""

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]:,]')


class Config:
    """The fields of one object of a config.json.

    Reading a field marks it as understood; `unread` are the others. Errors are `roofline.errors.InputError` with
    file, line, field and value.
    """

    def __init__(self, data: Mapping[str, Any], place: str, text: str, path: tuple[str, ...] = ()) -> None:
        self.data = data
        self.place = place
        self.text = text
        self.path = path
        self.notes: list[str] = []
        self._read: set[str] = set()

    @classmethod
    def parse(cls, content: bytes, place: str) -> Config:
        """The object that a JSON file holds."""
        try:
            text = content.decode("utf-8-sig")
            data = json.loads(text)
        except UnicodeDecodeError as error:
            line = content[: error.start].count(b"\n") + 1
            raise input_error("", [Finding("not UTF-8 text", file=place, line=line)]) from None
        except json.JSONDecodeError as error:
            hint = "is this the whole file, and not a page that leads to it?"
            raise input_error(
                "", [Finding(f"not JSON: {error.msg}", hint=hint, file=place, line=error.lineno)]
            ) from None
        except RecursionError:
            raise input_error("", [Finding("nested too deeply for a config.json", file=place, line=1)]) from None
        if not isinstance(data, dict):
            problem = f"expected the fields of a model, found a {type(data).__name__}"
            raise input_error("", [Finding(problem, file=place, line=1)])
        return cls(data, place, text)

    def child(self, name: str) -> Config:
        """The object under a field."""
        inner = self._take(name, REQUIRED)
        if not isinstance(inner, dict):
            raise self.error(name, "expected fields")
        return Config(inner, self.place, self.text, (*self.path, name))

    def with_data(self, data: Mapping[str, Any]) -> Config:
        """The same place in the file with other fields, none of them read."""
        return Config(data, self.place, self.text, self.path)

    def has(self, name: str) -> bool:
        """Whether a field is there and switched on. Does not mark it as understood."""
        return self.data.get(name) not in OFF

    def count(self, *names: str, default: Any = REQUIRED, least: int = 1) -> Any:
        """A whole number of at least `least`, under the first of the names that has one; null counts as missing."""
        name, value = self._first(names, default)
        if value is default and default is not REQUIRED:
            return default
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise self.error(name, f"expected a whole number of at least {least}")
        return value

    def flag(self, name: str, default: bool = False) -> bool:
        """A field that is true or false; null counts as missing."""
        value = self._take(name, default)
        if not isinstance(value, bool):
            raise self.error(name, "expected true or false")
        return value

    def word(self, name: str, default: str = "") -> str:
        """A text; null counts as missing."""
        value = self._take(name, default)
        if not isinstance(value, str):
            raise self.error(name, "expected text")
        return value

    def items(self, name: str, length: int | None = None) -> list[Any] | None:
        """A list, of a given length where that is known; None where it is missing."""
        value = self._take(name, None)
        if value is None:
            return None
        if not isinstance(value, list):
            raise self.error(name, "expected a list")
        if length is not None and len(value) != length:
            raise self.error(name, f"{len(value)} entries for {length} layers", value="")
        return value

    def must(self, name: str, *allowed: Any, why: str = "") -> None:
        """Refuse a field that has a value other than those allowed; a missing one or null passes."""
        value = self._take(name, allowed[0])
        if not any(value == option and isinstance(value, bool) == isinstance(option, bool) for option in allowed):
            choices = " or ".join(shown(option) for option in allowed)
            raise self.error(name, why or f"only {choices} is understood")

    def off(self, *names: str, why: str) -> None:
        """Refuse fields that switch something on."""
        for name in names:
            self._read.add(name)
            if self.has(name):
                raise self.error(name, why)

    def ignore(self, *names: str) -> None:
        """Mark fields as understood that say nothing about cost."""
        self._read.update(names)

    def unread(self) -> dict[str, Any]:
        """Fields that nobody read."""
        return {name: value for name, value in self.data.items() if name not in self._read}

    def finding(self, name: str, problem: str, hint: str = "", *, value: str | None = None) -> Finding:
        """What is wrong with a field, placed."""
        path = (*self.path, name) if name else self.path
        text = (shown(self.data[name]) if name in self.data else "") if value is None else value
        return Finding(problem, ".".join(path), text, hint, self.place, self.line(path))

    def error(self, name: str, problem: str, hint: str = "", *, value: str | None = None) -> InputError:
        """An `InputError` about a field."""
        return input_error("", [self.finding(name, problem, hint, value=value)])

    def line(self, path: tuple[str, ...]) -> int:
        """1-based line of a field, or of the nearest parent that exists."""
        known = _lines(self.text)
        while path and path not in known:
            path = path[:-1]
        return known.get(path, 1)

    def _first(self, names: tuple[str, ...], default: Any) -> tuple[str, Any]:
        self._read.update(names)
        for name in names:
            if self.data.get(name) is not None:
                return name, self.data[name]
        if default is REQUIRED:
            also = f"; {' or '.join(names[1:])} would do" if names[1:] else ""
            raise self.error(names[0], f"missing{also}", value="")
        return names[0], default

    def _take(self, name: str, default: Any) -> Any:
        return self._first((name,), default)[1]


def read_config(path: Path, place: str) -> tuple[Config, bytes]:
    """The config.json at a path and its bytes."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{place}: {(error.strerror or str(error)).lower()}") from None
    return Config.parse(content, place), content


def _lines(text: str) -> dict[tuple[str, ...], int]:
    """Line of each field by its path; what stands in lists is left out. The text is known to be JSON."""
    found: dict[tuple[str, ...], int] = {}
    stack: list[str | None] = []  # the field that each open brace belongs to; None for a list
    key, at, line = "", 0, 1
    for match in _TOKEN.finditer(text):
        line += text.count("\n", at, match.start())
        at = match.start()
        token = match[0]
        if token[0] == '"':
            key = token[1:-1]
        elif token == ":" and None not in stack:
            found.setdefault((*(part for part in stack[1:] if part is not None), key), line)
        elif token == "{":
            stack.append(key)
        elif token == "[":
            stack.append(None)
        elif token in "}]":
            stack.pop()
    return found
