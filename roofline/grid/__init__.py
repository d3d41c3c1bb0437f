"""Named axes around the kernels: sheets and lists in, a labelled Dataset out."""

from roofline.grid.evaluate import decode, largest_batch, prefill

__all__ = ["decode", "largest_batch", "prefill"]
