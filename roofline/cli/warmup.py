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
        import roofline as rl
        from roofline.kernels._jit import CACHE_FOLDER
        from roofline.rack import best_over_deployments

        # Every way into the kernels once, on the smallest model.
        model, system = "llama-3.1-8b", "hgx-h100"
        rl.decode(model, system, batch=1, context=1024, components=True)
        rl.prefill(model, system, batch=1, isl=1024, components=True)
        rl.explain(model, system, context=1024)
        best_over_deployments(model, system, batch_per_gpu=1, context=1024)
        rl.serve(model, system, "bf16", workload="1k/1k", concurrency=1)
        rl.plan(model, system, "bf16", workload="1k/1k", most_accelerators=1)
    seconds = time.perf_counter() - start
    folder = "" if CACHE_FOLDER is None else str(CACHE_FOLDER)
    if as_json:
        print_json(WarmupDocument(seconds=seconds, cache=folder))
    elif folder:
        print(f"kernels ready in {seconds:.1f} s, kept in {folder}")
    else:
        print(f"kernels compiled in {seconds:.1f} s, but not kept: set ROOFLINE_CACHE to a folder that can be written")
