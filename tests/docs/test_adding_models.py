"""docs/adding-models.md: its config.json loads, its commands and Python run, and it lists what the readers know."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

import roofline as rl
from roofline.cli.main import app
from roofline.specs.attention import GatedDeltaNet, GroupedQueryAttention, LatentAttention, Mamba2
from roofline.specs.hf.families import FAMILIES, NOT_DESCRIBED, WRAPPERS
from tests.docs.pages import DOCS, blocks, table
from tests.docs.test_code_blocks import commands

PAGE = DOCS / "adding-models.md"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder with the page's config.json and a folder for sheets, and we in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ROOFLINE_SPECS", raising=False)
    (block,) = blocks(PAGE, "json")
    (tmp_path / "Example-30B-A3B").mkdir()
    (tmp_path / "Example-30B-A3B" / "config.json").write_text(block.text, encoding="utf-8")
    (tmp_path / "my_sheets" / "models").mkdir(parents=True)
    return tmp_path


def test_the_config_is_that_of_a_published_model(folder: Path) -> None:
    model = rl.Model.load("Example-30B-A3B/config.json")
    assert model.id == "example-30b-a3b"
    assert model.layers == rl.Model.load("qwen3-30b-a3b").layers


def test_the_commands_run_and_agree(folder: Path) -> None:
    lines = [words for block in blocks(PAGE, "bash") for words in commands(block)]
    assert [words[1] for words in lines] == ["decode", "specs", "specs", "decode"]
    outputs = []
    for words in lines:
        result = CliRunner().invoke(app, words[1:])
        assert result.exit_code == 0, f"{words}: {result.output}{result.exception!r}"
        assert "nan" not in result.output.lower(), f"{words}: {result.output}"
        outputs.append(result.output)
    numbers = [re.findall(r"\d+\.\d+", text) for text in (outputs[0], outputs[3])]
    assert numbers[0] == numbers[1]
    sheet = rl.Model.load(folder / "my_sheets" / "models" / "example-30b.yaml")
    assert sheet.source_of("hidden").ref == "config.json of example/30B"  # type: ignore[union-attr]


def test_the_python_runs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    namespace: dict[str, object] = {"__name__": "page"}
    for block in blocks(PAGE, "python"):
        if "no-run" not in block.info.split():
            exec(compile("\n" * block.line + block.text, str(PAGE), "exec"), namespace)
    assert capsys.readouterr().out == "example-1b 1,235,814,400 ('bf16',)\n"


def test_the_table_lists_every_family() -> None:
    listed = [name for row in table(PAGE, "families") for name in re.findall(r"[a-z][\w-]*", row[1])]
    assert sorted(listed) == sorted({*FAMILIES, *WRAPPERS})


def test_refused_families_are_named_with_their_field() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for fields, _ in NOT_DESCRIBED.values():
        assert f"`{fields[0]}`" in text


def test_the_kinds_of_attention_are_listed_with_their_fields() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for kind in (GroupedQueryAttention, LatentAttention, Mamba2, GatedDeltaNet):
        name = kind.model_fields["kind"].annotation.__args__[0]  # type: ignore[union-attr]
        (line,) = [line for line in text.splitlines() if line.startswith(f"| `{name}` |")]
        assert set(re.findall(r"[a-z_0-9]+", line)) >= set(kind.model_fields) - {"kind", "conv_bias"}
