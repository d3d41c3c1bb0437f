"""Name, path or mapping -> validated sheet. Parsed sheets are kept until their file changes."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any, TypeVar, cast

from pydantic import ValidationError

from roofline import provenance
from roofline.errors import InputError, unknown_name
from roofline.specs import folders as places
from roofline.specs import hf
from roofline.specs.efficiency import Efficiency
from roofline.specs.findings import DoubtfulSheet, Finding, input_error, problems, shown
from roofline.specs.folders import KINDS, SUFFIXES, Kind
from roofline.specs.hardware import Accelerator, Facility, System
from roofline.specs.model import Model
from roofline.specs.parse import NotYaml, Positions, parse
from roofline.specs.prices import Prices
from roofline.specs.recipe import Recipe
from roofline.specs.records import Folders, Sheet
from roofline.specs.shipped import doubled
from roofline.specs.stack import Stack

__all__ = ["CLASSES", "REFERENCES", "exists", "is_name", "list_specs", "load_sheet", "read", "unknown_name"]

CLASSES: dict[Kind, type[Sheet]] = {
    "accelerator": Accelerator,
    "system": System,
    "facility": Facility,
    "efficiency": Efficiency,
    "model": Model,
    "recipe": Recipe,
    "stack": Stack,
    "prices": Prices,
}

REFERENCES: dict[type[Sheet], dict[str, type[Sheet]]] = {
    System: {"accelerator": Accelerator, "facility": Facility},
    Accelerator: {"efficiency": Efficiency},
}
"""Fields that hold another sheet: by name, path or inline mapping in the file, as an object once loaded."""

S = TypeVar("S", bound=Sheet)


@dataclass(frozen=True, slots=True)
class RawSheet:
    """A file read and parsed, not yet validated."""

    path: Path
    text: str
    digest: str
    data: dict[str, Any]


_Stamp = tuple[int, int]
_raw: dict[Path, tuple[_Stamp, RawSheet]] = {}
_loaded: dict[tuple[type[Sheet], Path], tuple[RawSheet, tuple[Sheet, ...], Sheet]] = {}


def list_specs(kind: str, *, folders: Folders = None) -> list[str]:
    """Ids of all sheets of a kind, sorted: the user's and the built-in ones.

    kind : accelerator, system, facility, efficiency, model, recipe, stack or prices.
    Raises `roofline.errors.InputError` for another kind.
    """
    plurals = {"facilities": "facility", **{f"{name}s": name for name in KINDS}}
    wanted = plurals.get(kind, kind)
    for known in KINDS:
        if known == wanted:
            return places.names(known, folders)
    raise unknown_name("kind of sheet", kind, KINDS)


def is_name(source: str) -> bool:
    """Whether a text is a sheet's name, not a path."""
    return not (source.endswith((*SUFFIXES, ".json")) or "/" in source or os.sep in source)


def exists(cls: type[Sheet], name: str, *, folders: Folders = None) -> bool:
    """Whether there is a sheet of that name."""
    return places.find(_kind(cls), name, folders) is not None


def load_sheet(cls: type[S], source: Any, *, folders: Folders = None) -> S:
    """The sheet of a name, a path, a mapping or a sheet. Raises `InputError` with everything that is wrong."""
    if isinstance(source, cls):
        return source
    if isinstance(source, Mapping):
        return _from_mapping(cls, source, folders)
    if isinstance(source, str) and is_name(source):
        if issubclass(cls, Model) and source and not exists(cls, source, folders=folders) and hf.is_config(source):
            return cast(S, hf.from_hf(Path(source)))  # a bare name may be a folder with a config.json
        return _from_file(cls, places.resolve(_kind(cls), source, folders).absolute(), folders)
    if isinstance(source, str | os.PathLike):
        if issubclass(cls, Model) and hf.is_config(source):
            return cast(S, hf.from_hf(Path(source)))
        if issubclass(cls, Model) and hf.is_hub_name(str(source)):
            hint = "a name on the Hugging Face Hub goes to Model.from_hf or `roofline specs import`"
            raise InputError(f"{source}: no such file or directory; {hint}")
        return _from_file(cls, Path(source).expanduser().absolute(), search_folders(source, folders))
    raise InputError(f"{_kind(cls)}: expected a name, a path or a mapping, found {type(source).__name__}")


def search_folders(source: Any, folders: Folders) -> Folders:
    """The folders that the references of a source are looked up in: those next to a user's file come first."""
    if isinstance(source, Mapping) or (isinstance(source, str) and is_name(source)):
        return folders
    nearby = places.beside(Path(source).expanduser().absolute())
    return [*nearby, *places.user_folders(folders)] if nearby else folders


def data_of(source: Any) -> Mapping[str, Any]:
    """The fields of a mapping or of a path's file, not validated; none where there are none to read."""
    if isinstance(source, Mapping):
        return source
    if isinstance(source, str | os.PathLike) and not (isinstance(source, str) and is_name(source)):
        try:
            return read(Path(source).expanduser().absolute()).data
        except (InputError, NotYaml):
            return {}  # whoever loads it says why
    return {}


