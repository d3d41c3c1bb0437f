"""What a plan holds: every variable with its unit and meaning."""

from __future__ import annotations

FIGURES: dict[str, tuple[str, str]] = {
    "tokens_per_mwh": ("1/MWh", "output tokens per megawatt-hour"),
    "joules_per_token_at_boundary": ("J", "energy per output token"),
    "joules_per_token": ("J", "energy per output token, accelerators only, while they run"),
    "tokens_per_s_per_gpu": ("1/s", "output tokens a second per accelerator"),
    "input_tokens_per_s_per_gpu": ("1/s", "input tokens a second per accelerator"),
    "total_tokens_per_s_per_gpu": ("1/s", "input and output tokens a second per accelerator"),
    "tokens_per_s_per_user": ("1/s", "output tokens a second of one request once it decodes: interactivity"),
    "output_tokens_per_s": ("1/s", "output tokens a second of one unit: a replica, or two pools matched"),
    "request_rate": ("1/s", "requests a second of one unit"),
    "ttft": ("s", "time to first token (TTFT), at the percentile of its limit"),
    "tpot": ("s", "time per output token (TPOT), at the percentile of its limit"),
    "request_latency": ("s", "time to the last token, at the percentile of its limit"),
    "concurrency": ("1", "requests in one unit at once, those at their prompt included"),
    "batch": ("1", "sequences decoding in one replica"),
    "power": ("W", "mean draw of one accelerator"),
    "prefill_power": ("W", "mean draw of one accelerator of the prefill pool"),
    "decode_power": ("W", "mean draw of one accelerator of the decode pool, or of its attention"),
    "ffn_power": ("W", "mean draw of one accelerator of the feed-forwards, where they are apart"),
    "power_at_boundary": ("W", "power for each accelerator at the boundary, idle ones charged"),
    "accelerators": ("1", "accelerators of one unit"),
    "replicas": ("1", "units that the workload's rate of requests takes"),
    "total_accelerators": ("1", "accelerators that the workload's rate of requests takes"),
    "memory": ("B", "memory of the fullest accelerator that decodes"),
    "memory_share": ("1", "share of what a serving process may use"),
    "tp": ("1", "tensor-parallel degree"),
    "pp": ("1", "pipeline stages"),
    "dp": ("1", "attention ranks"),
    "ep": ("1", "expert-parallel degree"),
    "moe_tp": ("1", "slices of an expert"),
    "chunk": ("1", "prompt tokens of a step on each attention rank"),
    "drafts": ("1", "tokens drafted a step and sequence"),
    "prefill_replicas": ("1", "replicas that compute prompts in one unit; 0 where all do"),
    "decode_replicas": ("1", "replicas that decode in one unit"),
    "prefill_accelerators": ("1", "accelerators of a unit that compute prompts"),
    "prefill_batch": ("1", "prompts computed at once in a replica of the prefill pool"),
    "prefill_load": ("1", "share of time for which the prefill pool is sized to work"),
    "prefill_tp": ("1", "tensor-parallel degree of the prefill pool"),
    "prefill_pp": ("1", "pipeline stages of the prefill pool"),
    "prefill_dp": ("1", "attention ranks of the prefill pool"),
    "prefill_ep": ("1", "expert-parallel degree of the prefill pool"),
    "prefill_moe_tp": ("1", "slices of an expert in the prefill pool"),
    "micro_batches": ("1", "micro-batches between attention and feed-forward, where they are apart"),
    "ffn_accelerators": ("1", "accelerators of a replica that run its feed-forwards alone"),
    "nearest_factor": ("1", "how far the nearest candidate is over the limit it misses most, where all miss one"),
}
"""Float variables: (units, long_name). The first two name the boundary too."""

TEXTS = {
    "mode": "how requests are served",
    "recipe": "recipe of the replicas that decode",
    "deployment": "deployment of the replicas that decode",
    "prefill_system": "system of the prefill pool",
    "prefill_recipe": "recipe of the prefill pool",
    "prefill_deployment": "deployment of the prefill pool",
    "ffn_system": "system of the feed-forwards, where they are apart",
    "ffn_deployment": "deployment of the feed-forwards, where they are apart",
    "rack_limited": "replicas that the power of their system (power.max_w) leaves idle beside others",
    "nearest_miss": "the limit that the nearest candidate misses: ttft, tpot or latency",
}
"""Text variables: long_name. Empty where there is none."""

AT_BOUNDARY = ("tokens_per_mwh", "joules_per_token_at_boundary", "power_at_boundary")
