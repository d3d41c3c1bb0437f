"""Fetch a config.json from the Hugging Face Hub, with the client of the `hub` extra."""

from __future__ import annotations

import importlib
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

from roofline.errors import InputError

HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
QUANTIZATION_FILE = "hf_quant_config.json"
"""Where NVIDIA's checkpoints keep what others have under quantization_config."""


def is_hub_name(source: str) -> bool:
    """Whether a text can be a repository of the Hub, org/name, and is not a file here."""
    named = HUB_NAME.fullmatch(source) is not None and not source.endswith((".json", ".yaml", ".yml"))
    return named and not source.startswith(".") and not Path(source).exists()


def fetch(name: str) -> Path:
    """The config.json of a repository, in the client's cache, with `hf_quant_config.json` beside it where there is one.

    Raises `roofline.errors.InputError` without the client, without a network, and for a name that is not there or
    not open.
    """
    try:
        client: Any = importlib.import_module("huggingface_hub")
    except ImportError:
        raise InputError(
            f"{name}: a name on the Hugging Face Hub needs the hub extra: pip install 'roofline[hub]'; "
            "or give the path of a config.json"
        ) from None
    try:
        path = Path(client.hf_hub_download(repo_id=name, filename="config.json"))
    except (OSError, ValueError) as error:
        hint = "is the name right, is there a network, is the repository open? or give the path of a config.json"
        raise InputError(
            f"{name}: cannot fetch config.json from the Hugging Face Hub: {_first(error)}; {hint}"
        ) from None
    with suppress(OSError, ValueError):  # most have none
        client.hf_hub_download(repo_id=name, filename=QUANTIZATION_FILE)
    return path


def _first(error: Exception) -> str:
    text = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return text.rstrip(".")
