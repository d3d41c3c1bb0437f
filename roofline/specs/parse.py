"""YAML text -> plain data, with line numbers found only when something is wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, SequenceNode

from roofline.specs.findings import Finding

MAX_DEPTH = 24
"""Nesting of a sheet is under ten; more is an alias that contains itself, or an accident."""


class NotYaml(Exception):
    """The text is not a sheet; `finding` says where and why."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(str(finding))
        self.finding = finding


def parse(text: str) -> dict[str, Any]:
    """The mapping that a sheet's text holds. Raises `NotYaml`."""
    try:
        data = YAML(typ="safe").load(text)
    except MarkedYAMLError as error:
        raise NotYaml(_broken(error)) from None
    except (YAMLError, ValueError) as error:
        raise NotYaml(Finding(f"not YAML: {' '.join(str(error).split())}", line=1)) from None
    except RecursionError:
        raise NotYaml(Finding("nested too deeply for a sheet", line=1)) from None
    if not isinstance(data, dict):
        what = "nothing" if data is None else f"a {type(data).__name__}"
        raise NotYaml(Finding(f"expected fields (name: value), found {what}", line=1))
    if _depth(data, 0) > MAX_DEPTH:
        raise NotYaml(Finding("nested too deeply for a sheet: an alias that contains itself?", line=1))
    return data


def _broken(error: MarkedYAMLError) -> Finding:
    mark = error.problem_mark or error.context_mark
    problem = " ".join((error.problem or error.context or "not YAML").split())
    hint = ""
    if "tab" in problem.lower() or "\\t" in problem:
        hint = "indent with spaces"
    elif "duplicate key" in problem:
        problem = problem.partition(" with value")[0]
        hint = "the field stands twice"
    elif "mapping values are not allowed" in problem:
        hint = "a colon inside text needs quotes around the text"
    elif "expected" in problem and ("}" in problem or "]" in problem or "flow" in str(error.context)):
        hint = "a comma or a closing bracket is missing"
    return Finding(f"broken YAML: {problem}", hint=hint, line=mark.line + 1 if mark else 1)


def _depth(data: Any, level: int) -> int:
    if level > MAX_DEPTH:
        return level
    inner = data.values() if isinstance(data, Mapping) else data if isinstance(data, list) else ()
    return max((_depth(value, level + 1) for value in inner), default=level)


class Positions:
    """Lines of the fields of a sheet. Parses the text again, so make one only to report a mistake."""

    def __init__(self, text: str) -> None:
        yaml = YAML(typ="safe", pure=True)
        yaml.allow_duplicate_keys = True
        try:
            self._root: Node | None = yaml.compose(text)
        except YAMLError:
            self._root = None

    def line(self, path: Sequence[str | int]) -> int:
        """1-based line of the field at a path, or of the nearest parent that exists; at least 1."""
        node, line, start = self._root, 1, 0
        while start < len(path):
            for end in range(len(path), start, -1):  # keys of `sources` hold dots, so the longest key wins
                child, found = _child(node, ".".join(str(part) for part in path[start:end]))
                if child is not None:
                    node, line, start = child, found, end
                    break
            else:
                break
        return line


def _child(node: Node | None, part: str) -> tuple[Node | None, int]:
    if isinstance(node, MappingNode):
        for key, value in node.value:
            if str(key.value) == part:
                return value, key.start_mark.line + 1
    if isinstance(node, SequenceNode) and part.isdecimal() and int(part) < len(node.value):
        item = node.value[int(part)]
        return item, item.start_mark.line + 1
    return None, 1
