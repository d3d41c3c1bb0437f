"""Number formats: what an element costs in memory and which arithmetic it runs in. The one place for these facts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Format = Literal["fp32", "bf16", "fp16", "mxfp8", "fp8_block", "fp8", "int8", "nvfp4", "mxfp4", "int4_g32", "int4"]
MathType = Literal["fp32", "tf32", "bf16", "fp16", "fp8", "int8", "fp6", "fp4"]


@dataclass(frozen=True, slots=True)
class NumberFormat:
    """One number format.

    weight_bytes, activation_bytes : float
        Bytes per element [B], block scales included.
    math : MathType
        Arithmetic in which two operands of this format are multiplied.
    bits : int
        Width of the element itself, without scales: what "wider" compares first.
    """

    weight_bytes: float
    activation_bytes: float
    math: MathType
    bits: int


FORMATS: dict[Format, NumberFormat] = {
    # widest first; between formats of equal width the earlier counts as the wider, so that the order is total
    "fp32": NumberFormat(4.0, 4.0, "fp32", 32),
    "bf16": NumberFormat(2.0, 2.0, "bf16", 16),
    "fp16": NumberFormat(2.0, 2.0, "fp16", 16),
    "mxfp8": NumberFormat(1 + 1 / 32, 1 + 1 / 32, "fp8", 8),  # an 8-bit scale per 32 elements
    "fp8_block": NumberFormat(1 + 4 / 128**2, 1 + 4 / 128, "fp8", 8),  # an fp32 scale per 128x128 or 1x128
    "fp8": NumberFormat(1.0, 1.0, "fp8", 8),  # one scale per tensor
    "int8": NumberFormat(1.0, 1.0, "int8", 8),
    "nvfp4": NumberFormat(0.5 + 1 / 16, 0.5 + 1 / 16, "fp4", 4),  # an 8-bit scale per 16 elements
    "mxfp4": NumberFormat(0.5 + 1 / 32, 0.5 + 1 / 32, "fp4", 4),  # an 8-bit scale per 32 elements
    "int4_g32": NumberFormat(0.5 + 2 / 32, 0.5 + 2 / 32, "int8", 4),  # a bf16 scale per 32
    "int4": NumberFormat(
        0.5 + 2 / 128, 0.5 + 2 / 128, "int8", 4
    ),  # a bf16 scale per 128; no int4 arithmetic is assumed
}

_WIDTH_ORDER = {name: rank for rank, name in enumerate(FORMATS)}

MATH_BITS: dict[MathType, int] = {
    "fp32": 32,
    "tf32": 19,
    "bf16": 16,
    "fp16": 16,
    "fp8": 8,
    "int8": 8,
    "fp6": 6,
    "fp4": 4,
}
"""Bits an operand of each math type has: a type can stand in for any that is narrower."""


def weight_bytes(name: Format) -> float:
    """Bytes per weight or KV-cache element [B], block scales included."""
    return FORMATS[name].weight_bytes


def activation_bytes(name: Format) -> float:
    """Bytes per activation element [B], block scales included."""
    return FORMATS[name].activation_bytes


def wider(a: Format, b: Format) -> Format:
    """The wider of two formats: more bits, then the earlier of `FORMATS`."""
    return a if _WIDTH_ORDER[a] <= _WIDTH_ORDER[b] else b


def math_type(weights: Format, activations: Format) -> MathType:
    """Arithmetic of a product: that of the wider of its two operands."""
    return FORMATS[wider(weights, activations)].math


def stand_ins(native: MathType) -> tuple[MathType, ...]:
    """Math types wider than `native`, narrowest first: what an accelerator without it can compute in."""
    found = [name for name in MATH_BITS if MATH_BITS[name] > MATH_BITS[native]]
    return tuple(sorted(found, key=lambda name: MATH_BITS[name]))


FORMAT_NAMES: tuple[str, ...] = get_args(Format)
MATH_NAMES: tuple[str, ...] = get_args(MathType)
