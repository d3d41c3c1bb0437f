"""`roofline calibrate` where rows have a power: a second fit, in the document, the tables and the sheets."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from roofline.cli.calibrate_power import HOW
from roofline.cli.documents import CalibrateDocument
from roofline.specs import Accelerator
from roofline.validation.run import ENVIRONMENT, SHIPPED
from tests.cli.conftest import Run


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The shipped points: closed loops, and rows with a power."""
    monkeypatch.delenv(ENVIRONMENT, raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.csv").write_text(SHIPPED.read_text(encoding="utf-8"), encoding="utf-8")
    return "mine.csv"


def test_the_document_has_the_second_fit(cli: Run, mine: str) -> None:
    words = ("calibrate", mine, "--no-leave-one-out", "--json")
    done = cli(*words)
    assert done.returncode == 0, done.stderr
    document = CalibrateDocument.model_validate_json(done.stdout)
    (fit,) = document.power
    assert (fit.generation, fit.accelerators) == ("hopper", ["h100-sxm"])
    assert [row["constant"] for row in fit.constants] == ["hopper.power.draw_a", "hopper.power.draw_b"]
    assert {one.how for one in fit.scores} == set(HOW) - {"without-model"}
    assert sum(group.rows for group in fit.groups) == fit.used
    assert 0.5 < fit.share_of_tdp < 1.0
    assert f"power on hopper: {fit.used} rows" in done.stderr
    assert all(group.without_model is None for group in fit.groups)
    assert cli(*words).stdout == done.stdout  # to the byte


def test_people_read_tables_of_it(cli: Run, mine: str, tmp_path: Path) -> None:
    done = cli("calibrate", mine, "--out", "new")
    assert done.returncode == 0, done.stderr
    assert "rows with power" in done.stdout
    for name in HOW.values():
        assert any(line.startswith(name) for line in done.stdout.splitlines()), name
    assert "without its model, nearer than a constant" in done.stdout
    assert "written to new/accelerators/h100-sxm.yaml" in done.stdout
    sheet = Accelerator.load("h100-sxm", folders=[tmp_path / "new"])
    assert sheet.power.draw_a != Accelerator.load("h100-sxm").power.draw_a
    checked = cli("specs", "check", "new")
    assert checked.returncode == 0, checked.stdout
    assert "0 wrong, 0 doubtful" in checked.stdout


def test_without_power_there_is_no_second_fit(cli: Run, mine: str, tmp_path: Path) -> None:
    with (tmp_path / mine).open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    with (tmp_path / "times.csv").open("w", encoding="utf-8", newline="") as handle:
        writer = csv.DictWriter(handle, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(row | {"avg_gpu_power_w": "", "energy_j_per_output_token": ""} for row in rows)
    done = cli("calibrate", "times.csv", "--no-leave-one-out", "--out", "new", "--json")
    assert done.returncode == 0, done.stderr
    document = CalibrateDocument.model_validate_json(done.stdout)
    assert document.power == []
    assert not (tmp_path / "new" / "accelerators").exists()
