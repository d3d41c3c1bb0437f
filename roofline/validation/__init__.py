"""Held against measurement: what was measured, under which conditions, and what is predicted for it.

`measured.read` reads a CSV of measured points, `conditions.case_of` says for each what has to be computed or why it
cannot be, `predict.predict` computes all of them together.
"""
