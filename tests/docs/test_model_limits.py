"""docs/model-limits.md says what the code does: a word added to one and not to the other fails here."""

from __future__ import annotations

from typing import get_args

import pytest

import roofline as rl
from roofline.layout import Attention, Topology
from roofline.rack.energy import BASES, BOUNDARIES
from roofline.specs import list_specs
from roofline.specs.pack import FIDELITIES
from roofline.specs.records import Grade
from tests.docs.pages import DOCS

PAGE = DOCS / "model-limits.md"
TEXT = PAGE.read_text(encoding="utf-8")


def first_column(header: str) -> list[str]:
    """First cells of the table with this header row's first cell."""
    lines = TEXT.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(f"| {header} |")) + 2
    rows = []
    for line in lines[start:]:
        if not line.startswith("|"):
            break
        rows.append(line.split("|")[1].strip().strip("`"))
    return rows


def test_fidelities_boundaries_and_bases_are_those_of_the_code() -> None:
    assert first_column("fidelity") == list(FIDELITIES)
    assert first_column("boundary") == list(BOUNDARIES)
    assert first_column("basis") == list(BASES)
    assert all(f"`{grade}`" in TEXT for grade in get_args(Grade))


def test_serving_is_an_error_today() -> None:
    assert "serving" not in FIDELITIES
    with pytest.raises(rl.InputError, match="fidelity 'serving'"):
        rl.decode("llama-3.1-8b", "dgx-h100", "bf16", fidelity="serving")  # type: ignore[arg-type]


def test_only_the_named_attentions_and_topologies_can_be_described() -> None:
    assert {kind.name for kind in Attention} == {"NONE", "GQA", "MLA", "LINEAR"}
    assert {kind.name for kind in Topology} == {"SWITCHED", "FULL_MESH", "TORUS"}


def test_no_system_has_a_scale_out_above_half_of_its_scale_up() -> None:
    """The condition under which no fidelity is faster than `ideal`."""
    systems = [rl.System.load(name) for name in list_specs("system")]
    joined = [system for system in systems if system.scale_out is not None and system.scale_up.domain > 1]
    assert joined
    for system in joined:
        assert system.scale_out is not None
        assert system.scale_out.bytes_per_s <= system.scale_up_bytes_per_s / 2, system.id


def test_token_basis_and_fidelity_are_told_by_every_result() -> None:
    decode = rl.decode("llama-3.1-8b", "dgx-h100", "bf16", batch=1, context=2048)
    prefill = rl.prefill("llama-3.1-8b", "dgx-h100", "bf16", isl=2048)
    assert (decode.attrs["token_basis"], prefill.attrs["token_basis"]) == ("output", "input")
    assert decode.attrs["fidelity"] == prefill.attrs["fidelity"] == "kernel"
