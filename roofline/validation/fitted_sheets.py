"""Sheets with fitted constants: a folder that stands before the shipped sheets and predicts what the fit predicts.

Each sheet is the one that was fitted from, with numbers and their sources replaced: one a stack, one an efficiency
sheet of the accelerators in the data, one an accelerator whose draw was fitted.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from roofline.errors import InputError
from roofline.specs import folders as places
from roofline.specs.stack import Stack
from roofline.validation.names import family_of
from roofline.validation.tuned import Constant

if TYPE_CHECKING:
    from collections.abc import Sequence

    from roofline.specs.records import Sheet
    from roofline.validation.calibrate import Calibration, Fitted
    from roofline.validation.power import PowerFit

WIDTH = 112
"""Characters of a line of notes."""

_SCALES = {"step_s": -3, "ttft_s": -3, "sequence_s": -6, "fixed_s": -6}
"""Power of ten that sheets write each time with."""


def check_folder(folder: Path) -> None:
    """Raises InputError where no folder of sheets can be written there: said before time is spent on a fit."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"--out {folder}: is a file; give a folder")
    if folder.is_dir() and any(folder.iterdir()):
        raise InputError(f"--out {folder}: is not empty; give a new folder, so that no sheet of another fit stays")
    parent = folder.absolute().parent
    if not parent.is_dir():
        raise InputError(f"--out {folder}: the folder {parent} does not exist; make it first")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise InputError(f"--out {folder}: the folder {parent} cannot be written to")


def write(found: Calibration, folder: Path, power: Sequence[PowerFit] = ()) -> list[Path]:
    """Write the sheets of a calibration and return their files, sorted: all of them or none.

    folder : new or empty; `stacks`, `efficiency` and `accelerators` are made in it.   power : fits of draw.
    Raises InputError where it cannot be written, or an efficiency is no sheet of its own.
    """
    check_folder(folder)
    texts = {**_stacks(found), **_efficiencies(found), **_accelerators(found, power)}
    made = Path(tempfile.mkdtemp(prefix=".sheets-", dir=folder.absolute().parent))
    try:
        for name, text in texts.items():
            (made / name).parent.mkdir(exist_ok=True)
            (made / name).write_text(text, encoding="utf-8")
        made.chmod(0o755)
        made.replace(folder)
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise
    return sorted(folder / name for name in texts)


def _stacks(found: Calibration) -> dict[str, str]:
    served = {Stack.load(case.stack).id for case in found.cases}
    texts = {}
    for name in sorted(served):
        groups = name, family_of(name)
        mine = [(c, parts) for c, parts in _named(found) if parts.kind == "stack" and parts.group in groups]
        if not mine:
            continue
        sheet, path = Stack.load(name), places.resolve("stack", name, None)
        data = _parsed(path)
        for constant, parts in mine:
            before = sheet.source_of(parts.field)
            grade = "measured" if constant.identified or before is None else before.grade
            ref = f"fit to {_data(found)}: {_interval(constant)}{_doubt(constant)}"
            _put(data, parts.field, number(constant.value, parts.field))
            _cite(data, parts.field, ref, grade)
        fitted = ", ".join(parts.field for _, parts in mine)
        data["notes"] = _notes(
            f"Fitted to {_data(found)}: {fitted}. Everything else as in the sheet it was fitted from."
        )
        texts[f"stacks/{name}.yaml"] = _text(data)
    return texts


def _efficiencies(found: Calibration) -> dict[str, str]:
    factors = [(c, parts) for c, parts in _named(found) if parts.kind != "stack"]
    sheets = {}
    for case in found.cases:
        sheets[case.system.accelerator.efficiency.id] = case.system.accelerator.efficiency, case.system.accelerator
    texts = {}
    for name, (sheet, accelerator) in sorted(sheets.items()):
        path = places.find("efficiency", name, None)
        if path is None:
            raise InputError(f"{accelerator.id}: its efficiency is no sheet of its own; give it a file to be fitted")
        data = _parsed(path)
        for kind in dict.fromkeys(parts.kind for _, parts in factors):
            for entry in data["operations"][kind]:
                for field in ("eta_compute", "eta_memory", "fixed_s"):
                    # Those of all formats first, as they are fitted: a share is held to 1 after each.
                    mine = [c for c, p in factors if (p.kind, p.field) == (kind, field) and p.recipe in ("", entry)]
                    _multiply(data, sheet, f"operations.{kind}.{entry}.{field}", mine, _data(found))
        if factors:
            more = f"Factors on numbers of {', '.join(sorted({p.kind for _, p in factors}))} fitted to {_data(found)}."
            data["notes"] = _notes(f"{sheet.notes.strip()} {more}".strip())
            texts[f"efficiency/{name}.yaml"] = _text(data)
    return texts


