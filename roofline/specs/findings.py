"""What is wrong with a sheet, said so that it can be mended: place, field, value, expected range, likely slip."""

from __future__ import annotations

import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from roofline.errors import InputError

Severity = Literal["error", "warning"]
Loc = tuple[str | int, ...]
_NO_VALUE = object()


class DoubtfulSheet(UserWarning):
    """A user's sheet was loaded that holds a doubtful number: its rates will be used as they stand."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing wrong (`error`) or doubtful (`warning`) in a sheet."""

    problem: str
    field: str = ""
    value: str = ""
    hint: str = ""
    file: str = ""
    line: int = 0
    severity: Severity = "error"

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        what = f"{self.field} = {self.value}" if self.field and self.value else self.field or self.value
        text = ": ".join(part for part in (place, what, self.problem) if part)
        if self.severity == "warning":
            text = f"{text} [doubtful]"
        return f"{text}; {self.hint}" if self.hint else text

    def at(self, file: str, line: int) -> Finding:
        """The same, placed."""
        return replace(self, file=file, line=line)

    def as_dict(self) -> dict[str, str | int]:
        """Field by field, for JSON."""
        return {name: getattr(self, name) for name in self.__slots__}


def input_error(where: str, findings: Iterable[Finding | str]) -> InputError:
    """One `InputError` that says everything at once."""
    lines = [str(finding) for finding in findings]
    prefix = f"{where}: " if where else ""
    if len(lines) == 1:
        return InputError(f"{prefix}{lines[0]}")
    return InputError("\n".join([f"{prefix}{len(lines)} mistakes", *(f"  {line}" for line in lines)]))


def shown(value: Any) -> str:
    """A value as a user would recognise it, cut to a line."""
    if isinstance(value, Mapping):
        text = "{" + ", ".join(str(key) for key in value) + "}"
    elif isinstance(value, bool):
        text = str(value).lower()
    else:
        text = f"{value:.12g}" if isinstance(value, float) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def unknown_field(name: str, known: Iterable[str]) -> str:
    """What to say of a field that does not exist."""
    return f"{name}: unknown field; {nearest(name, known)}"


def nearest(name: str, known: Iterable[str]) -> str:
    """`did you mean ...?`, or the choices where nothing is near."""
    choices = list(known)
    near = get_close_matches(name, choices, n=2, cutoff=0.5)
    near = near or [choice for choice in choices if choice in name or name in choice][:2]
    return f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(choices)}"


def problems(error: ValidationError, cls: type[BaseModel], data: Any = None) -> list[Finding]:
    """The findings of a validation, `field` a dotted path into `data`."""
    found = []
    for item in error.errors(include_url=False):
        if item["type"] == "default_factory_not_called" or (item["type"] == "too_short" and item["input"]):
            continue  # follows from a mistake that is reported itself
        loc = data_path(item["loc"], data) if data is not None else item["loc"]
        context = item.get("ctx", {})
        finding = Finding(item["msg"], dotted(loc), shown(item["input"]))
        match item["type"]:
            case "extra_forbidden":
                owner = record_at(cls, item["loc"][:-1])
                known = [name for name in owner.model_fields if name != "id"] if owner else []
                finding = replace(finding, problem="unknown field", hint=nearest(str(loc[-1]), known))
            case "missing":
                finding = replace(finding, problem="missing", value="", hint=_description(cls, item["loc"]))
            case "literal_error":
                choices = [choice.strip(" '") for choice in context["expected"].replace(" or ", ", ").split(",")]
                hint = nearest(str(item["input"]), choices) if isinstance(item["input"], str) else ""
                hint = hint if hint.startswith("did") else ""
                finding = replace(finding, problem=f"expected one of {', '.join(choices)}", hint=hint)
            case "quantity":
                finding = replace(finding, hint=context["hint"])
            case "value_error":
                finding = replace(finding, problem=str(context["error"]), value=_leaf(item["input"]))
            case "model_type" | "model_attributes_type" | "dict_type":
                finding = replace(finding, problem="expected fields (name: value)")
            case "union_tag_not_found" | "union_tag_invalid":
                kinds = context.get("expected_tags", "").replace("'", "")
                problem = f"expected one of {kinds}" if kinds else "missing: it says which fields the rest has"
                finding = replace(finding, field=dotted((*loc, "kind")), problem=problem, value="")
            case "tuple_type":
                finding = replace(finding, problem="expected a list")
            case "bool_type":
                finding = replace(finding, problem="expected true or false")
            case "string_type":
                finding = replace(finding, problem="expected text", hint="put it in quotes?")
            case _:
                pass
        found.append(finding)
    return found


def _leaf(value: Any) -> str:
    return "" if isinstance(value, Mapping | Sequence) and not isinstance(value, str) else shown(value)


def dotted(loc: Sequence[str | int]) -> str:
    """A location as a dotted path."""
    return ".".join(str(part) for part in loc)


def data_path(loc: Sequence[str | int], data: Any) -> Loc:
    """A pydantic location without the tags of unions, which are not in the sheet."""
    path: list[str | int] = []
    for position, part in enumerate(loc):
        is_list = isinstance(data, Sequence) and not isinstance(data, str)
        if part in data if isinstance(data, Mapping) else is_list and isinstance(part, int) and part < len(data):
            data = data[part]
        elif not isinstance(data, Mapping) or position < len(loc) - 1:
            continue
        path.append(part)
    return tuple(path)


def record_at(cls: type[BaseModel], loc: Sequence[str | int]) -> type[BaseModel] | None:
    """The record class whose field `loc` is, or None."""
    here: list[type[BaseModel]] = [cls]
    inside: Any = None
    for part in loc:
        annotations: list[Any] = []
        if inside is not None and isinstance(part, int):
            annotations = [inside]
        else:
            for owner in here:
                if isinstance(part, str) and part in owner.model_fields:
                    annotations.append(owner.model_fields[part].annotation)
        if not annotations:
            tagged = [owner for owner in here if _tag(owner) == part]
            if tagged:
                here = tagged
                continue
            if not isinstance(part, str):
                return None
            continue  # a key of a mapping
        inside = annotations[0]
        here = [found for annotation in annotations for found in _records(annotation)]
    return here[0] if here else None


def _tag(owner: type[BaseModel]) -> str | None:
    field = owner.model_fields.get("kind")
    args = get_args(field.annotation) if field else ()
    return args[0] if len(args) == 1 else None


def _records(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) in (Union, types.UnionType, Annotated, tuple, list, dict):
        for argument in get_args(annotation):
            yield from _records(argument)


def _description(cls: type[BaseModel], loc: Sequence[str | int]) -> str:
    owner = record_at(cls, loc[:-1])
    field = owner.model_fields.get(str(loc[-1])) if owner else None
    return field.description or "" if field else ""
