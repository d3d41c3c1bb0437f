"""`roofline specs`: which sheets there are, what is in one with the source of each number, and whether they hold."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from roofline.cli import options as opt
from roofline.errors import InputError, unknown_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from roofline.specs.findings import Finding
    from roofline.specs.folders import Kind

app = typer.Typer(
    help="Sheets of hardware and models: list them, show one with its sources, check them.", no_args_is_help=True
)

_NAME = re.compile(r"^name:[ \t]*[\"']?(.*?)[\"']?[ \t]*$", re.MULTILINE)


@app.command("list")
def list_sheets(
    kind: Annotated[
        str | None,
        typer.Argument(help="accelerator, system, facility, efficiency, model, recipe or stack; default all."),
    ] = None,
    as_json: opt.Json = False,
    specs: opt.Specs = None,
) -> None:
    """List the sheets that can be named."""
    from roofline.cli.documents import SheetDocument, SheetsDocument
    from roofline.cli.output import print_cells, print_json
    from roofline.cli.sheets import sheets_of
    from roofline.specs import folders, list_specs

    sheets: list[SheetDocument] = []
    with sheets_of(specs):
        wanted = folders.KINDS if kind is None else [_kind(kind)]
        for each in wanted:
            for name in list_specs(each):
                path = folders.resolve(each, name, None)
                sheets.append(SheetDocument(kind=each, id=name, name=_name(path), file=str(path)))
    if as_json:
        print_json(SheetsDocument(sheets=sheets))
        return
    rows = [[sheet.kind, sheet.id, sheet.name] for sheet in sheets]
    print_cells(["kind", "id", "name"], rows, left=[True, True, True], title=f"{len(sheets)} sheets", prose={"name"})


@app.command("show")
def show_sheet(
    name: Annotated[str, typer.Argument(help="A name, an alias or the path of a sheet.")],
    kind: Annotated[
        str | None, typer.Option("--kind", help="Its kind, where several kinds have a sheet of that name.")
    ] = None,
    as_json: opt.Json = False,
    specs: opt.Specs = None,
) -> None:
    """Show one sheet: every field with its value, grade and source."""
    from roofline.cli.documents import SheetContentDocument
    from roofline.cli.output import print_cells, print_json
    from roofline.cli.sheets import sheets_of
    from roofline.specs.load import CLASSES

    with sheets_of(specs):
        found, path, others = _find(name, kind)
        sheet = CLASSES[found].load(path)
    if as_json:
        content = sheet.model_dump(mode="json")
        print_json(SheetContentDocument(sheet_kind=found, id=sheet.id, file=str(path), sheet=content))
        return
    rows = []
    refs: dict[str, int] = {}
    for field, value in _fields(sheet):
        number = isinstance(value, int | float) and not isinstance(value, bool)
        source = sheet.source_of(field) if number else None
        mark = f"[{refs.setdefault(source.ref, len(refs) + 1)}]" if source else ""
        rows.append([field, _shown(value), source.grade if source else "none" if number else "", mark])
    headers = ["field", "value", "grade", "source"]
    print_cells(
        headers,
        rows,
        left=[True, True, True, True],
        title=f"{found} {sheet.id}: {sheet.name}",
        prose={"field", "value"},
    )
    for ref, mark_number in refs.items():
        print(f"[{mark_number}] {ref}")
    also = f"there is also a sheet of this name for: {', '.join(others)} (--kind)" if others else ""
    print("\n".join(filter(None, [sheet.notes, str(path), also])))


@app.command("import")
def import_model(
    config: Annotated[
        str, typer.Argument(help="A config.json, a folder that has one, or org/name on the Hugging Face Hub.")
    ],
    name: Annotated[str, typer.Option("--id", help="Its id; default from the file's, folder's or Hub's name.")] = "",
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write it there (or into a folder) and not to stdout.")
    ] = None,
    source: Annotated[
        str, typer.Option("--source", help="Where its numbers come from, for `sources`; default the file.")
    ] = "",
) -> None:
    """Make a model sheet from a config.json of Hugging Face."""
    from roofline.specs import Model
    from roofline.specs.hf import sheet_text

    if out is not None and out.suffix in {".yaml", ".yml"}:
        if name and name != out.stem:
            raise InputError(f"--id {name}: a sheet's id is the stem of its file, here {out.stem}")
        name = out.stem
    model = Model.from_hf(config, id=name, ref=source)
    text = sheet_text(model)
    if out is None:
        print(text, end="")
        return
    path = out / f"{model.id}.yaml" if out.is_dir() else out
    if path.suffix not in {".yaml", ".yml"}:
        raise InputError(f"--out {out}: expected the name of a .yaml file or a folder that exists")
    if path.exists():
        raise InputError(f"--out {path}: exists already; choose another name or take it away")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    active = f", {model.matmul_active_params:,} active" if model.is_moe else ""
    print(f"{path}: {model.total_params:,} parameters{active}, recipe {', '.join(model.recipes)}")


@app.command("check")
def check_sheets(
    target: Annotated[
        str | None, typer.Argument(help="A sheet, a folder of sheets or a name; default all sheets.")
    ] = None,
    as_json: opt.Json = False,
    specs: opt.Specs = None,
) -> None:
    """Check sheets: wrong or missing fields, numbers without a source, doubtful values.

    Exit status 2 where one is wrong.
    """
    from roofline.cli.documents import CheckDocument, FindingDocument
    from roofline.cli.output import print_json
    from roofline.cli.sheets import sheets_of
    from roofline.specs.check import check

    with sheets_of(specs):
        findings = check(target)
        checked = _count(target)
    errors = sum(finding.severity == "error" for finding in findings)
    if as_json:
        listed = [FindingDocument.model_validate(finding.as_dict()) for finding in findings]
        print_json(CheckDocument(checked=checked, findings=listed))
    else:
        _print_findings(findings, checked, errors)
    if errors:
        raise typer.Exit(2)


def _print_findings(findings: list[Finding], checked: int, errors: int) -> None:
    for finding in findings:
        print(finding)
    doubts = len(findings) - errors
    print(f"{checked} sheet{'s' * (checked != 1)}: {errors} wrong, {doubts} doubtful")


def _count(target: str | None) -> int:
    from roofline.specs import list_specs
    from roofline.specs.folders import KINDS, SUFFIXES

    if target is None:
        return sum(len(list_specs(kind)) for kind in KINDS)
    path = Path(target).expanduser()
    return sum(file.suffix in SUFFIXES for file in path.rglob("*")) if path.is_dir() else 1


def _kind(word: str) -> Kind:
    from roofline.specs.folders import KINDS

    for kind in KINDS:
        if word.lower() in {kind, f"{kind}s"} or (kind == "facility" and word.lower() == "facilities"):
            return kind
    raise unknown_name("kind of sheet", word, KINDS)


def _find(name: str, kind: str | None) -> tuple[Kind, Path, list[str]]:
    """Kind and file of a name or path, and the other kinds that have a sheet of that name."""
    from roofline.specs import folders, list_specs
    from roofline.specs.hf import is_config
    from roofline.specs.load import is_name

    kinds = folders.KINDS if kind is None else [_kind(kind)]
    if not is_name(name):
        path = Path(name).expanduser()
        told = folders.kind_of(path) if kind is None else _kind(kind)
        told = "model" if told is None and is_config(path) else told
        if told is None:
            raise InputError(f"{name}: cannot tell what kind of sheet this is; add --kind")
        return told, path, []
    held = [(each, folders.find(each, name, None)) for each in kinds]
    found = [(each, place) for each, place in held if place is not None]
    if not found:
        raise unknown_name("sheet", name, [known for each in kinds for known in list_specs(each)])
    return *found[0], [each for each, _ in found[1:]]


def _fields(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Leaves of a sheet by dotted path; another sheet inside it is one leaf, its id."""
    from pydantic import BaseModel

    from roofline.specs.records import Sheet

    if isinstance(value, Sheet) and path:
        yield path, value.id
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            if path or name not in {"id", "name", "notes", "sources"}:
                yield from _fields(getattr(value, name), f"{path}.{name}" if path else name)
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _fields(inner, f"{path}.{key}")
    elif isinstance(value, list | tuple) and any(isinstance(item, BaseModel) for item in value):
        for index, item in enumerate(value):
            yield from _fields(item, f"{path}.{index}")
    elif value not in (None, "", ()):
        yield path, value


def _shown(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(_shown(item) for item in value)
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _name(path: Path) -> str:
    match = _NAME.search(path.read_text(encoding="utf-8", errors="replace"))
    return match[1] if match else ""
