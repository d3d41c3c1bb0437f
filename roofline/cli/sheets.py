"""`--specs DIR`: the user's folder of sheets, before those of the environment and the built-in ones."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from roofline.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def sheets_of(folder: Path | None) -> Iterator[None]:
    """While the block runs, names of sheets are looked up in `folder` first. Raises InputError where it is none."""
    if folder is None:
        yield
        return
    from roofline.specs.folders import ENVIRONMENT

    if not folder.is_dir():
        raise InputError(f"--specs {folder}: is not a folder")
    before = os.environ.get(ENVIRONMENT)
    os.environ[ENVIRONMENT] = os.pathsep.join([str(folder), *([before] if before else [])])
    try:
        yield
    finally:
        if before is None:
            del os.environ[ENVIRONMENT]
        else:
            os.environ[ENVIRONMENT] = before
