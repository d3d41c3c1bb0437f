"""The largest batch that fits, for every configuration and context."""

from __future__ import annotations

import numpy as np

from roofline.kernels._jit import entry
from roofline.kernels.memory import largest_batch
from roofline.kernels.step import legality


@entry
def _largest_batches(out, models, layers, machines, kits, deployments, configs, context, new, drafts):
    for i in range(configs.size):
        config = configs[i]
        model, machine, deployment = models[config.model], machines[config.machine], deployments[config.deployment]
        runs = config.kit >= 0 and legality(model, layers, machine, deployment, drafts) == 0
        for c in range(context.size):
            out[i, c] = 0
            if runs and context[c] <= model.max_context:
                kit = kits[config.kit]
                out[i, c] = largest_batch(model, layers, machine, kit, deployment, context[c], new, drafts)


def largest_batches(models, layers, machines, kits, deployments, configs, context, new_tokens=1, drafts=0):
    """Largest number of sequences in one replica whose decode pass fits in memory.

    Record arrays as `sweep.decode_grid`.   context : int64[n] tokens.   new_tokens : int   of the pass.
    drafts : int   of them drafted by the model's own modules, which then take memory too.
    Returns int64[config, n]; 0 where not even one sequence fits or the deployment is not legal.
    """
    out = np.empty((configs.size, context.size), dtype=np.int64)
    views = [a.view(np.recarray) for a in (models, layers, machines, kits, deployments, configs)]
    _largest_batches(out, *views, np.ascontiguousarray(context, dtype=np.float64), int(new_tokens), int(drafts))
    return out
