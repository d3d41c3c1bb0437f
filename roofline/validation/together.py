"""Closed loops whose clients start together: whose prompts a request decodes beside.

Between two arrivals of one client each of the n - 1 others sends one prompt. A request decodes beside some of them and
waits for the rest before its first token, so one share f says both. Where lengths are drawn at random, clients drift
apart after their first request and f is 1 but for that one. Where all lengths are equal they never do:

  prompts first   all prompts of a wave run, b at a time, before any sequence decodes. A request decodes beside those of
                  the batches after its own and waits for those before:  f = (n - b) / 2 (n - 1) where b divides n
  mixed           a sequence that ends in a step is replaced in the step after the next, so the groups of m prompts of
                  the first wave follow one another, step by step, for ever. A request waits for its own group and the
                  one before it, but the first group of the round for its own alone:
                  f = (n - 2m + m^2/n) / (n - 1) where m divides n

A mixed run begins and ends as prompts first do: the first request of each client waits for the groups before its own,
and the last decodes beside none of a next wave.
"""

from __future__ import annotations

from itertools import pairwise

PAIR = 2
"""m: prompts of a step of that chain. `estimated`: the TTFT of public runs of equal lengths (Qwen3 32B and Llama 3.1 8B
on H100 in aiconfigurator's sample) is 3.7 prompts at 8 clients and 11 at 128, its own among them, for prompts of 1k
to 4k tokens alike. Such a chain gives 4 and 10 with 2, and 8 and 21 with the 8 that a chunk of 8,192 tokens holds."""


def first_share(clients: int, per_batch: int) -> float:
    """f of a wave whose prompts run in batches of `per_batch` before their sequences decode; 1 for a single client."""
    if clients < 2:
        return 1.0
    # A last batch that is not full decodes beside no prompt.
    beside = sum(per_batch * (clients - (j + 1) * per_batch) for j in range(clients // per_batch))
    return beside / clients / (clients - 1)


def chain_share(clients: int, per_step: int = PAIR) -> float:
    """f of a chain of groups of `per_step` clients, the last of them with what is left; 1 for a single client.

    It holds where the chain fits in a round: no more groups than the output has tokens.
    """
    if clients < 2:
        return 1.0
    full, left = divmod(clients, per_step)
    groups = [0, *[per_step] * full, left]
    waited = sum(own * (own - 1 + before) for before, own in pairwise(groups))
    return 1.0 - waited / clients / (clients - 1)


def share_seen(clients: int, waves: float, per_batch: int, *, alike: bool, prompts_first: bool) -> float:
    """f over a run of `waves` requests of each client (at least 1; inf: neither start nor end is seen).

    per_batch : prompts of one batch where prompts run first, and of a step of the first wave where they are mixed.
    alike : all lengths are equal.
    """
    start = first_share(clients, max(1, per_batch))
    if alike and prompts_first:
        return start
    later = chain_share(clients) if alike else 1.0
    return later + (start - later) / max(waves, 1.0)
