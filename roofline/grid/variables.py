"""What a grid can hold: every variable with its unit, meaning and kernel number. The one place for these facts."""

from __future__ import annotations

from dataclasses import dataclass, replace

from roofline.layout import LIMIT_MEANINGS, Bound, Component, Limit


@dataclass(frozen=True)
class Variable:
    """One float64 variable of a Dataset."""

    name: str
    kernel: str  # name of the kernel's Var
    units: str
    long_name: str


DECODE = (
    Variable("step_time", "STEP", "s", "time of one decode step of the whole replica"),
    Variable("tpot", "STEP", "s", "time per output token of one sequence (TPOT)"),
    Variable("step_time_serial", "SERIAL", "s", "step time with collectives after all other work"),
    Variable("tokens_per_s_per_user", "USER_RATE", "1/s", "output tokens per second of one sequence"),
    Variable("tokens_per_s_per_gpu", "GPU_RATE", "1/s", "output tokens per second per accelerator"),
    Variable("memory", "MEMORY", "B", "memory of the fullest accelerator: weights, KV cache, activations"),
    Variable("power", "POWER", "W", "metered draw of an accelerator, a mean over those of the replica"),
    Variable("joules_per_token", "ENERGY", "J", "energy per output token, accelerators only"),
    Variable(
        "mfu", "MFU", "1", "model FLOP utilisation: share of dense peak compute that the busiest accelerator uses"
    ),
    Variable(
        "mbu", "MBU", "1", "memory bandwidth utilisation: share of memory bandwidth that the busiest accelerator uses"
    ),
)

VERIFY = tuple(
    replace(variable, long_name=variable.long_name.replace("output token", "verified token"))
    for variable in DECODE
    if variable.name != "tpot"
)
"""A step of several new tokens: which of them are accepted is not known here, so they are not output."""

PREFILL = (
    Variable("prefill_time", "STEP", "s", "time to process the prompts of the whole batch"),
    Variable("prefill_time_serial", "SERIAL", "s", "prefill time with collectives after all other work"),
    Variable("tokens_per_s_per_gpu", "GPU_RATE", "1/s", "computed input tokens per second per accelerator"),
    Variable("memory", "MEMORY", "B", "memory of the fullest accelerator: weights, KV cache, activations"),
    Variable("power", "POWER", "W", "metered draw of an accelerator, a mean over those of the replica"),
    Variable("joules_per_token", "ENERGY", "J", "energy per computed input token, accelerators only"),
    Variable(
        "mfu", "MFU", "1", "model FLOP utilisation: share of dense peak compute that the busiest accelerator uses"
    ),
    Variable(
        "mbu", "MBU", "1", "memory bandwidth utilisation: share of memory bandwidth that the busiest accelerator uses"
    ),
)

COMPONENTS = {component: component.name.lower() for component in Component}

LIMIT_FLAGS = {
    "flag_values": [int(limit) for limit in Limit],
    "flag_meanings": " ".join(limit.name.lower() for limit in Limit),
    "flag_descriptions": "; ".join(f"{limit.name.lower()}: {LIMIT_MEANINGS[limit]}" for limit in Limit),
    "long_name": "why a cell has no value; 0 where it has one",
}

BOUND_FLAGS = {
    "flag_values": [int(bound) for bound in Bound],
    "flag_meanings": " ".join(bound.name.lower() for bound in Bound),
    "long_name": "what takes the largest share of the time",
}

WIDENED = {
    "long_name": "parts computed in a wider arithmetic than the recipe's, which the accelerator lacks or is slower in"
}


def limit_reason(code: int) -> str:
    """What a `limit` code says, in words."""
    return LIMIT_MEANINGS[Limit(code)]
