"""Compiled physics: records in, numbers out. Imports numpy, numba, math and `roofline.layout` only."""
