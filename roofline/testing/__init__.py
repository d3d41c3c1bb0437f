"""Hypothesis strategies in the words of the field, and the laws results must obey, for use on anyone's own sheets.

`strategies` and `layers` draw machines, kits, models and deployments as plain dicts with the field names of
roofline/layout.py; `invariants` and `kinds` check laws on results. Needs the `test` extra (hypothesis). Nothing else
in roofline imports this.
"""
