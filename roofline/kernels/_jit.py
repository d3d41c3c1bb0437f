"""The one way to compile: `kernel` for building blocks, `entry` for what Python calls.

Numba's cache key holds a function's own file only; a cached entry whose callee changed would run stale code and
give wrong numbers. Entries are therefore cached in a folder named by a hash of every source a kernel can reach,
the numba version and the CPU, so that any edit, upgrade or other machine misses. Building blocks are not cached:
they are compiled into the entries. Where no folder is writable everything works, uncached.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import time
from pathlib import Path
from threading import Thread

import numba
import numpy as np
from numba.core import cgutils, types
from numba.core import config as numba_config
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

_HERE = Path(__file__).parent
_KEEP_UNUSED_S = 30 * 86400.0


def _sources():
    return [*sorted(_HERE.glob("*.py")), _HERE.parent / "layout.py"]


def source_digest():
    """Hash of all that decides what a compiled kernel does: sources, numba, numpy, interpreter, CPU."""
    digest = hashlib.sha256()
    for path in _sources():
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    for fact in (numba.__version__, np.__version__, sys.version, _cpu()):
        digest.update(str(fact).encode() + b"\0")
    return digest.hexdigest()[:20]


def _cpu():
    try:
        import llvmlite.binding as llvm

        return f"{llvm.get_host_cpu_name()} {llvm.get_host_cpu_features().flatten()}"
    except RuntimeError:  # an unknown CPU: key by name alone
        return numba_config.CPU_NAME or "generic"


def cache_root():
    """Folder under which compiled kernels are kept (ROOFLINE_CACHE, else the user's cache folder)."""
    chosen = os.environ.get("ROOFLINE_CACHE")
    if chosen:
        return Path(chosen) / "kernels"
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "roofline" / "kernels"


def _writable_cache():
    """The cache folder of these sources, made and tried, or None."""
    try:
        folder = cache_root() / source_digest()
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".probe-{os.getpid()}"
        probe.touch()
        probe.unlink()
        os.utime(folder)
    except (OSError, RuntimeError):  # RuntimeError: no home directory
        return None
    _prune(folder)
    return folder


def _prune(current):
    """Drop cache folders of other sources that nothing has opened for a month."""
    for other in current.parent.iterdir():
        try:
            if other != current and time.time() - other.stat().st_mtime > _KEEP_UNUSED_S:
                shutil.rmtree(other, ignore_errors=True)
        except OSError:  # gone meanwhile, or not ours
            continue


CACHE_FOLDER = None if numba_config.DISABLE_JIT else _writable_cache()


def kernel(function):
    """Compile a building block: IEEE arithmetic (no fastmath: NaN has meaning and bits must not move), no GIL.

    Without Python wrappers, which for records cost more to compile than the function; only kernels can call it.
    """
    options = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    return numba.njit(error_model="numpy", nogil=True, **options)(function)


def folded(function):
    """A building block that LLVM puts into its callers: small, or taking many arrays, whose passing costs more."""
    options = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True, "forceinline": True}
    return numba.njit(error_model="numpy", nogil=True, **options)(function)


def inlined(function):
    """A building block put into its one caller, or two, before compilation: half the work of compiling both."""
    return numba.njit(error_model="numpy", nogil=True, inline="always")(function)


def entry(function):
    """Compile what Python calls, lazily at the first call, cached on disk where that is possible."""
    if CACHE_FOLDER is None:
        return numba.njit(error_model="numpy", nogil=True)(function)
    before = numba_config.CACHE_DIR
    numba_config.CACHE_DIR = str(CACHE_FOLDER)
    try:
        return numba.njit(error_model="numpy", nogil=True, cache=True)(function)
    finally:
        numba_config.CACHE_DIR = before


@intrinsic
def _uncounted(typing, value):
    def build(context, builder, signature, arguments):
        return _without_owner(context, builder, signature.return_type, arguments[0])

    return value(value), build


def _without_owner(context, builder, kind, value):
    if isinstance(kind, types.BaseTuple):
        parts = cgutils.unpack_tuple(builder, value)
        bare = [_without_owner(context, builder, *part) for part in zip(kind, parts, strict=True)]
        return context.make_tuple(builder, kind, bare)
    if not isinstance(kind, types.Array):
        return value
    view = make_array(kind)(context, builder, value)
    view.meminfo = cgutils.get_null_value(view.meminfo.type)
    view.parent = cgutils.get_null_value(view.parent.type)
    return view._getvalue()


def _plain(value):
    return value


def _bare(value):
    return _uncounted(value)


borrowed = _plain if numba_config.DISABLE_JIT else kernel(_bare)
"""An array, or a tuple with arrays, whose references numba does not count: the caller of the caller must keep it.

Each array of an argument is otherwise counted up and down, atomically, at calls and in branches; in kernels of many
small calls that took up to a third of the time, and threads waited for each other's counters.
"""


def run_jobs(function, arguments, jobs, parallel):
    """Call function(*arguments, start, stop) over [0, jobs), in threads where `parallel`.

    Entries release the GIL and jobs do not touch each other, so plain threads do what prange would, with one
    compilation for both, under any thread layer, inside a dask task or after a fork. The caller's thread works too
    and shares are drawn as they are needed: a pool that is fed from outside costs milliseconds a call.
    """
    threads = min(numba_config.NUMBA_NUM_THREADS, jobs) if parallel else 1
    if threads <= 1:
        function(*arguments, 0, jobs)
        return
    share = max(1, jobs // (threads * 8))  # several shares a thread: jobs differ in cost
    if not getattr(function, "signatures", True):  # compile once, not in every thread
        function(*arguments, 0, 0)
    starts, failures = iter(range(0, jobs, share)), []

    def work():
        try:
            for start in starts:
                function(*arguments, start, min(start + share, jobs))
        except BaseException as failure:
            failures.append(failure)

    others = [Thread(target=work) for _ in range(threads - 1)]
    for other in others:
        other.start()
    work()
    for other in others:
        other.join()
    if failures:
        raise failures[0]
