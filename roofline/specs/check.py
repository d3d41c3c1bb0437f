"""Check sheets: everything wrong or doubtful at once, each with its file, line, field, value and the likely slip."""

from __future__ import annotations

import os
import re
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, NoReturn

from roofline.errors import InputError
from roofline.specs import folders as places
from roofline.specs.crosschecks import cross_check, same_names
from roofline.specs.findings import DoubtfulSheet, Finding, nearest, shown
from roofline.specs.folders import KINDS, SUFFIXES, Kind
from roofline.specs.hardware import Accelerator
from roofline.specs.load import CLASSES, REFERENCES, display, list_specs, read, resolve_references, validate
from roofline.specs.parse import NotYaml, Positions
from roofline.specs.records import Folders, Sheet

_TELLING_FIELDS: dict[str, Kind] = {
    "dense_flop_per_s": "accelerator",
    "operations": "efficiency",
    "layers": "model",
    "parts": "recipe",
    "pue": "facility",
    "scale_up": "system",
    "accelerator": "system",
    "memory": "accelerator",
    "hidden": "model",
    "collectives": "efficiency",
    "framework": "stack",
    "sequence_s": "stack",
    "usd_per_accelerator_hour": "prices",
    "usd_per_accelerator": "prices",
    "includes_energy": "prices",
}
"""A field that only one kind of sheet has, for a file outside the usual folders."""


def check(target: str | PathLike[str] | None = None, *, folders: Folders = None) -> list[Finding]:
    """Everything wrong or doubtful in a sheet, a folder of sheets, or (None) in all sheets that names can reach.

    Returns findings in the order of files and lines; none where all is well. `severity` tells errors from doubts.
    Raises `roofline.errors.InputError` where the target does not exist.
    """
    files = _targets(target, folders)
    if target is not None:
        own = [Path(target).expanduser().absolute()] if Path(target).is_dir() else places.beside(files[0])
        folders = [*own, *places.user_folders(folders)]
    found: list[Finding] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DoubtfulSheet)  # what loading warns of is among the findings
        known = _accelerators(folders)
        for path in files:
            problems = [*_check_place(path, target, folders), *_check_file(path, known, folders)]
            found += sorted(problems, key=lambda item: item.line)
    by_folder: dict[Path, list[tuple[str, str, Sequence[str]]]] = {}
    for path in files:
        by_folder.setdefault(path.parent, []).append((display(path), path.stem, places.aliases_of(path)))
    for sheets in by_folder.values():
        found += same_names(sheets)
    return found


def _targets(target: str | PathLike[str] | None, folders: Folders) -> list[Path]:
    if target is None:
        return [
            path
            for kind in KINDS
            for folder in places.search_path(kind, folders)
            for path in places.sheet_files(folder).values()
        ]
    path = Path(target).expanduser().absolute()
    if path.is_dir():
        files = [Path(folder) / name for folder, _, names in os.walk(path, onerror=_refuse) for name in names]
        sheets = sorted(file for file in files if file.suffix in SUFFIXES and file.is_file())
        if not sheets:
            raise InputError(f"{target}: no sheet ({' or '.join(SUFFIXES)}) in this folder")
        return sheets
    if path.is_file():
        return [path]
    for kind in KINDS:
        found = places.find(kind, str(target), folders)
        if found:
            return [found.absolute()]
    raise InputError(f"{target}: no such file, folder or sheet")


def _refuse(error: OSError) -> NoReturn:
    raise InputError(f"{error.filename}: this folder is unreadable: {(error.strerror or str(error)).lower()}")


def _accelerators(folders: Folders) -> list[Accelerator]:
    """Every accelerator that loads; the others are reported as files of their own."""
    found = []
    for name in list_specs("accelerator", folders=folders):
        try:
            found.append(Accelerator.load(name, folders=folders))
        except InputError:
            continue
    return found


def _check_file(path: Path, known: Sequence[Accelerator], folders: Folders) -> Iterator[Finding]:
    place = display(path)
    try:
        raw = read(path)
    except NotYaml as error:
        yield error.finding.at(place, error.finding.line)
        return
    kind = places.kind_of(path) or _guess_kind(raw.data)
    if kind is None:
        hint = f"put it in a folder named {', '.join(short for _, short in places.FOLDERS.values())}"
        yield Finding("cannot tell what kind of sheet this is", hint=hint, file=place, line=1)
        return
    found = list(_check_data(CLASSES[kind], raw.data, path, known, folders))
    if found:
        positions = Positions(raw.text)
        yield from (item.at(place, positions.line(item.field.split("."))) for item in found)


