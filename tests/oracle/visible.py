"""Section 3: which tokens an attention layer's queries see, read and keep."""

from __future__ import annotations

from typing import Any

from tests.oracle.operations import Shape

Plain = dict[str, Any]


def pairs_seen(new_tokens: int, context: int, window: int) -> int:
    """Equation (3) by what it means: new token i stands at position L - Q + i and sees min(position, w) tokens.

    Counted in closed form per side of the window, not with the document's triangular numbers.
    """
    first = context - new_tokens + 1  # position of the first new token
    if first >= window:
        return new_tokens * window
    last_growing = min(context, window)  # positions first .. last_growing see themselves and all before
    growing = (first + last_growing) * (last_growing - first + 1) // 2
    return growing + (context - last_growing) * window


def tokens_read(new_tokens: int, context: int, window: int) -> int:
    """seen(Q, L, w): the first new token looks back w - 1 tokens, the last stands at L."""
    oldest = max(1, context - new_tokens + 1 - (window - 1))
    return context - oldest + 1


def tokens_kept(context: int, window: int) -> int:
    return min(context, window)


def pairs_in_chunks(new_tokens: int, context: int, chunk: int) -> int:
    """Equation (3c) by what it means: whole chunks and the two ends, each a run of growing looks back."""
    pairs, position = 0, context - new_tokens + 1
    while position <= context:
        at = (position - 1) % chunk + 1  # what the first token of this run sees
        if at == 1 and context - position + 1 >= chunk:
            whole = (context - position + 1) // chunk
            pairs += whole * (chunk * (chunk + 1) // 2)
            position += whole * chunk
            continue
        last = min(chunk, at + context - position)
        pairs += (at + last) * (last - at + 1) // 2
        position += last - at + 1
    return pairs


def tokens_of_chunks(new_tokens: int, context: int, chunk: int) -> int:
    """What the new tokens read: everything from the start of the first one's chunk."""
    before = context - new_tokens
    return context - (before - before % chunk)


def tokens_of_selections(new_tokens: int, context: int, selected: int, overlapping: bool) -> int:
    """What the selections of the new tokens cover: one of them where they overlap, at most all tokens."""
    return min(context, selected if overlapping else new_tokens * selected)


def visible(row: Plain, kit: Plain, shape: Shape) -> tuple[int, int]:
    """(pairs, seen) of a layer whose attention reads what it may see and no more."""
    new, context = shape.new_tokens, shape.context
    if row["selected"]:
        seen = tokens_of_selections(new, context, row["selected"], bool(kit["bound"]))
        return pairs_seen(new, context, row["selected"]), seen
    if row["chunked"]:
        return pairs_in_chunks(new, context, row["window"]), tokens_of_chunks(new, context, row["window"])
    return pairs_seen(new, context, row["window"]), tokens_read(new, context, row["window"])


def visible_under_a_mask(row: Plain, kit: Plain, shape: Shape) -> tuple[int, int]:
    """(pairs, seen) of attention that works on all tokens and masks what was not selected; as `visible` in `bound`."""
    if row["selected"] and not kit["bound"]:
        return pairs_seen(shape.new_tokens, shape.context, shape.context), shape.context
    return visible(row, kit, shape)


def kept(row: Plain, context: int) -> int:
    """Tokens of a sequence that the cache of an attention layer must hold."""
    return context if row["selected"] else tokens_kept(context, row["window"])
