"""What every sheet is: an immutable validated record that can be loaded, changed and traced to its sources."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from os import PathLike
from typing import Annotated, Any, ClassVar, Literal, NoReturn, Self, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, ValidationError

from roofline import provenance
from roofline.specs import findings

Grade = Literal["published", "measured", "estimated"]
SheetInput = str | PathLike[str] | Mapping[str, Any]
Folders = Sequence[str | PathLike[str]] | None

K = TypeVar("K")
V = TypeVar("V")


class FrozenMap(dict[K, V]):
    """A dict that refuses change: sheets are shared between callers."""

    def _refuse(self, *_args: object, **_kwargs: object) -> NoReturn:
        raise TypeError("sheets are immutable; use .replace()")

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __reduce__(self) -> tuple[type[FrozenMap[K, V]], tuple[dict[K, V]]]:
        return type(self), (dict(self),)


def _text_keys(value: Any) -> Any:
    """YAML reads a bare 2026 as a number; as a key it is a name."""
    if isinstance(value, dict):
        return {str(k) if isinstance(k, int) and not isinstance(k, bool) else k: v for k, v in value.items()}
    return value


Frozen = AfterValidator(FrozenMap)
TextKeys = BeforeValidator(_text_keys)


class Record(BaseModel):
    """A part of a sheet: frozen, and closed to fields it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=False)

    default_sources: ClassVar[Mapping[str, Source]] = {}
    """Sources of the numbers that a rule fills in where a sheet gives none, by field."""

    _hash: int | None = PrivateAttr(default=None)

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        return all(self.__dict__[name] == other.__dict__[name] for name in type(self).model_fields)

    def __hash__(self) -> int:
        if self._hash is None:  # from a digest, so that it holds in the process that unpickles it
            self._hash = int(provenance.digest(canonical_json(self)), 16)
        return self._hash


class Source(Record):
    """Where a number comes from and how far to trust it."""

    ref: Annotated[str, Field(min_length=3, description="the public source, precise enough to find the number again")]
    grade: Annotated[Grade, Field(description="published, measured or estimated")]
    note: str = ""


WHAT_IF = Source(ref="changed by replace()", grade="estimated")
"""Source of what `Sheet.replace` changed."""


class Sheet(Record):
    """A YAML sheet. `kind` is its singular name; `id` its file's stem."""

    kind_of_sheet: ClassVar[str]

    id: Annotated[str, Field(description="the file's stem; leave it out in a file")] = ""
    name: Annotated[str, Field(min_length=1)]
    aliases: tuple[str, ...] = ()
    notes: str = ""
    sources: Annotated[
        dict[str, Source],
        TextKeys,
        Frozen,
        Field(
            default_factory=FrozenMap, description="dotted field path -> its source; a parent path covers its children"
        ),
    ]

    _digest: str = PrivateAttr(default="")

    @classmethod
    def load(cls, source: SheetInput | Self, *, folders: Folders = None) -> Self:
        """The sheet of a name, a path or a mapping; a sheet is returned as it is.

        folders : where to look before the built-in sheets; default: those of ROOFLINE_SPECS.
        Raises `roofline.errors.InputError` where there is no such sheet or it is not valid.
        """
        from roofline.specs import load  # load.py needs these classes first

        return load.load_sheet(cls, source, folders=folders)

    def replace(self, **changes: Any) -> Self:
        """This sheet with fields changed and everything validated again.

        A double underscore descends: `System.replace(scale_up__domain=8, accelerator__power__tdp_w=600)`.
        A new name without a new id makes the id from the name, so that both sheets can stand on one axis.
        The sources of changed fields become a what-if of grade `estimated`.
        Raises `roofline.errors.InputError` for an unknown field or a value out of range.
        """
        return _apply(self, _tree(changes), f"{type(self).__name__}.replace")

    def source_of(self, path: str) -> Source | None:
        """The source of a dotted field path: its own, else that of the nearest parent that has one.

        A number that the sheet leaves to a rule has that rule as its source, of grade `estimated`, whatever a parent
        says. None where the sheet gives no source.
        """
        parts = path.split(".")
        rule = _rule_of(self, parts)
        if rule is not None:
            return rule
        for end in range(len(parts), 0, -1):
            found = self.sources.get(".".join(parts[:end]))
            if found is not None:
                return found
        return None

    @property
    def digest(self) -> str:
        """Digest of the file it was read from; of its canonical JSON where it was made or changed in memory."""
        return self._digest or provenance.digest(canonical_json(self))

    @property
    def digests(self) -> dict[str, str]:
        """`kind/id` -> digest of this sheet and of every sheet it refers to."""
        found = {f"{self.kind_of_sheet}/{self.id}": self.digest}
        for value in self.__dict__.values():
            if isinstance(value, Sheet):
                found.update(value.digests)
        return found


