"""docs/adding-hardware.md: its sheets are valid as printed, and its commands and Python run on them."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import roofline as rl
from roofline.cli.main import app
from roofline.specs.check import check
from roofline.specs.default_host import DOMAIN
from tests.docs.pages import DOCS, blocks
from tests.docs.test_code_blocks import commands

PAGE = DOCS / "adding-hardware.md"
SHEETS = [block for block in blocks(PAGE, "yaml") if block.text.startswith("# my_sheets/")]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder with the sheets of the page under my_sheets/, and we in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ROOFLINE_SPECS", raising=False)
    for block in SHEETS:
        path = tmp_path / block.text.partition("\n")[0].removeprefix("# ").strip()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.text, encoding="utf-8")
    return tmp_path / "my_sheets"


def test_every_sheet_of_the_page_is_one_of_the_listed_files(folder: Path) -> None:
    listed = re.findall(r"^  (\S+\.yaml)$", blocks(PAGE, "text")[0].text, re.MULTILINE)
    written = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.yaml"))
    assert sorted(listed) == written
    assert len(blocks(PAGE, "yaml")) == len(SHEETS) == 4


def test_the_sheets_hold_with_nothing_doubtful(folder: Path) -> None:
    assert check(folder) == []


def test_the_commands_run(folder: Path) -> None:
    lines = [words for block in blocks(PAGE, "bash") for words in commands(block)]
    assert len(lines) >= 4
    for words in lines:
        result = CliRunner().invoke(app, words[1:])
        assert result.exit_code == 0, f"{words}: {result.output}{result.exception!r}"
        assert "nan" not in result.output.lower(), f"{words}: {result.output}"


def test_the_python_runs(folder: Path) -> None:
    namespace: dict[str, object] = {"__name__": "page"}
    for block in blocks(PAGE, "python"):
        exec(compile("\n" * block.line + block.text, str(PAGE), "exec"), namespace)
        assert np.isfinite(namespace["ds"].tpot.values).all()  # type: ignore[attr-defined]


def test_a_gpu_alone_stands_for_a_domain_of_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What its name gives as a system, and that the step is that of its bandwidth."""
    monkeypatch.setenv("ROOFLINE_SPECS", str(folder))
    (folder / "systems" / "example-box.yaml").unlink()
    system = rl.System.load("example-gpu")
    assert system.accelerators == DOMAIN
    assert system.accelerator.power.idle_w == pytest.approx(0.107 * 700)
    ds = rl.decode("example-8b", "example-gpu", "bf16", batch=1, context=1, fidelity="ideal")
    read = 2 * (32 * (4096 * 6144 + 4096 * 4096 + 3 * 4096 * 14336) + 4096 * 128256)
    assert float(ds.step_time.squeeze()) == pytest.approx(read / 4e12, rel=1e-4)


def test_a_slip_of_units_is_told_by_file_and_line(folder: Path) -> None:
    path = folder / "accelerators" / "example-gpu.yaml"
    path.write_text(path.read_text().replace("bytes_per_s: 4e12,", "bytes_per_s: 4000,"))
    with pytest.raises(rl.InputError, match=r"example-gpu\.yaml:6: memory\.bytes_per_s.*GB/s"):
        rl.Accelerator.load(path)
