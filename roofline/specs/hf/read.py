"""A config.json -> Model: the entry of this package."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from roofline import provenance
from roofline.errors import InputError
from roofline.specs.findings import DoubtfulSheet, Finding, input_error
from roofline.specs.hf import hub
from roofline.specs.hf.config import Config, read_config
from roofline.specs.hf.families import FAMILIES, WRAPPERS, family_of, refuse_not_described
from roofline.specs.hf.fields import refuse_unknown, unknown_family
from roofline.specs.hf.hybrid import SCAN_CHUNK_REF
from roofline.specs.hf.quantization import read_quantization
from roofline.specs.hf.rows import Shape
from roofline.specs.hf.shipped import recipe_of
from roofline.specs.model import Model

_FORMAT_IN_NAME = re.compile(
    r"(?:^|[-_.])(fp8|nvfp4|mxfp4|fp4|awq|gptq|int4|int8|w8a8|w4a16|w4a8|bnb)(?:[-_.]|$)", re.IGNORECASE
)
_SHARED = ("tie_word_embeddings", "dtype", "torch_dtype")
"""Fields that may stand around the text_config, inside it, or both."""

_Key = tuple[Path, str, str]
_kept: dict[_Key, tuple[tuple[int, ...], Model]] = {}


def is_config(source: str | os.PathLike[str]) -> bool:
    """Whether a path is that of a config.json, or of a folder that could hold one."""
    path = Path(source).expanduser()
    return path.suffix == ".json" or path.is_dir()


def from_hf(source: str | os.PathLike[str], *, id: str = "", ref: str = "") -> Model:
    """The model of a config.json, of a folder that has one, or of a repository `org/name` on the Hugging Face Hub.

    id : its id; default from the name of the repository, folder or file.
    ref : what its numbers name as their source; default the file.
    Raises `roofline.errors.InputError` for what is not understood, with file, line and field.
    """
    if isinstance(source, str) and hub.is_hub_name(source):
        place = f"{source}/config.json"
        return _load(hub.fetch(source), source.rpartition("/")[2], place, id, ref or f"huggingface.co/{place}")
    path = Path(source).expanduser().absolute()
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise InputError(f"{source}: no config.json in this folder")
        path /= "config.json"
    return _load(path, name_of(path), _display(path), id, ref)


def name_of(path: Path) -> str:
    """The model's name as its file or folder has it: `Qwen3-8B/config.json`, `Qwen--Qwen3-8B_config.json`."""
    if path.name != "config.json":
        return re.sub(r"[_.-]config$", "", path.stem).rpartition("--")[2]
    folder = path.absolute().parent
    if folder.parent.name == "snapshots":  # the cache of the Hub's client: models--org--name/snapshots/REVISION
        folder = folder.parent.parent
    return folder.name.rpartition("--")[2]


def _load(path: Path, name: str, place: str, id: str, ref: str) -> Model:
    quantization = path.with_name(re.sub(r"config\.json$", hub.QUANTIZATION_FILE, path.name))
    files = [path] if quantization == path or not quantization.is_file() else [path, quantization]
    try:
        stamp = tuple(number for file in files for number in (file.stat().st_mtime_ns, file.stat().st_size))
    except OSError as error:
        raise InputError(f"{place}: {(error.strerror or str(error)).lower()}") from None
    key = (path, id, ref)
    if key in _kept and _kept[key][0] == stamp:
        return _kept[key][1]
    config, content = read_config(path, place)
    other, more = (None, b"") if files[1:] == [] else read_config(files[1], _display(files[1]))
    model = _model(config, other, name, id, ref or f"{path.parent.name}/{path.name}")
    model._digest = provenance.digest(content + more)
    _kept[key] = stamp, model
    return model


def _model(config: Config, quantization_file: Config | None, name: str, id: str, ref: str) -> Model:
    from roofline.specs.load import validate  # load.py needs this module first

    family, shape, notes, given = read_shape(config)
    notes = [*shape.notes, *notes]
    if given is None and quantization_file is not None and quantization_file.has("quantization"):
        given = quantization_file.child("quantization")
    recipe = "bf16"
    if given is not None:
        recipe = recipe_of(given, shape, read_quantization(given))
    elif found := _FORMAT_IN_NAME.search(name):
        doubt = f"the name says {found[1]}, but the file has no quantization_config; taken as BF16"
        hint = f"put {hub.QUANTIZATION_FILE} beside it, or name a recipe"
        notes.append(f"{doubt[0].upper()}{doubt[1:]}.")
        warnings.warn_explicit(f"{config.place}: {doubt}; {hint}", DoubtfulSheet, config.place, 1)
    data: dict[str, Any] = {
        "id": id or re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-.") or "model",
        "name": name,
        "family": re.sub(r"_text$", "", family).replace("_", "-"),
        "recipes": [recipe],
        "notes": " ".join(" ".join(notes).split()),
        **shape.fields(),
    }
    sourced = ("hidden", "vocab", "max_context", "route_groups", "position_rows", "layers", "mtp")
    data["sources"] = {field: {"ref": ref, "grade": "published"} for field in sourced if field in data}
    for index, row in enumerate(data["layers"]):
        if row.get("attention", {}).get("kind") == "gated_delta_net":
            data["sources"][f"layers.{index}.attention.scan_chunk"] = {"ref": SCAN_CHUNK_REF, "grade": "estimated"}
    model, wrong = validate(Model, data, "")
    if model is None:
        raise input_error("", [Finding(f"makes no model: {item}", file=config.place, line=1) for item in wrong])
    return model


def read_shape(config: Config) -> tuple[str, Shape, list[str], Config | None]:
    """Family, shape, notes, and what quantization_config there is."""
    notes: list[str] = []
    text, quantization = config, None
    wrapper = isinstance(config.data.get("text_config"), Mapping)
    if wrapper:
        text = _inside(config)
        notes.append("The text model; other towers are not counted.")
    for owner in (text, config):
        if quantization is None and owner.has("quantization_config"):
            quantization = owner.child("quantization_config")
        owner.ignore("quantization_config")
    family, reader = family_of(text)
    if wrapper:
        _check_wrapper(config, family)
    text.must("is_encoder_decoder", False, why="only decoders are described")
    if text.data.get("torch_dtype", text.data.get("dtype")) == "float32":
        notes.append("Published in float32; taken as BF16.")
    shape = reader.read(text)
    passed = refuse_unknown(text, family)
    if wrapper:
        passed += refuse_unknown(config, str(config.data.get("model_type")), wrapper=True)
    if passed:
        notes.append(f"Fields passed over: {', '.join(passed)}.")
    return family, shape, notes, quantization


def _inside(config: Config) -> Config:
    """The text model of one with towers, with the fields that may stand around it."""
    refuse_not_described(config, config.word("model_type"))
    text = config.child("text_config")
    data = dict(text.data)
    for name in _SHARED:
        outer, inner = config.data.get(name), data.get(name)
        config.ignore(name)
        if name == "tie_word_embeddings" and None not in (outer, inner) and outer != inner:
            raise text.error(name, "differs from the one around text_config")
        if inner is None and outer is not None:
            data[name] = outer
    return text.with_data(data)


def _check_wrapper(config: Config, family: str) -> None:
    kind = config.word("model_type")
    if kind not in WRAPPERS:
        raise unknown_family(config, kind, "model_type", [*FAMILIES, *WRAPPERS])
    if family not in WRAPPERS[kind]:
        raise config.error("model_type", f"a text model {family} inside is not understood")


def _display(path: Path) -> str:
    from roofline.specs.load import display  # load.py needs this module first

    return display(path)