def _rule_of(sheet: Sheet, parts: Sequence[str]) -> Source | None:
    """The source of a number that a rule filled in, or None."""
    owner: Any = sheet
    for part in parts[:-1]:
        owner = owner.__dict__.get(part) if isinstance(owner, Record) else None
    if not isinstance(owner, Record) or parts[-1] in owner.model_fields_set:
        return None
    return owner.default_sources.get(parts[-1])


def canonical_json(record: Record) -> str:
    """One string for equal records, whatever the order of their mappings."""
    return json.dumps(record.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))


def _tree(changes: Mapping[str, Any]) -> dict[str, Any]:
    """{"a__b": 1, "a__c": 2} -> {"a": {"b": _Leaf(1), "c": _Leaf(2)}}."""
    tree: dict[str, Any] = {}
    for path, value in changes.items():
        node = tree
        *parents, last = path.split("__")
        for parent in parents:
            node = node.setdefault(parent, {})
            if isinstance(node, _Leaf):
                raise findings.input_error("replace", [f"{path}: also changed as a whole in the same call"])
        node[last] = _Leaf(value)
    return tree


class _Leaf:
    """A new value, told apart from a branch."""

    def __init__(self, value: Any) -> None:
        is_scalar = hasattr(value, "item") and getattr(value, "ndim", None) == 0
        self.value = value.item() if is_scalar else value  # numpy scalars become Python numbers


R = TypeVar("R", bound=Record)


def _apply(record: R, tree: dict[str, Any], where: str) -> R:
    given = {name: record.__dict__[name] for name in record.model_fields_set}
    for name, change in tree.items():
        if name not in type(record).model_fields:
            raise findings.input_error(where, [findings.unknown_field(name, type(record).model_fields)])
        given[name] = _changed(record.__dict__[name], change, f"{where} {name}")
    if isinstance(record, Sheet):
        paths = [path for path in _paths(record, tree) if path.split(".")[0] not in ("sources", "id", "name", "notes")]
        given["sources"] = {**given.get("sources", {}), **dict.fromkeys(paths, WHAT_IF)}
    if isinstance(record, Sheet):
        if "name" in tree and "id" not in tree:  # what is renamed is another sheet
            given["id"] = "-".join(str(given["name"]).lower().split())
        given = _with_references(type(record), given, where)
    try:
        return type(record).model_validate(given)
    except ValidationError as error:
        raise findings.input_error(where, findings.problems(error, type(record))) from None


def _with_references(cls: type[Sheet], given: dict[str, Any], where: str) -> dict[str, Any]:
    from roofline.specs import load  # load.py needs these classes first

    resolved, broken = load.resolve_references(cls, given, None)
    if broken:
        raise findings.input_error(where, broken)
    return resolved


def _changed(old: Any, change: Any, where: str) -> Any:
    if isinstance(change, _Leaf):
        return change.value
    if isinstance(old, Record):
        return _apply(old, change, where)
    if isinstance(old, Mapping):
        return {**old, **{key: _changed(old.get(key), new, f"{where}.{key}") for key, new in change.items()}}
    if isinstance(old, tuple):
        items = list(old)
        for key, new in change.items():
            if not key.isdecimal() or int(key) >= len(items):
                raise findings.input_error(where, [f"{key}: expected an index below {len(items)}"])
            items[int(key)] = _changed(items[int(key)], new, f"{where}.{key}")
        return tuple(items)
    if old is None:
        return {key: _changed(None, new, f"{where}.{key}") for key, new in change.items()}
    raise findings.input_error(where, [f"has no fields; its value is {findings.shown(old)}"])


def _paths(record: Record, tree: dict[str, Any]) -> Iterator[str]:
    """Dotted paths of changed fields that belong to this sheet, not to one it refers to."""
    for name, change in tree.items():
        old = record.__dict__.get(name)
        if isinstance(change, _Leaf) or not isinstance(old, Record):
            if isinstance(change, _Leaf):
                yield name
            else:
                yield from (f"{name}.{path}" for path in _plain_paths(change))
        elif not isinstance(old, Sheet):
            yield from (f"{name}.{path}" for path in _paths(old, change))


def _plain_paths(tree: dict[str, Any]) -> Iterator[str]:
    for name, change in tree.items():
        if isinstance(change, _Leaf):
            yield name
        else:
            yield from (f"{name}.{path}" for path in _plain_paths(change))
