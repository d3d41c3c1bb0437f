"""Workloads by name: typical lengths, each with its origin and grade."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from roofline.specs import Source


@dataclass(frozen=True)
class Preset:
    """Lengths under a name, as keywords of `Workload`, and where they come from."""

    name: str
    lengths: Mapping[str, Any]
    source: Source


def _benchmark(name: str, isl: int, osl: int, shape: str) -> Preset:
    ref = f"lengths {shape} of SemiAnalysis InferenceX; that they stand for this use is a rule of thumb"
    return Preset(name, {"isl": isl, "osl": osl}, Source(ref=ref, grade="estimated"))


def _guess(name: str, ref: str, **lengths: Any) -> Preset:
    return Preset(name, lengths, Source(ref=f"rule of thumb, not measured: {ref}", grade="estimated"))


_ALL = (
    _benchmark("chat", 1024, 1024, "1k/1k"),
    _benchmark("summarise", 8192, 1024, "8k/1k"),
    _benchmark("reasoning", 1024, 8192, "1k/8k"),
    _guess(
        "code",
        "files around the cursor in, a few lines out, both spread widely",
        isl={"mean": 2048.0, "cv": 1.0},
        osl={"mean": 64.0, "cv": 1.5},
    ),
    _guess(
        "rag",
        "a question with several retrieved passages in, a short answer out",
        isl={"mean": 4096.0, "cv": 0.5},
        osl={"mean": 256.0, "cv": 0.8},
    ),
    _guess(
        "agent",
        "a long history that grows by a tool's answer at each turn, most of it in the prefix cache",
        isl={"mean": 32768.0, "cv": 0.8},
        osl={"mean": 512.0, "cv": 1.2},
        cached_share=0.9,
    ),
)

PRESETS: Mapping[str, Preset] = MappingProxyType({preset.name: preset for preset in _ALL})
"""By name."""
