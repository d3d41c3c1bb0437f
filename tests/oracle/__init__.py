"""A second, slower `roofline`: docs/equations.md as scalar Python, to hold the compiled kernels against.

Written from the equations, never from the kernels, and forbidden to import them (tests/test_layers.py).
Input is plain dicts with the field names of roofline/layout.py: a model is a MODEL dict with its LAYER dicts under
`rows` and those of one multi-token-prediction module under `draft_rows`; a kit holds one dict per PART. Output is a
dict of everything, down to each operation.
"""

from tests.oracle.limits import largest_batch, limit_of, memory_of
from tests.oracle.mixed import mixed
from tests.oracle.records import as_plain, plain_case
from tests.oracle.steps import decode, operations_of, prefill

__all__ = [
    "as_plain",
    "decode",
    "largest_batch",
    "limit_of",
    "memory_of",
    "mixed",
    "operations_of",
    "plain_case",
    "prefill",
]