def _accelerators(found: Calibration, power: Sequence[PowerFit]) -> dict[str, str]:
    texts = {}
    for fit in power:
        for name in fit.accelerators:
            data = _parsed(places.resolve("accelerator", name, None))
            for constant in fit.constants:
                field = constant.name.rsplit(".", 1)[1]
                _put(data["power"], field, number(constant.value, field))
                ref = f"fit to {_table(found, fit.rows)}: {_interval(constant)}{_doubt(constant)}"
                _cite(data, f"power.{field}", ref, "measured" if constant.identified else "estimated")
            texts[f"accelerators/{name}.yaml"] = _text(data)
    return texts


def _multiply(data: Any, sheet: Sheet, path: str, factors: list[Fitted], table: str) -> None:
    """A number times its factors, the source telling which."""
    if not factors:
        return
    *parents, field = path.split(".")
    owner, share = data, field.startswith("eta")
    for part in parents:
        owner = owner[part]
    value = float(owner[field])
    for factor in factors:
        value = min(value * factor.value, 1.0) if share else value * factor.value
    before = sheet.source_of(path)
    times = " and ".join(f"{_interval(factor)}{_doubt(factor)}" for factor in factors)
    capped = ", at most 1" if share and value == 1.0 else ""
    ref = f"{before.ref if before else 'no source'}; times {times}{capped}: fit to {table}"
    sure = before is not None and before.grade == "measured" and all(factor.identified for factor in factors)
    _put(owner, field, number(value, field))
    _cite(data, path, ref, "measured" if sure else "estimated")


def number(value: float, field: str) -> str:
    """A number as sheets write it: times in ms or us, by their field."""
    power = _SCALES.get(field)
    if power is None:
        return f"{value:.10g}"
    digits = f"{value * 10.0**-power:.10g}"
    return f"{digits if '.' in digits else f'{digits}.0'}e{power}"


def _named(found: Calibration) -> list[tuple[Fitted, Constant]]:
    """Constants with their names taken apart, those of all formats first."""
    held = [(constant, Constant.of(constant.name, constant.value)) for constant in found.constants]
    return sorted(held, key=lambda item: bool(item[1].recipe))


def _data(found: Calibration) -> str:
    return _table(found, len(found.points))


def _table(found: Calibration, rows: int) -> str:
    return f"{found.measured.path.name} (sha256 {found.measured.digest}, {rows} rows)"


def _interval(constant: Fitted) -> str:
    unit = f" {constant.unit}" if constant.unit else ""
    return f"{constant.value:.4g}{unit} (90 % interval {constant.low:.3g} to {constant.high:.3g})"


def _doubt(constant: Fitted) -> str:
    return "" if constant.identified else ", not identified by these data"


def _parsed(path: Path) -> Any:
    return _yaml().load(path.read_text(encoding="utf-8"))


def _yaml() -> Any:
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 1 << 16  # lines stay as they are
    return yaml


def _text(data: Any) -> str:
    from io import StringIO

    text = StringIO()
    _yaml().dump(data, text)
    return text.getvalue()


def _put(owner: Any, field: str, text: str) -> None:
    """A number with the digits and the exponent of its text."""
    owner[field] = _yaml().load(text)


def _cite(data: Any, path: str, ref: str, grade: str) -> None:
    """The source of a number, beside that of its parent where it has none yet."""
    from ruamel.yaml.comments import CommentedMap
    from ruamel.yaml.scalarstring import DoubleQuotedScalarString

    entry = CommentedMap(ref=DoubleQuotedScalarString(ref), grade=grade)
    entry.fa.set_flow_style()
    sources: Any = data.setdefault("sources", CommentedMap())
    if path in sources:
        sources[path] = entry
        return
    keys = list(sources)
    parents = [i for i, key in enumerate(keys) if path.startswith(f"{key}.")]
    sources.insert(1 + max(parents, default=len(keys) - 1), path, entry)


def _notes(text: str) -> Any:
    """A folded text, its lines no longer than `WIDTH`."""
    import textwrap

    from ruamel.yaml.scalarstring import FoldedScalarString

    lines = textwrap.wrap(text, WIDTH, break_long_words=False, break_on_hyphens=False)
    found = FoldedScalarString(" ".join(lines))
    places_of: list[int] = []
    for line in lines[:-1]:
        places_of.append((places_of[-1] + 1 if places_of else 0) + len(line))
    found.fold_pos = places_of
    return found
