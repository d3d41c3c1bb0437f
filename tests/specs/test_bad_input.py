"""One test per kind of mistake: the message must name file, line, field, value and the mend."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from roofline.errors import InputError
from roofline.specs import Accelerator, Efficiency, Model, Recipe, System
from roofline.specs.records import Sheet

Edit = Callable[..., Path]
CLASSES: dict[str, type[Sheet]] = {
    "accelerators": Accelerator,
    "efficiency": Efficiency,
    "systems": System,
    "models": Model,
    "recipes": Recipe,
}

# sheet, passage, what is written in its place, line, field, and what the message must say
# fmt: off
MISTAKES = {
    "GB/s for B/s": (
        "accelerators/one", "bytes_per_s: 3.0e12", "bytes_per_s: 3350", 6, "memory.bytes_per_s = 3350",
        "did you write GB/s? then 3.35e+12",
    ),
    "TB/s for B/s": (
        "accelerators/one", "bytes_per_s: 3.0e12", "bytes_per_s: 3.35", 6, "memory.bytes_per_s = 3.35",
        "did you write TB/s? then 3.35e+12",
    ),
    "GB for B": (
        "accelerators/one", "bytes: 80.0e9", "bytes: 80", 6, "memory.bytes = 80", "did you write GB? then 8e+10",
    ),
    "TFLOP/s": (
        "accelerators/one", "fp8: 8.0e14", "fp8: 800", 5, "dense_flop_per_s.fp8 = 800",
        "did you write TFLOP/s? then 8e+14",
    ),
    "PFLOP/s": (
        "accelerators/one", "fp8: 8.0e14", "fp8: 4.5", 5, "dense_flop_per_s.fp8 = 4.5",
        "did you write PFLOP/s? then 4.5e+15",
    ),
    "kW for W": (
        "accelerators/one", "tdp_w: 500", "tdp_w: 0.5", 8, "power.tdp_w = 0.5", "did you write kW? then 500",
    ),
    "system in kW": (
        "systems/box", "max_w: 6500", "max_w: 6.5", 10, "power.max_w = 6.5", "did you write kW? then 6500",
    ),
    "link in GB/s": (
        "accelerators/one", "scale_up_bytes_per_s: 4.0e11", "scale_up_bytes_per_s: 400", 7,
        "scale_up_bytes_per_s = 400", "did you write GB/s? then 4e+11",
    ),
    "microseconds": (
        "efficiency/acme", "fixed_s: 25e-6", "fixed_s: 25", 7, "operations.experts.bf16.fixed_s = 25",
        "did you write microseconds? then 2.5e-05",
    ),
    "percentage": (
        "efficiency/acme", "experts: {bf16: {eta_compute: 0.6", "experts: {bf16: {eta_compute: 60", 7,
        "operations.experts.bf16.eta_compute = 60", "did you write a percentage? then 0.6",
    ),
    "negative": (
        "accelerators/one", "bytes: 80.0e9", "bytes: -80.0e9", 6, "memory.bytes = -80000000000",
        "drop the minus sign?",
    ),
    "zero": (
        "accelerators/one", "bytes_per_s: 3.0e12", "bytes_per_s: 0", 6, "memory.bytes_per_s = 0", "out of range",
    ),
    "zero share": (
        "efficiency/acme", "permute: {eta_memory: 0.5}", "permute: {eta_memory: 0.0}", 11,
        "operations.permute.eta_memory = 0", "expected a number above 0 to 1",
    ),
    "not a number": ("accelerators/one", "tdp_w: 500", "tdp_w: .nan", 8, "power.tdp_w = nan", "not finite"),
    "infinite": ("accelerators/one", "tdp_w: 500", "tdp_w: .inf", 8, "power.tdp_w = inf", "not finite"),
    "boolean": ("accelerators/one", "tdp_w: 500", "tdp_w: true", 8, "power.tdp_w = true", "not a number"),
    "absent value": ("accelerators/one", "tdp_w: 500", "tdp_w: null", 8, "power.tdp_w = None", "not a number"),
    "quoted number": (
        "accelerators/one", "bf16: 4.0e14", 'bf16: "4.0e14"', 5, "dense_flop_per_s.bf16 = '4.0e14'",
        "remove the quotes: 4.0e14",
    ),
    "number with unit": (
        "accelerators/one", "tdp_w: 500", "tdp_w: 500 W", 8, "power.tdp_w = '500 W'", "write a bare number",
    ),
    "list for a number": ("accelerators/one", "tdp_w: 500", "tdp_w: [500]", 8, "power.tdp_w = [500]", "not a number"),
    "fraction for a count": (
        "systems/box", "accelerators: 8\n", "accelerators: 7.5\n", 4, "accelerators = 7.5", "not a whole number",
    ),
    "decimal for a count": (
        "systems/box", "accelerators: 8\n", "accelerators: 8.0\n", 4, "accelerators = 8", "write 8",
    ),
    "text for a switch": (
        "models/tiny", "tied_embeddings: false", 'tied_embeddings: "no"', 4, "tied_embeddings = 'no'",
        "expected true or false",
    ),
    "unknown field": (
        "accelerators/one", "kind: HBM3", "kidn: HBM3", 6, "memory.kidn = 'HBM3'",
        "unknown field; did you mean kind?",
    ),
    "unknown field at the top": (
        "models/tiny", "hidden: 1024", "hiden: 1024", 2, "hiden = 1024", "did you mean hidden?",
    ),
    "unknown field of an attention": (
        "models/tiny", "head_dim: 64", "headdim: 64", 9, "layers.0.attention.headdim = 64", "did you mean head_dim",
    ),
    "missing field": ("accelerators/one", "vendor: Acme\n", "", 1, "vendor", "missing"),
    "unknown math type": (
        "accelerators/one", "fp8: 8.0e14", "f8: 8.0e14", 5, "dense_flop_per_s.f8", "did you mean fp8",
    ),
    "unknown format": ("recipes/half", "dense_ffn: fp8", "dense_ffn: fp9", 5, "parts.dense_ffn", "did you mean fp8"),
    "unknown choice": (
        "systems/box", "topology: switched", "topology: switch", 5, "scale_up.topology = 'switch'",
        "did you mean switched?",
    ),
    "unknown attention": (
        "models/tiny", "kind: gqa", "kind: mha", 9, "layers.0.attention.kind",
        "expected one of gqa, mla, mamba2, gated_delta_net",
    ),
    "unknown grade": (
        "models/tiny", 'vocab: {ref: "Acme model card", grade: published}', "vocab: {ref: card, grade: sure}", 13,
        "sources.vocab.grade = 'sure'", "did you mean measured?",
    ),
    "unknown reference": (
        "systems/box", "accelerator: one", "accelerator: onne", 3, "accelerator = onne", "did you mean one",
    ),
    "number for a reference": (
        "systems/box", "facility: air", "facility: 7", 13, "facility = 7", "expected the id of a facility sheet",
    ),
    "text for fields": (
        "accelerators/one", "power: {tdp_w: 500}", "power: 500 W", 8, "power = '500 W'", "expected fields",
    ),
    "text for a list": ("models/tiny", "recipes: [bf16]", "recipes: bf16", 6, "recipes = 'bf16'", "expected a list"),
    "number for a name": ("models/tiny", "name: Tiny", "name: 7", 1, "name = 7", "put it in quotes?"),
    "id of another": (
        "models/tiny", "name: Tiny", "name: Tiny\nid: big", 2, "id = big", "differs from the file's name",
    ),
    "idle above TDP": (
        "accelerators/one", "tdp_w: 500", "tdp_w: 500, idle_w: 600", 8, "power",
        "idle_w = 600 is not below tdp_w = 500",
    ),
    "curves of unequal length": (
        "systems/box", "[0.92, 0.96, 0.95]", "[0.92, 0.96]", 9, "power.psu", "load has 3 points and efficiency 2",
    ),
    "falling load": ("systems/box", "[0.1, 0.5, 1.0]", "[0.5, 0.1, 1.0]", 9, "power.psu", "load must rise"),
    "domain beyond reach": (
        "systems/box", "{domain: 8", "{domain: 72", 1, "scale_up.domain = 72",
        "more than accelerators * max_systems = 8",
    ),
    "reach beyond the domain": (
        "systems/box", "scale_out: {bytes_per_s: 5e10, hop_s: 2e-6}", "max_systems: 4", 1, "a replica may span 32",
        "without scale_out",
    ),
    "zero count": ("models/tiny", "hidden: 1024", "hidden: 0", 2, "hidden = 0", "a whole number from 1"),
    "heads do not group": (
        "models/tiny", "kv_heads: 4", "kv_heads: 5", 9, "layers.0.attention",
        "heads = 16 do not divide by kv_heads = 5",
    ),
    "more experts chosen than there are": (
        "models/tiny", "ffn: {matrices: 3, inner: 4096}", "experts: {count: 4, top_k: 8, inner: 64}", 10,
        "layers.0.experts", "top_k = 8 of count = 4",
    ),
    "dense and experts": (
        "models/tiny", "ffn: {matrices: 3, inner: 4096}",
        "ffn: {matrices: 3, inner: 9}\n    experts: {count: 4, top_k: 1, inner: 64}", 8, "layers.0",
        "ffn and experts in one row",
    ),
    "four matrices": (
        "models/tiny", "matrices: 3", "matrices: 4", 10, "layers.0.ffn.matrices = 4", "expected one of 2, 3",
    ),
}
# fmt: on

BROKEN = {
    "unclosed bracket": ("power: {tdp_w: 500}", "power: {tdp_w: 500", 9, "broken YAML", "bracket is missing"),
    "tab": ("power: {tdp_w: 500}", "power:\n\ttdp_w: 500", 9, "broken YAML", "indent with spaces"),
    "colon in text": ("name: Acme One 80GB", "name: Acme: One", 1, "broken YAML", "quotes around the text"),
    "field twice": ("year: 2024", "year: 2024\nyear: 2025", 5, "duplicate key", "stands twice"),
    "strange tag": ("year: 2024", "year: !!python/name:os.system 2024", 4, "broken YAML", "constructor"),
    "two documents": ("year: 2024", "year: 2024\n---\nvendor: Acme", 5, "broken YAML", "document"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake_is_named_with_file_line_field_value_and_mend(mistake: str, folder: Path, edit: Edit) -> None:
    name, old, new, line, field, mend = MISTAKES[mistake]
    path = edit(name, old, new)
    with pytest.raises(InputError) as caught:
        CLASSES[name.split("/")[0]].load(path, folders=[folder])
    message = str(caught.value)
    assert f"{path}:{line}: " in message
    assert field in message
    assert mend in message


@pytest.mark.parametrize("slip", BROKEN)
def test_broken_yaml_is_named_with_file_and_line(slip: str, edit: Edit) -> None:
    old, new, line, what, mend = BROKEN[slip]
    path = edit("accelerators/one", old, new)
    with pytest.raises(InputError) as caught:
        Accelerator.load(path)
    message = str(caught.value)
    assert re.search(rf"{re.escape(str(path))}:({line}|{line + 1}): ", message)
    assert what in message
    assert mend in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "expected fields"),
        (b"- a\n- b\n", "expected fields"),
        (b"just words\n", "expected fields"),
        (b"name: caf\xe9\n", "not UTF-8"),
        (b"a: &x\n  b: *x\n", "alias that contains itself"),
        (b"a: " + b"[" * 30 + b"]" * 30, "nested too deeply"),
    ],
)
def test_a_file_that_is_no_sheet(content: bytes, what: str, tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(content)
    with pytest.raises(InputError, match=f"x.yaml:1: .*{what}"):
        Accelerator.load(path)


def test_all_mistakes_of_a_sheet_come_at_once_and_in_order(edit: Edit) -> None:
    edit("accelerators/one", "bytes_per_s: 3.0e12", "bytes_per_s: 3350")
    edit("accelerators/one", "year: 2024", "year: 24")
    path = edit("accelerators/one", "tdp_w: 500", "tdp_w: -1")
    with pytest.raises(InputError, match="3 mistakes") as caught:
        Accelerator.load(path)
    places = re.findall(r"one\.yaml:(\d+)", str(caught.value))
    assert places == ["4", "6", "8"]


def test_mistakes_of_a_sheet_referred_to_are_told_with_their_own_lines(folder: Path, edit: Edit) -> None:
    edit("accelerators/one", "bytes: 80.0e9", "bytes: 80")
    with pytest.raises(InputError) as caught:
        System.load("box", folders=[folder])
    assert re.search(r"box\.yaml:3: accelerator = one: .*one\.yaml:6: memory\.bytes = 80", str(caught.value))


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ("no-such-thing", "no accelerator named 'no-such-thing'"),
        ("no/such/file.yaml", "no/such/file.yaml: no such file"),
        (7, "expected a name, a path or a mapping, found int"),
        ({"name": "Half a sheet"}, "accelerator: 6 mistakes"),
        ("/", "is a directory"),
    ],
)
def test_what_cannot_be_a_sheet(source: object, what: str) -> None:
    with pytest.raises(InputError, match=what):
        Accelerator.load(source)  # type: ignore[arg-type]


def test_a_name_of_another_kind_is_told(folder: Path) -> None:
    with pytest.raises(InputError, match=r"no model named 'hgx-h100': hgx-h100 is a system$"):
        Model.load("hgx-h100")
    with pytest.raises(InputError, match=r"no system or accelerator named 'tiny': tiny is a model$"):
        System.load("tiny", folders=[folder])


@pytest.mark.parametrize("empty", ["", "  "])
def test_an_empty_name_is_said_to_be_empty(empty: str) -> None:
    with pytest.raises(InputError, match=r"system or accelerator: the name is empty; known: .*dgx-h100"):
        System.load(empty)
    with pytest.raises(InputError, match="model: the name is empty"):
        Model.load(empty)


def test_an_unknown_name_says_where_own_sheets_are_found() -> None:
    for cls in (System, Model):
        with pytest.raises(InputError, match="found with --specs DIR or ROOFLINE_SPECS"):
            cls.load("no-such-thing")


def test_system_name_that_is_neither_system_nor_accelerator() -> None:
    with pytest.raises(InputError, match="no system or accelerator named 'dgx-h1000'; did you mean"):
        System.load("dgx-h1000")