def read(path: Path) -> RawSheet:
    """A sheet's file, parsed. Raises `InputError` (no such file) or `NotYaml`."""
    try:
        status = path.stat()
        stamp = (status.st_mtime_ns, status.st_size)
        kept = _raw.get(path)
        if kept and kept[0] == stamp:
            return kept[1]
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {(error.strerror or str(error)).lower()}") from None
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise NotYaml(Finding("not UTF-8 text", hint="save the file as UTF-8", line=line)) from None
    sheet = RawSheet(path, text, provenance.digest(content), parse(text))
    _raw[path] = (stamp, sheet)
    return sheet


def _kind(cls: type[Sheet]) -> Kind:
    for kind, known in CLASSES.items():
        if issubclass(cls, known):
            return kind
    raise TypeError(f"{cls.__name__} is not a kind of sheet")


def _from_file(cls: type[S], path: Path, folders: Folders) -> S:
    try:
        raw = read(path)
    except NotYaml as error:
        raise input_error("", [error.finding.at(display(path), error.finding.line)]) from None
    data, found = resolve_references(cls, raw.data, folders, base=path.parent)
    references = tuple(value for value in data.values() if isinstance(value, Sheet))
    kept = _loaded.get((cls, path))
    if kept and kept[0] is raw and len(kept[1]) == len(references):
        unchanged = all(old is new for old, new in zip(kept[1], references, strict=True))
        if unchanged and not found and isinstance(kept[2], cls):
            return kept[2]
    sheet, more = validate(cls, data, path.stem, {item.field for item in found})
    found += more
    if sheet is None or found:
        positions = Positions(raw.text)
        lines = [positions.line(item.field.split(".")) for item in found]
        placed = [item.at(display(path), line) for line, item in zip(lines, found, strict=True)]
        raise input_error("", sorted(placed, key=attrgetter("line")))
    if isinstance(sheet, Accelerator) and not path.is_relative_to(places.built_in_root()):
        _warn_of(doubled(sheet), raw)
    sheet._digest = raw.digest
    _loaded[cls, path] = (raw, references, sheet)
    return sheet


def _warn_of(doubts: Iterable[Finding], raw: RawSheet) -> None:
    """A `DoubtfulSheet` warning for each doubt, placed at the sheet's line rather than at a line of Python."""
    for item in doubts:
        line = Positions(raw.text).line(item.field.split("."))
        warnings.warn_explicit(str(item), DoubtfulSheet, display(raw.path), line)


def _from_mapping(cls: type[S], source: Mapping[str, Any], folders: Folders) -> S:
    data, found = resolve_references(cls, dict(source), folders)
    sheet, more = validate(cls, data, "", {item.field for item in found})
    found += more
    if sheet is None or found:
        raise input_error(_kind(cls), found)
    return sheet


def resolve_references(
    cls: type[Sheet], data: dict[str, Any], folders: Folders, base: Path | None = None
) -> tuple[dict[str, Any], list[Finding]]:
    """The data with the sheets it refers to in place of their names, and what went wrong on the way."""
    resolved, found = dict(data), []
    for field, target in REFERENCES.get(cls, {}).items():
        value = data.get(field)
        if field not in data or isinstance(value, Sheet):
            continue  # a missing one is reported by validation
        if not isinstance(value, str | os.PathLike | Mapping):
            hint = f"known: {', '.join(list_specs(_kind(target), folders=folders))}"
            found.append(Finding(f"expected the id of {_article(_kind(target))} sheet", field, shown(value), hint))
            resolved.pop(field)
            continue
        source = value
        if base is not None and isinstance(value, str) and not is_name(value):
            source = base / value
        try:
            resolved[field] = target.load(source, folders=folders)
        except InputError as error:
            text = value if isinstance(value, str) else ""
            found.append(Finding(str(error), field, text))
            resolved.pop(field)
    return resolved, found


def validate(
    cls: type[S], data: Mapping[str, Any], stem: str, failed: Collection[str] = ()
) -> tuple[S | None, list[Finding]]:
    """The sheet, or None and what is wrong with it.

    `data` has its references resolved; `failed` names those that could not be, and were reported.
    """
    found = []
    given = dict(data)
    if stem and given.setdefault("id", stem) != stem:
        found.append(Finding("differs from the file's name", "id", str(given["id"]), "leave it out"))
    given.setdefault("id", re.sub(r"[^a-z0-9.]+", "-", str(given.get("name", "")).lower()).strip("-"))
    try:
        return cls.model_validate(given), found
    except ValidationError as error:
        return None, found + [item for item in problems(error, cls, given) if item.field not in failed]


def _article(noun: str) -> str:
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


def display(path: Path) -> str:
    """A path as short as it can be said from here."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
