"""What a page tells a reader to type works: Python runs, commands parse, links lead somewhere.

A Python block that must not run in a test has `no-run` after its language and is only compiled.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest
import typer

import roofline as rl
from roofline.cli.main import app
from tests.docs.pages import DOCS, ROOT, Block, blocks, pages

SHELLS = ("bash", "sh", "shell", "console")
DATA = ("yaml", "json", "text", "calc", "toml", "csv", "mermaid")  # read, not run; their own tests read some of them
ALL = [block for page in pages() for block in blocks(page)]
PYTHON = [block for block in ALL if block.language == "python"]
SHELL = [block for block in ALL if block.language in SHELLS]
OWN_PAGES = {DOCS / "adding-hardware.md"}  # whose blocks need files of the page: test_adding_hardware.py
LINK = re.compile(r"(?<!!)\[[^\]]+\]\(([^)\s]+)\)")
PUBLIC = re.compile(r"\brl\.([A-Za-z_]+)")


def commands(block: Block) -> list[list[str]]:
    """Words of each `roofline ...` line, up to a pipe or redirection; prompts and comments off, lines joined."""
    text = block.text.replace("\\\n", " ")
    found = []
    for line in text.splitlines():
        words = shlex.split(line.removeprefix("$ "), comments=True)
        if words[:1] == ["roofline"]:
            found.append(list(takewhile(lambda word: word not in {"|", ">", "&&", ";"}, words)))
    return found


def mistake(words: list[str]) -> str:
    """Parse a command line down to its subcommand without running it: what is wrong with it, or nothing.

    Classes are not named: depending on its version, typer brings its own copy of click's.
    """
    command: Any = typer.main.get_command(app)
    context, rest = None, words[1:]
    try:
        while True:
            context = command.make_context(command.name, rest, parent=context)
            if not hasattr(command, "resolve_command"):
                return ""
            _, command, rest = command.resolve_command(context, [*context._protected_args, *context.args])
    except Exception as error:
        if hasattr(error, "format_message"):
            return str(error.format_message()) or "wrong usage"
        if type(error).__name__ == "Exit":  # --help, --version
            return ""
        raise


def test_there_is_something_to_test() -> None:
    assert len(PYTHON) >= 3
    assert sum(len(commands(block)) for block in SHELL) >= 8


@pytest.mark.parametrize("block", ALL, ids=str)
def test_every_block_names_a_known_language(block: Block) -> None:
    """A block without a language would slip past every other test."""
    assert block.language in ("python", *SHELLS, *DATA), f"{block}: language {block.language!r}"


@pytest.mark.parametrize("block", SHELL, ids=str)
def test_commands_parse(block: Block) -> None:
    script = re.sub(r"^\$ ", "", block.text, flags=re.MULTILINE)
    checked = subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True, check=False)
    assert checked.returncode == 0, f"{block}: {checked.stderr}"
    for words in commands(block):
        assert not mistake(words), f"{block}: {shlex.join(words)}: {mistake(words)}"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("roofline decode llama dgx --no-such-option 1", "no-such-option"),
        ("roofline no-such-command", "no-such-command"),
        ("roofline explain llama", "SYSTEM"),
        ("roofline decode llama dgx --fidelity guess", "guess"),
        ("roofline decode llama dgx --tp 8", ""),
        ("roofline --version", ""),
    ],
)
def test_a_wrong_command_is_noticed(line: str, said: str) -> None:
    found = mistake(line.split())
    assert said in found
    assert bool(found) == bool(said)


@pytest.mark.parametrize("page", sorted({block.page for block in PYTHON} - OWN_PAGES), ids=lambda page: page.name)
def test_python_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The blocks of a page run one after another in one namespace and an empty folder."""
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {"__name__": "page"}
    for block in blocks(page, "python"):
        code = compile("\n" * block.line + block.text, str(page), "exec")
        if "no-run" not in block.info.split():
            exec(code, namespace)
    assert "rl" in namespace, "no block of the page used the library"


@pytest.mark.parametrize("page", pages(), ids=lambda page: f"{page.parent.name}/{page.name}")
def test_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        if not target.startswith(("http:", "https:", "#", "mailto:")):
            assert (page.parent / target.partition("#")[0]).exists(), f"{page.name}: {target}"


def test_the_index_links_every_page() -> None:
    linked = set(LINK.findall((DOCS / "index.md").read_text(encoding="utf-8")))
    assert {page.name for page in DOCS.glob("*.md")} - {"index.md"} <= linked


@pytest.mark.parametrize("page", pages(), ids=lambda page: f"{page.parent.name}/{page.name}")
def test_public_names_exist(page: Path) -> None:
    """Also outside blocks that run."""
    assert set(PUBLIC.findall(page.read_text(encoding="utf-8"))) <= set(rl.__all__), page.name


def test_paths_named_in_pages_exist() -> None:
    for page in DOCS.glob("*.md"):
        for path in re.findall(r"`((?:roofline|tests|tools|hardware_specs|model_specs)/[\w./-]+)`", page.read_text()):
            assert (ROOT / path).exists(), f"{page.name}: {path}"
