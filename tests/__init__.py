"""Tests, laid out like roofline/. `oracle` is the independent implementation that kernels are held against."""
