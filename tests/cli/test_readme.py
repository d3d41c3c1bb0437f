"""What README.md tells a reader to type works as written."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

import roofline
from tests.cli.conftest import Run

ROOT = Path(roofline.__file__).parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", TEXT, re.DOTALL)
PYTHON = [code for language, code in BLOCKS if language == "python"]
COMMANDS = [
    line for language, code in BLOCKS if language == "sh" for line in code.splitlines() if line.startswith("roofline ")
]


def test_the_readme_has_both() -> None:
    assert len(PYTHON) >= 2
    assert len(COMMANDS) >= 5


@pytest.mark.parametrize("code", PYTHON)
def test_python_runs(
    code: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {})
    assert capsys.readouterr().out


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_run(cli: Run, line: str) -> None:
    done = cli(*shlex.split(line)[1:])
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_links_and_pictures_exist() -> None:
    targets = [target for target in re.findall(r"\]\(([^)#]+)\)", TEXT) if "://" not in target]
    assert len(targets) >= 3
    assert [target for target in targets if not (ROOT / target).is_file()] == []
