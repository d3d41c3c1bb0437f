"""Reading measured points: units, blanks, identity of rows, and what is wrong is placed."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from roofline.errors import InputError
from roofline.validation.measured import Measured, read

DATA = Path(__file__).parents[1] / "data" / "measured_points.csv"

HEAD = "source,model,gpu,metric_kind"
ROW = "me,llama-3.1-8b,H100,online_serving"


def table(tmp_path: Path, *lines: str) -> Path:
    """A CSV file of these lines."""
    path = tmp_path / "points.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def of(tmp_path: Path, *lines: str) -> Measured:
    """What is read of these lines."""
    return read(table(tmp_path, *lines))


def test_units_are_si_and_rates_are_of_the_whole_deployment(tmp_path: Path) -> None:
    found = of(
        tmp_path,
        f"{HEAD},num_gpus,ttft_ms,tpot_ms,output_tok_s_total,output_tok_s_per_gpu,energy_j_per_output_token,avg_gpu_power_w",
        f"{ROW},4,250,12.5,,100,0.5,600",
        f"{ROW},4,,,900,100,,",
    )
    first, second = found.points
    assert (first.ttft_s, first.tpot_s, first.output_tok_s) == (0.25, 0.0125, 400.0)
    assert (first.joules_per_token, first.power_w) == (0.5, 600.0)
    assert (second.ttft_s, second.tpot_s, second.output_tok_s, second.power_w) == (None, None, 900.0, None)


def test_energy_at_the_wall_is_not_that_of_accelerators(tmp_path: Path) -> None:
    head = f"{HEAD},energy_j_per_output_token,notes"
    wall, plain = of(tmp_path, head, f"{ROW},0.1,scenario=Offline; SYSTEM wall power 10401.5 W", f"{ROW},0.1,").points
    assert (wall.wall_w, wall.wall_joules_per_token, wall.joules_per_token) == (10401.5, 0.1, None)
    assert (plain.wall_w, plain.wall_joules_per_token, plain.joules_per_token) == (None, None, 0.1)


def test_columns_may_be_missing_or_more_and_a_blank_is_unknown(tmp_path: Path) -> None:
    (point,) = of(tmp_path, f"{HEAD},isl,colour", f"{ROW},,blue").points
    assert point.isl is None
    assert point.osl is None
    assert point.notes == ""
    assert point.output_tok_s is None
    assert point.row_id == "me:2"
    assert point.line == 2


def test_rows_keep_their_id_line_and_flags(tmp_path: Path) -> None:
    found = of(tmp_path, f"{HEAD},row_id,flags", f"{ROW},seven,duplicate; mtp_suspected", f"{ROW},,")
    assert [point.row_id for point in found.points] == ["seven", "me:3"]
    assert found.points[0].flagged == ("duplicate", "mtp_suspected")
    assert found.points[1].flagged == ()


def test_the_digest_is_that_of_the_file() -> None:
    found = read(DATA)
    assert found.digest == hashlib.sha256(DATA.read_bytes()).hexdigest()
    assert found.path == DATA
    assert len(found.points) == 31


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ((f"{HEAD},isl", f"{ROW},1k"), r"points\.csv:2: isl = '1k': give a number, or leave it blank"),
        ((f"{HEAD},isl", f"{ROW},nan"), r"points\.csv:2: isl = 'nan': give a finite number >= 0"),
        ((f"{HEAD},osl", ROW + ",1", f"{ROW},-5"), r"points\.csv:3: osl = '-5': give a finite number >= 0"),
        (("source,model,gpu", "a,b,c"), r"points\.csv:1: no column metric_kind; found source, model, gpu"),
        ((HEAD, "me,,H100,online_serving"), r"points\.csv:2: model is blank"),
        ((HEAD, "me,m,H100,online"), r"points\.csv:2: metric_kind = 'online': give one of steady_decode"),
        ((HEAD, f"{ROW},9"), r"points\.csv:2: has more values than the header"),
        ((HEAD,), r"points\.csv: has no rows"),
    ],
)
def test_what_is_wrong_is_placed(tmp_path: Path, lines: tuple[str, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        of(tmp_path, *lines)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.csv: not a CSV file that can be read"):
        read(tmp_path / "nowhere.csv")
