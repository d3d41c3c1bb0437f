"""Files by suffix: what is written can be read back, and nothing is left half-written."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from roofline.errors import InputError
from roofline.report import files
from roofline.report.files import check_writable, save, suffix_of, whole
from roofline.report.tables import table
from tests.report.synthetic import synthetic_decode


def test_csv_stands_alone(tmp_path: Path) -> None:
    ds = synthetic_decode()
    save(ds, tmp_path / "x.csv")
    with (tmp_path / "x.csv").open(encoding="utf-8", newline="") as handle:
        read = list(csv.DictReader(handle))
    assert len(read) == ds["tpot"].size
    for got, row in zip(read, table(ds).rows(), strict=True):
        assert got["tpot [s]"] == ("" if row["tpot"] is None else repr(row["tpot"]))
        assert got["fidelity"] == "kernel"
        assert got["limit"] == row["limit"]


def test_parquet_holds_the_same_rows(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    ds = synthetic_decode()
    save(ds, tmp_path / "x.parquet")
    read = pq.read_table(tmp_path / "x.parquet").to_pydict()
    rows = table(ds)
    np.testing.assert_array_equal(np.array(read["tpot [s]"], dtype=float), rows["tpot"].values)
    assert read["system"] == rows["system"].values.tolist()


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_arrays_round_trip(tmp_path: Path, suffix: str) -> None:
    ds = synthetic_decode()
    path = save(ds, tmp_path / f"x{suffix}")
    read = (
        xr.open_dataset(path, engine="h5netcdf")
        if suffix == ".nc"
        else xr.open_zarr(path, consolidated=False, chunks=None)
    )
    with read:
        xr.testing.assert_equal(read.load(), ds)
        assert read.attrs == ds.attrs
        assert read["limit"].dtype == np.int8


def test_a_store_is_replaced_whole(tmp_path: Path) -> None:
    ds = synthetic_decode()
    save(ds, tmp_path / "x.zarr")
    save(ds.isel(batch=[0]), tmp_path / "x.zarr")
    assert xr.open_zarr(tmp_path / "x.zarr", consolidated=False, chunks=None).sizes["batch"] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["x.zarr"]


def test_a_folder_that_is_no_store_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "x.zarr").mkdir()
    (tmp_path / "x.zarr" / "mine.txt").write_text("keep", encoding="utf-8")
    with pytest.raises(InputError, match="left alone"):
        save(synthetic_decode(), tmp_path / "x.zarr")
    assert (tmp_path / "x.zarr" / "mine.txt").read_text(encoding="utf-8") == "keep"


def test_an_unknown_suffix_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\.xlsx is not one of \.csv, \.parquet"):
        save(synthetic_decode(), tmp_path / "x.xlsx")
    with pytest.raises(InputError, match=r"\(none\)"):
        suffix_of("result")


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        check_writable(tmp_path / "no" / "x.csv")
    (tmp_path / "x.csv").mkdir()
    with pytest.raises(InputError, match="is a folder"):
        check_writable(tmp_path / "x.csv")
    with pytest.raises(InputError, match="cannot write there"):
        check_writable("/proc/x.csv")


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "x.csv"
    target.write_text("before", encoding="utf-8")
    with pytest.raises(RuntimeError), whole(target) as draft:
        draft.write_text("half", encoding="utf-8")
        raise RuntimeError
    assert target.read_text(encoding="utf-8") == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["x.csv"]


def test_a_full_disk_is_one_clear_message(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No space left"), whole(tmp_path / "x.csv"):
        raise OSError(28, "No space left on device")
    assert not list(tmp_path.iterdir())


def test_a_missing_library_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import importlib.util

    def nothing(name: str, package: str | None = None) -> Any:
        return None

    monkeypatch.setattr(importlib.util, "find_spec", nothing)
    with pytest.raises(InputError, match=r'pip install "roofline\[io\]" \(in a clone: pip install "\.\[io\]"\)'):
        files.needs("pyarrow", "io", tmp_path / "x.parquet")


@pytest.mark.parametrize("name", ["x.csv", "x.png"])
def test_a_read_only_file_is_left_alone(tmp_path: Path, name: str) -> None:
    target = tmp_path / name
    target.write_text("mine", encoding="utf-8")
    target.chmod(0o444)
    with pytest.raises(InputError, match=f"out .*{name}: is there already and read-only"):
        check_writable(target)
    with pytest.raises(InputError, match="read-only"), whole(target) as draft:
        draft.write_text("other", encoding="utf-8")
    assert target.read_text(encoding="utf-8") == "mine"
    target.chmod(0o644)
    check_writable(target)
