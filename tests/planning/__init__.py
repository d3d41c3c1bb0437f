"""Tests of roofline.planning."""
