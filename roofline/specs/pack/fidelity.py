"""The fidelities a result can have."""

from __future__ import annotations

from typing import Literal, get_args

Fidelity = Literal["ideal", "kernel"]
FIDELITIES: tuple[str, ...] = get_args(Fidelity)
