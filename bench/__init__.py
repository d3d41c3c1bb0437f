"""Benchmarks: cases x phases, measured beside their yardsticks in one run. See bench/README.md."""
