"""Named axes around the kernels: sheets and lists in, a labelled Dataset out."""

from roofline.grid.evaluate import decode, prefill

__all__ = ["decode", "prefill"]
