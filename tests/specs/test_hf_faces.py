"""Where a config.json may be given: paths, folders, names on the Hub, the command line; and the sheet made from it."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

import roofline as rl
from roofline.cli.main import app
from roofline.errors import InputError
from roofline.specs import Model
from roofline.specs.check import check
from roofline.specs.hf import from_hf, sheet_text
from roofline.specs.hf.read import name_of
from roofline.specs.model import PublishedParameters

CONFIGS = Path(__file__).parents[1] / "data" / "configs"
NAMES = sorted(path.stem for path in CONFIGS.glob("*.json"))


def put(path: Path, name: str = "llama-3.1-8b") -> Path:
    """A copy of a test file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(CONFIGS / f"{name}.json", path)
    return path


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("Qwen3-8B/config.json", "Qwen3-8B"),
        ("Qwen--Qwen3-8B_config.json", "Qwen3-8B"),
        ("llama-3.1-8b.json", "llama-3.1-8b"),
        ("models--Qwen--Qwen3-8B/snapshots/0123abc/config.json", "Qwen3-8B"),
    ],
)
def test_names_come_from_folders_and_files(tmp_path: Path, path: str, name: str) -> None:
    file = put(tmp_path / path)
    assert name_of(file) == name
    model = Model.from_hf(file)
    assert (model.id, model.name) == (name.lower(), name)


def test_paths_folders_and_strings_give_the_same_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = put(tmp_path / "Tiny Model" / "config.json")
    monkeypatch.chdir(tmp_path)
    found = rl.Model.from_hf("Tiny Model/config.json")
    assert found.id == "tiny-model"
    assert (
        found == Model.from_hf(file) == Model.from_hf(file.parent) == Model.load(file) == Model.load(str(file.parent))
    )
    monkeypatch.chdir(file.parent)
    assert Model.load("config.json") == found


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    file = put(tmp_path / "A" / "config.json")
    before = Model.load(file)
    assert Model.load(file) is before
    data = json.loads(file.read_text()) | {"num_hidden_layers": 2}
    file.write_text(json.dumps(data))
    os.utime(file, ns=(1, 1))
    after = Model.load(file)
    assert after.layer_count == 2
    assert after.digest != before.digest


def test_numbers_name_their_source(tmp_path: Path) -> None:
    file = put(tmp_path / "A" / "config.json", "qwen3-next-80b-a3b")
    model = from_hf(file, ref="the model card")
    assert model.source_of("layers.1.attention.heads").ref == "the model card"  # type: ignore[union-attr]
    assert model.source_of("layers.0.attention.scan_chunk").grade == "estimated"  # type: ignore[union-attr]
    assert Model.from_hf(file).source_of("hidden").ref == "A/config.json"  # type: ignore[union-attr]


class Hub(SimpleNamespace):
    """A stand-in for huggingface_hub."""

    def __init__(self, files: dict[str, Path], error: Exception | None = None) -> None:
        super().__init__(files=files, error=error, asked=[])

    def hf_hub_download(self, *, repo_id: str, filename: str) -> str:
        self.asked.append((repo_id, filename))
        if self.error or filename not in self.files:
            raise self.error or OSError("404: no such entry")
        return str(self.files[filename])


def test_a_name_on_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = put(tmp_path / "models--org--Llama-Small" / "snapshots" / "1" / "config.json")
    hub = Hub({"config.json": file})
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    model = Model.from_hf("org/Llama-Small")
    assert model.id == "llama-small"
    assert model.source_of("hidden").ref == "huggingface.co/org/Llama-Small/config.json"  # type: ignore[union-attr]
    assert hub.asked == [("org/Llama-Small", "config.json"), ("org/Llama-Small", "hf_quant_config.json")]


def test_the_hub_without_client_or_network(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.import_module

    def missing(name: str, package: str | None = None) -> Any:
        if name == "huggingface_hub":
            raise ImportError(name)
        return real(name, package)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(InputError, match=r"needs the hub extra: pip install 'roofline\[hub\]'"):
        Model.from_hf("org/name")
    monkeypatch.setattr(importlib, "import_module", real)
    monkeypatch.setitem(sys.modules, "huggingface_hub", Hub({}, ConnectionError("no route to host\nmore")))
    with pytest.raises(InputError, match=r"org/name: cannot fetch config\.json.*: no route to host; is the name right"):
        Model.from_hf("org/name")


def test_loading_never_goes_to_the_hub() -> None:
    with pytest.raises(InputError, match=r"no such file.*Model\.from_hf"):
        Model.load("org/name")


@pytest.mark.parametrize("name", NAMES)
def test_an_imported_sheet_is_the_model_of_its_config(tmp_path: Path, name: str) -> None:
    path = tmp_path / "models" / f"{name}.yaml"
    result = CliRunner().invoke(app, ["specs", "import", str(CONFIGS / f"{name}.json"), "--out", str(path)])
    assert result.exit_code == 0, result.output
    assert Model.load(path) == Model.from_hf(CONFIGS / f"{name}.json")
    assert check(path) == []
    assert max(map(len, path.read_text().splitlines())) <= 240


def test_text_that_yaml_would_read_as_something_else() -> None:
    model = Model.from_hf(CONFIGS / "llama-3.1-8b.json").replace(
        name='3: a "name"', family="yes", aliases=["no", "a b", "1e5"], notes="colons: and # signs. " * 20, id="x"
    )
    model = model.replace(parameters=PublishedParameters(total=8e9, active=8e9))
    import ruamel.yaml

    data = ruamel.yaml.YAML(typ="safe").load(sheet_text(model))
    assert (data["name"], data["family"], data["aliases"]) == ('3: a "name"', "yes", ["no", "a b", "1e5"])
    assert data["notes"] == model.notes.strip()
    assert data["parameters"] == {"total": 8e9, "active": 8e9}


def test_the_command_prints_or_writes(tmp_path: Path) -> None:
    run = CliRunner().invoke
    printed = run(app, ["specs", "import", str(CONFIGS / "qwen3-30b-a3b.json"), "--source", "its card", "--id", "mine"])
    assert 'hidden: {ref: "its card", grade: published}' in printed.output
    written = run(app, ["specs", "import", str(CONFIGS / "qwen3-30b-a3b.json"), "--out", str(tmp_path)])
    assert "30,532,122,624 parameters, 3,041,867,776 active, recipe bf16" in written.output
    assert (tmp_path / "qwen3-30b-a3b.yaml").is_file()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--out", "there.yaml"], "exists already"),
        (["--out", "x.json"], "expected the name of a .yaml file"),
        (["--out", "a.yaml", "--id", "b"], "a sheet's id is the stem"),
    ],
)
def test_what_the_command_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: list[str], said: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.yaml").write_text("name: x\n")
    result = CliRunner().invoke(app, ["specs", "import", str(CONFIGS / "llama-3.1-8b.json"), *more])
    assert said in str(result.exception)
    assert isinstance(result.exception, InputError)
    assert (tmp_path / "there.yaml").read_text() == "name: x\n"


def test_a_config_where_a_model_is_wanted(tmp_path: Path) -> None:
    file = put(tmp_path / "Some-8B" / "config.json")
    line = ["decode", str(file), "h100", "--batch", "1", "--context", "2k", "--recipe", "bf16", "--json"]
    result = CliRunner().invoke(app, line)
    assert result.exit_code == 0, f"{result.output}{result.exception!r}"
    assert "some-8b" in result.output
    shown = CliRunner().invoke(app, ["specs", "show", str(file)])
    assert "model some-8b: Some-8B" in shown.output
