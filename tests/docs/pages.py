"""What tests read out of a page: fenced blocks, marked tables and lines of arithmetic."""

from __future__ import annotations

import ast
import math
import operator
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"

_FENCE = re.compile(r"^```(?P<info>[^\n`]*)\n(?P<text>.*?)^```[ \t]*$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """One fenced block of a page."""

    page: Path
    line: int  # of its fence
    info: str  # what follows the opening fence
    text: str

    @property
    def language(self) -> str:
        """First word after the fence, or nothing."""
        return self.info.split()[0] if self.info.split() else ""

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


def pages() -> list[Path]:
    """The pages whose blocks are tested."""
    return [ROOT / "README.md", *sorted(DOCS.glob("*.md")), *sorted(ROOT.glob("*_specs/README.md"))]


def blocks(page: Path, *languages: str) -> list[Block]:
    """Fenced blocks of a page, all or those of some languages."""
    text = page.read_text(encoding="utf-8")
    found = []
    for match in _FENCE.finditer(text):
        block = Block(page, text.count("\n", 0, match.start()) + 1, match["info"].strip(), match["text"])
        if not languages or block.language in languages:
            found.append(block)
    return found


def table(page: Path, mark: str) -> list[list[str]]:
    """Cells of the rows, without the header, of the table below `<!-- mark -->`."""
    text = page.read_text(encoding="utf-8")
    sign = f"<!-- {mark} -->\n"
    assert text.count(sign) == 1, f"{page.name}: {mark!r} marks {text.count(sign)} tables"
    lines = text[text.index(sign) + len(sign) :].splitlines()
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        rows.append([cell.strip().strip("`") for cell in line.strip("|").split("|")])
    return rows[2:]


def half_digit(printed: str) -> float:
    """Half a unit of the last digit printed: how far a rounded number may be from what it rounds."""
    mantissa, _, exponent = printed.lower().partition("e")
    decimals = len(mantissa.partition(".")[2])
    return 0.5 * 10.0 ** (int(exponent or 0) - decimals)


def agrees(printed: str, value: float) -> bool:
    """Whether `printed` is `value`, rounded. A tie may have been rounded either way."""
    return abs(float(printed) - value) <= half_digit(printed) * (1 + 1e-6) + 1e-12 * abs(value)


_BINARY: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}
_CALLS: dict[str, Callable[..., float]] = {"sqrt": math.sqrt, "max": max, "min": min}


def arithmetic(expression: str) -> float:
    """Value of an expression of numbers, + - * / **, sqrt, max and min. Raises ValueError for anything else."""

    def value(node: ast.expr) -> float:
        match node:
            case ast.Constant(value=int() | float() as number):
                return number
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
                return _BINARY[type(op)](value(left), value(right))
            case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in _CALLS:
                return _CALLS[name](*map(value, arguments))
        raise ValueError(f"not arithmetic: {expression}")

    return value(ast.parse(expression.strip(), mode="eval").body)


@dataclass(frozen=True)
class Sum:
    """One line `what: arithmetic = result unit`."""

    where: str
    expression: str
    result: str  # as printed


def sums(page: Path) -> Iterator[Sum]:
    """Lines of arithmetic in the `calc` blocks of a page."""
    for block in blocks(page, "calc"):
        for number, line in enumerate(block.text.splitlines(), start=block.line + 1):
            if line.strip():
                what, _, rest = line.rpartition(": ")
                expression, equals, result = rest.rpartition(" = ")
                assert what, f"{page.name}:{number}: expected `what: arithmetic = result unit`"
                assert equals, f"{page.name}:{number}: no result"
                yield Sum(f"{page.name}:{number}", expression, result.split()[0])
