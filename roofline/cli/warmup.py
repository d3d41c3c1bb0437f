"""`roofline warmup`: compile the kernels now, so that no later run waits for it."""

from __future__ import annotations

import time

from roofline.cli import options as opt


def warmup(as_json: opt.Json = False) -> None:
    """Compile the kernels and keep them in the user's cache folder."""
    from roofline.cli.documents import WarmupDocument
    from roofline.cli.output import print_json, waiting

    start = time.perf_counter()
    with waiting("compiling the kernels"):
        from roofline import decode, prefill
        from roofline.kernels._jit import CACHE_FOLDER

        # Every way in once: the two passes, each with the variables that pull in all of the kernels.
        decode(["llama-3.1-8b"], ["hgx-h100"], tp=(1,), batch=(1,), context=(1024,), components=True)
        prefill(["llama-3.1-8b"], ["hgx-h100"], tp=(1,), batch=(1,), isl=(1024,))
    seconds = time.perf_counter() - start
    folder = "" if CACHE_FOLDER is None else str(CACHE_FOLDER)
    if as_json:
        print_json(WarmupDocument(seconds=seconds, cache=folder))
    elif folder:
        print(f"kernels ready in {seconds:.1f} s, kept in {folder}")
    else:
        print(f"kernels compiled in {seconds:.1f} s, but not kept: set ROOFLINE_CACHE to a folder that can be written")
