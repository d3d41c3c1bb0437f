"""Numpy records to the plain dicts the oracle works on."""

from __future__ import annotations

from typing import Any

import numpy as np

Plain = dict[str, Any]


def as_plain(record: Any) -> Plain:
    """One structured record as a dict of Python numbers, nested records as nested dicts."""
    plain: Plain = {}
    for name in record.dtype.names:
        value = record[name]
        plain[name] = as_plain(value) if value.dtype.names else value.item()
    return plain


def plain_case(
    models: np.ndarray, layers: np.ndarray, machines: np.ndarray, kits: np.ndarray, deployments: np.ndarray, config: Any
) -> tuple[Plain, Plain, Plain | None, Plain]:
    """(model with `rows` and `draft_rows`, machine, kit or None, deployment) of one CONFIG record."""
    model = as_plain(models[config["model"]])
    model["rows"] = [as_plain(row) for row in layers[model["first_layer"] : model["last_layer"]]]
    model["draft_rows"] = [as_plain(row) for row in layers[model["first_draft"] : model["last_draft"]]]
    kit = as_plain(kits[config["kit"]]) if config["kit"] >= 0 else None
    return model, as_plain(machines[config["machine"]]), kit, as_plain(deployments[config["deployment"]])
