"""Tests of roofline.kernels."""
