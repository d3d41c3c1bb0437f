"""A result as a file, by the suffix of its name. A file is complete or absent: it is written beside and renamed."""

from __future__ import annotations

import csv
import os
import shutil
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any

from roofline.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import xarray as xr

    from roofline.report.tables import Table

TABLES = (".csv", ".parquet")
ARRAYS = (".nc", ".zarr")
PICTURES = (".png", ".svg", ".pdf")


def suffix_of(path: str | Path, known: tuple[str, ...] = TABLES + ARRAYS + PICTURES) -> str:
    """The suffix of `path`, lower case. Raises InputError naming the known ones where it is another."""
    suffix = Path(path).suffix.lower()
    if suffix not in known:
        raise InputError(f"out {path}: suffix {suffix or '(none)'} is not one of {', '.join(known)}")
    return suffix


def check_writable(path: str | Path) -> None:
    """Refuse a place that cannot be written before time is spent on the result. Raises InputError."""
    target = Path(path)
    if not target.parent.is_dir():
        raise InputError(f"out {path}: folder {target.parent} does not exist")
    if target.is_dir() and target.suffix.lower() != ".zarr":
        raise InputError(f"out {path}: is a folder")
    # A rename does not ask whether the old file may be written, and os.access says yes to root whatever the mode is.
    if target.exists() and not (os.access(target, os.W_OK) and target.stat().st_mode & 0o222):
        raise InputError(f"out {path}: is there already and read-only; give another name, or chmod u+w {path}")
    with _beside(target):
        pass


@contextmanager
def _beside(target: Path) -> Iterator[Path]:
    """A path in a new folder beside `target` (so that a rename stays on one file system); gone afterwards."""
    try:
        folder = Path(mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    except OSError as error:
        raise InputError(f"out {target}: cannot write there: {error.strerror}") from None
    try:
        yield folder / target.name
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def whole(path: str | Path) -> Iterator[Path]:
    """Yield a path to write to; on success it takes the place of `path`, on failure nothing is left of it.

    Raises InputError where `path` cannot be written.
    """
    target = Path(path)
    check_writable(target)
    with _beside(target) as draft:
        try:
            yield draft
            if target.is_dir():
                if any(target.iterdir()) and not (target / "zarr.json").is_file():
                    raise InputError(f"out {target}: is a folder and holds no Zarr store; it is left alone")
                target.rename(draft.parent / "old")
            draft.replace(target)
        except OSError as error:
            raise InputError(f"out {target}: cannot write it: {error.strerror or error}") from None


def save(ds: xr.Dataset, path: str | Path, *, draw: Callable[[xr.Dataset], Any] | None = None) -> Path:
    """Write a Dataset as a table (.csv, .parquet), an array file (.nc, .zarr) or a picture (.png, .svg, .pdf).

    draw : makes the matplotlib figure of a picture; without it pictures are refused.
    Raises InputError on an unknown suffix, a missing library or a place that cannot be written.
    """
    known = TABLES + ARRAYS + (PICTURES if draw is not None else ())
    suffix = suffix_of(path, known)
    target = Path(path)
    if suffix in TABLES:
        from roofline.report.tables import table

        save_table(table(ds).stamped(), target)
    elif suffix in ARRAYS:
        _save_arrays(ds, target, suffix)
    elif draw is not None:
        save_figure(draw(ds), target)
    return target


def save_table(rows: Table, path: str | Path) -> Path:
    """Write a table as .csv or .parquet. Raises InputError as `save` does."""
    suffix = suffix_of(path, TABLES)
    if suffix == ".parquet":
        needs("pyarrow", "io", path)
        import pyarrow as pa
        import pyarrow.parquet as pq

        arrays = {column.header: pa.array(column.values.tolist()) for column in rows.columns}
        with whole(path) as draft:
            pq.write_table(pa.table(arrays), draft)
        return Path(path)
    with whole(path) as draft, draft.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow([column.header for column in rows.columns])
        writer.writerows(["" if value is None else value for value in row.values()] for row in rows.rows())
    return Path(path)


def save_figure(figure: Any, path: str | Path) -> Path:
    """Write a matplotlib figure. Raises InputError as `save` does."""
    suffix = suffix_of(path, PICTURES)
    with whole(path) as draft:
        figure.savefig(draft, format=suffix[1:])
    return Path(path)


def _save_arrays(ds: xr.Dataset, target: Path, suffix: str) -> None:
    if suffix == ".nc":
        needs("h5netcdf", "io", target)
        needs("h5py", "io", target)
        packing = {name: {"zlib": True, "complevel": 4} for name in ds.data_vars if ds[name].dtype.kind in "fiu"}
        with whole(target) as draft:
            ds.to_netcdf(draft, engine="h5netcdf", encoding=packing)
        return
    needs("zarr", "scale", target)
    # Zarr v3 has no settled fixed-width strings: labels travel as variable-length ones.
    for name in [name for name, coord in ds.variables.items() if coord.dtype.kind == "U"]:
        ds = ds.assign_coords({name: (ds[name].dims, ds[name].values.astype(object), ds[name].attrs)})
    with whole(target) as draft:
        ds.to_zarr(draft, mode="w", consolidated=False)


def needs(library: str, extra: str, path: str | Path) -> None:
    """Raise InputError, with the line that installs it, where an optional library is missing."""
    from importlib.util import find_spec

    if find_spec(library) is None:
        raise InputError(f"out {path}: needs {library}, which is not installed; {how_to_install(extra)}")


def how_to_install(extra: str) -> str:
    """The line that installs an extra, from a package index and from a clone."""
    return f'pip install "roofline[{extra}]" (in a clone: pip install ".[{extra}]")'