def _check_place(path: Path, target: str | PathLike[str] | None, folders: Folders) -> Iterator[Finding]:
    """What keeps a sheet from being found by its name: the folder it lies in, and the name of its file."""
    place = display(path)
    good = re.sub(r"[^a-z0-9._]+", "-", path.stem.lower()).strip("-")
    if path.stem != good and good:
        hint = f"rename the file to {good}{path.suffix}"
        yield Finding("a name has no spaces or capitals", "id", path.stem, hint, file=place, line=1)
    if places.kind_of(path):
        return
    try:
        kind = _guess_kind(read(path).data)
    except NotYaml:
        return  # reported as such
    if kind is None:
        return
    roots = [Path(target).expanduser().absolute()] if target is not None and Path(target).is_dir() else []
    roots += [folder.absolute() for folder in places.user_folders(folders) if path.is_relative_to(folder.absolute())]
    folder = (roots or [path.parent])[0] / places.FOLDERS[kind][1]
    hint = f"move it to {display(folder / (good + path.suffix))}"
    problem = f"{kind} sheets are found by name only in a folder {places.FOLDERS[kind][1]}/"
    if roots:
        yield Finding(problem, "", "", hint, file=place, line=1)
    else:  # a single file outside any folder of sheets may be meant to be loaded by its path
        yield Finding(f"{problem}, this one by its path only", "", "", hint, place, 1, "warning")


def _check_data(
    cls: type[Sheet], data: dict[str, Any], path: Path, known: Sequence[Accelerator], folders: Folders
) -> Iterator[Finding]:
    resolved, broken = resolve_references(cls, data, folders, base=path.parent)
    for item in broken:
        long = "\n" in item.problem or ".yaml:" in item.problem
        problem = "that sheet is not valid; its own findings say why" if long else item.problem
        yield Finding(problem, item.field, item.value, item.hint)
    sheet, wrong = validate(cls, resolved, path.stem, {item.field for item in broken})
    yield from wrong
    yield from check_sources(cls, data)
    if sheet is not None:
        yield from cross_check(sheet, known, folders)


def check_sources(cls: type[Sheet], data: Mapping[str, Any], prefix: str = "") -> Iterator[Finding]:
    """Numbers without a source, and sources of fields that do not exist."""
    inline = [name for name in REFERENCES.get(cls, {}) if isinstance(data.get(name), Mapping)]
    own = {str(key): value for key, value in data.items() if key != "sources" and key not in inline}
    sources = data.get("sources")
    sources = sources if isinstance(sources, Mapping) else {}
    reported: set[str] = set()
    for path, (value, covered) in _numbers(own):
        parts = path.split(".")
        if not covered and not any(".".join(parts[:end]) in sources for end in range(1, len(parts) + 1)):
            path = _sourced_as(path)
            if path in reported:
                continue
            reported.add(path)
            hint = f"add `{path}: {{ref: ..., grade: published|measured|estimated}}` under sources"
            yield Finding("a number without a source", f"{prefix}{path}", shown(value), hint)
    known = set(_all_paths(own))
    for path in sources:
        if str(path) not in known:
            field = f"{prefix}sources.{path}"
            yield Finding(
                "the source of a field that this sheet does not have", field, hint=nearest(str(path), sorted(known))
            )
    for name in inline:
        yield from check_sources(REFERENCES[cls][name], data[name], f"{prefix}{name}.")


def _sourced_as(path: str) -> str:
    """The path a source would naturally be given for: that of the list a number stands in."""
    parts = path.split(".")
    return ".".join(parts[: next((i for i, part in enumerate(parts) if part.isdecimal() and i), len(parts))])


def _numbers(data: Any, path: str = "", covered: bool = False) -> Iterator[tuple[str, tuple[float, bool]]]:
    if isinstance(data, int | float) and not isinstance(data, bool):
        yield path, (data, covered)
    for key, value in _children(data):
        inside = covered or (isinstance(data, Mapping) and isinstance(data.get("source"), Mapping))
        yield from _numbers(value, f"{path}.{key}" if path else key, inside)


def _all_paths(data: Any, path: str = "") -> Iterator[str]:
    for key, value in _children(data):
        here = f"{path}.{key}" if path else key
        yield here
        yield from _all_paths(value, here)


def _children(data: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(data, Mapping):
        yield from ((str(key), value) for key, value in data.items())
    elif isinstance(data, list):
        yield from ((str(index), value) for index, value in enumerate(data))


def _guess_kind(data: Mapping[str, Any]) -> Kind | None:
    return next((kind for field, kind in _TELLING_FIELDS.items() if field in data), None)


def main(arguments: Sequence[str] | None = None) -> int:
    """`python -m roofline.specs.check [PATH]`: print findings; 0 where none is an error, else 2."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    targets: list[str | None] = [*given] or [None]
    try:
        found = [item for target in targets for item in check(target)]
    except InputError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.writelines(f"{item}\n" for item in found)
    return 2 if any(item.severity == "error" for item in found) else 0


if __name__ == "__main__":
    sys.exit(main())
