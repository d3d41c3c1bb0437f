"""Where sheets lie: built-in folders, the user's folders before them, and names found without parsing every sheet."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from os import PathLike
from pathlib import Path
from typing import Literal, get_args

from roofline.errors import InputError, unknown_name

Kind = Literal["accelerator", "system", "facility", "efficiency", "model", "recipe", "stack", "prices"]
KINDS: tuple[Kind, ...] = get_args(Kind)

ENVIRONMENT = "ROOFLINE_SPECS"
"""Environment variable that lists the user's folders, separated like PATH."""

FOLDERS: dict[Kind, tuple[str, str]] = {
    # in the built-in tree and in a user's copy of it; the short form only in a user's folder
    "accelerator": ("hardware_specs/accelerators", "accelerators"),
    "system": ("hardware_specs/systems", "systems"),
    "facility": ("hardware_specs/facilities", "facilities"),
    "efficiency": ("hardware_specs/efficiency", "efficiency"),
    "model": ("model_specs", "models"),
    "recipe": ("model_specs/recipes", "recipes"),
    "stack": ("hardware_specs/stacks", "stacks"),
    "prices": ("hardware_specs/prices", "prices"),
}

SUFFIXES = (".yaml", ".yml")

_ALIASES = re.compile(r"^aliases:[ \t]*(?P<flow>\[[^\]]*\]|(?:\r?\n[ \t]*-[ \t]*[^\n]+)+)", re.MULTILINE)
_WORD = re.compile(r"[\"']([^\"']+)[\"']|([^\s,\[\]\"']+)")


@lru_cache(maxsize=1)
def built_in_root() -> Path:
    """The folder that holds hardware_specs/ and model_specs/: inside an installed wheel, else the repository."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "_data"
    return installed if (installed / "hardware_specs").is_dir() else package.parent


def user_folders(folders: Sequence[str | PathLike[str]] | str | PathLike[str] | None) -> list[Path]:
    """The user's folders, first wins. Raises `InputError` for one that does not exist."""
    where = "folders"
    if folders is None:
        where = ENVIRONMENT
        folders = [part for part in os.environ.get(ENVIRONMENT, "").split(os.pathsep) if part]
    elif isinstance(folders, str | PathLike):
        folders = [folders]
    paths = [Path(folder).expanduser() for folder in folders]
    for path in paths:
        if not path.is_dir():
            raise InputError(f"{where}: {path} is not a folder")
        if not os.access(path, os.R_OK | os.X_OK):
            raise InputError(f"{where}: {path} is unreadable: permission denied")
    return paths


def search_path(kind: Kind, folders: Sequence[str | PathLike[str]] | None) -> list[Path]:
    """Existing folders that may hold sheets of a kind, the user's before the built-in one."""
    found = [folder / inner for folder in user_folders(folders) for inner in FOLDERS[kind]]
    found.append(built_in_root() / FOLDERS[kind][0])
    return [path for path in dict.fromkeys(found) if path.is_dir()]


def sheet_files(folder: Path) -> dict[str, Path]:
    """Sheets of one folder (not of folders inside it) by stem, sorted."""
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries if entry.name.endswith(SUFFIXES) and entry.is_file())
    return {Path(name).stem: folder / name for name in names}


def aliases_of(path: Path) -> tuple[str, ...]:
    """Aliases of a sheet, found in its text without parsing it."""
    status = path.stat()
    return _scan_aliases(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=4096)
def _scan_aliases(path: Path, _modified: int, _size: int) -> tuple[str, ...]:
    match = _ALIASES.search(path.read_text(encoding="utf-8", errors="replace"))
    if not match:
        return ()
    lines = [re.sub(r"^[ \t]*-[ \t]*|[ \t]+#.*$", "", line) for line in match["flow"].splitlines()]
    return tuple(quoted or bare for line in lines for quoted, bare in _WORD.findall(line))


def beside(path: Path) -> list[Path]:
    """The folder of sheets that a user's file lies in, so that it finds the sheets next to it; built-in: none."""
    kind = kind_of(path)
    if kind is None or path.is_relative_to(built_in_root() / FOLDERS[kind][0]):
        return []
    return [path.parent.parent]


def find(kind: Kind, name: str, folders: Sequence[str | PathLike[str]] | None) -> Path | None:
    """The file a name stands for: in the first folder that has it, by stem, then by alias; case does not count.

    An alias stands for a stem, not for a file: a user's sheet of that stem answers to the aliases of the one it
    overrides.
    """
    wanted = name.strip().lower()
    stems: list[dict[str, Path]] = []
    for folder in search_path(kind, folders):
        files = sheet_files(folder)
        stems.append({stem.lower(): path for stem, path in files.items()})
        if wanted in stems[-1]:
            return stems[-1][wanted]
        for path in files.values():
            if wanted in (alias.lower() for alias in aliases_of(path)):
                stem = path.stem.lower()
                return next(known[stem] for known in stems if stem in known)
    return None


def resolve(kind: Kind, name: str, folders: Sequence[str | PathLike[str]] | None) -> Path:
    """`find`, or an `InputError` that names the nearest sheets."""
    path = find(kind, name, folders)
    if path is None:
        raise not_found(kind, name, names(kind, folders), folders)
    return path


def not_found(noun: str, name: str, known: Iterable[str], folders: Sequence[str | PathLike[str]] | None) -> InputError:
    """An `InputError` for a name without a sheet: what else it names, else the nearest names and where to add one."""
    if not name.strip():
        return InputError(f"{noun}: the name is empty; known: {', '.join(sorted(known))}")
    others = [kind for kind in KINDS if find(kind, name, folders)]
    if others:
        what = " and ".join(f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}" for kind in others)
        return InputError(f"no {noun} named {name!r}: {name} is {what}")
    text = str(unknown_name(noun, name, known))
    joint = " " if text.endswith("?") else "; "
    return InputError(f"{text}{joint}sheets of your own are found with --specs DIR or {ENVIRONMENT}")


def names(kind: Kind, folders: Sequence[str | PathLike[str]] | None) -> list[str]:
    """Ids of all sheets of a kind, sorted."""
    return sorted({stem for folder in search_path(kind, folders) for stem in sheet_files(folder)})


def kind_of(path: Path) -> Kind | None:
    """The kind that a sheet's folder says it is of, or None."""
    folder = path.absolute().parent
    for kind, (full, short) in FOLDERS.items():
        if folder.name in (short, Path(full).name):
            return kind
    return None
