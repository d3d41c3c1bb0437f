"""What a site holds: every variable with its unit and meaning."""

from __future__ import annotations

FIGURES: dict[str, tuple[str, str]] = {
    "output_tokens_per_s": ("1/s", "output tokens a second with every replica at work"),
    "input_tokens_per_s": ("1/s", "input tokens a second with every replica at work"),
    "output_tokens_per_s_per_mw": ("1/(s MW)", "those output tokens a second over the power of the site"),
    "total_tokens_per_s_per_mw": ("1/(s MW)", "input and output tokens a second over the power of the site"),
    "output_tokens_per_day": ("1/d", "output tokens a day under the load"),
    "input_tokens_per_day": ("1/d", "input tokens a day under the load"),
    "users": ("1", "requests at once with every replica at work"),
    "tokens_per_mwh": ("1/MWh", "output tokens per megawatt-hour of the day ({metered})"),
    "joules_per_token_at_boundary": ("J", "energy per output token of the day ({metered})"),
    "energy_per_day": ("J", "energy of a day ({metered})"),
    "usd_per_mtok": ("USD", "all cost per million output tokens"),
    "usd_per_mtok_hardware": ("USD", "hardware's part of it"),
    "usd_per_mtok_energy": ("USD", "energy's part of it"),
    "usd_per_mtok_total": ("USD", "all cost per million input and output tokens"),
    "usd_per_mtok_input": ("USD", "cost of prompts per million input tokens"),
    "usd_per_mtok_output": ("USD", "cost of decoding per million output tokens"),
    "usd_per_day": ("USD/d", "all cost of a day"),
    "energy_usd_per_day": ("USD/d", "energy's part of it"),
    "units": ("1", "units of the plan, in rates of requests: replicas, or pools matched"),
    "systems": ("1", "systems"),
    "site_accelerators": ("1", "accelerators"),
    "idle_accelerators": ("1", "accelerators in no replica, which idle and are charged"),
    "replicas_per_system": ("1", "replicas that decode in a full system; below 1 where one spans several"),
    "prefill_systems": ("1", "systems of the prefill pools"),
    "decode_systems": ("1", "systems of the decode pools"),
    "ffn_systems": ("1", "systems of the feed-forwards, where they are apart"),
    "site_power": ("W", "power of the site, at the facility's meter"),
    "power_taken": ("W", "power that the systems are counted with ({basis})"),
    "power_left": ("W", "power of the site that no further unit fits in"),
    "power_running": ("W", "power with every replica at work ({metered})"),
    "power_idle": ("W", "power with none at work ({metered})"),
    "rack_power_running": ("W", "power of the systems with every replica at work (rack, metered)"),
    "rack_power_idle": ("W", "power of the systems with none at work (rack, metered)"),
}
"""Float variables: (units, long_name)."""

STATED = {
    "gco2e_per_token": ("g", "CO2 equivalent of the energy of an output token ({metered})"),
    "water_l_per_token": ("L", "water of an output token"),
}
"""Of them those that a stated intensity brings."""

SOLD = {
    "revenue_per_day": ("USD/d", "what the tokens of a day are sold for"),
    "margin_per_day": ("USD/d", "revenue less all cost"),
}
"""Of them those that a price of tokens brings."""

TEXTS = {
    "rack_limited": "what the power of a rack leaves idle; '' where nothing",
    "price_grade": "grade of the price of its accelerators; '' where one has none",
    "site_reason": "why the site serves nothing, in words",
}
"""Text variables: long_name."""

KEPT = (
    *("mode", "recipe", "deployment", "prefill_system", "prefill_deployment", "ffn_system", "ffn_deployment"),
    *("accelerators", "batch", "drafts", "ttft", "tpot", "request_latency", "tokens_per_s_per_user"),
    *("tokens_per_s_per_gpu", "tier", "energy_tier", "nearest_miss", "nearest_factor", "limit"),
)
"""Variables of the plan that a site keeps, of one unit; `accelerators` becomes `unit_accelerators`."""
