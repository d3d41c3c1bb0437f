"""Make docs/accuracy.md and its pictures: predictions scored against published measurements. Never changed by hand.

python docs/make_accuracy.py [--data CSV] scores the shipped points and, where one is given, a larger table beside them.
"""

from __future__ import annotations

import argparse
import csv
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from roofline.report.files import save_figure
from roofline.report.parity import parity_picture
from roofline.validation.run import SHIPPED, validate
from roofline.validation.score import Errors, errors

if TYPE_CHECKING:
    from collections.abc import Iterable

    from roofline.validation.score import Line, Scores

FOLDER = Path(__file__).parent
PAGE = FOLDER / "accuracy.md"
RATCHET = FOLDER.parent / "tests" / "data" / "accuracy.csv"
"""Errors on the shipped points that a test holds later predictions to."""

PICTURE, PICTURE_ALL = FOLDER / "img" / "accuracy.png", FOLDER / "img" / "accuracy-all.png"

SAMPLE = "aiconfigurator_silicon_sample"
"""The source that the peer was scored on too."""

NAMES = {
    "tpot": "TPOT",
    "ttft": "TTFT",
    "throughput": "tokens/s",
    "joules_per_token": "J per output token",
    "power": "W of an accelerator",
    "power_given_tpot": "W at the measured TPOT",
}


class Origin(NamedTuple):
    """Where the points of a source come from.   kind : how it was measured."""

    what: str
    licence: str
    kind: str


CITED = "figures cited"
"""Where a source comes without a licence for its figures: they are facts, with a reference in every row."""

GITHUB = "https://github.com"
ORIGINS = {
    SAMPLE: Origin(
        "[aiconfigurator-core 0.12.0](https://pypi.org/project/aiconfigurator-core/), of InferenceX",
        "Apache-2.0",
        "closed loop, random tokens, lengths 0.8 to 1.0 of the nominal; means",
    ),
    "inferencex_fixture": Origin(f"[InferenceX]({GITHUB}/SemiAnalysisAI/InferenceX) runs", CITED, "the same; medians"),
    "inferencex_blog": Origin("tables of the InferenceX blog", CITED, "the same; medians"),
    "deepseek_open_infra_day6": Origin(
        f"[open-infra-index]({GITHUB}/deepseek-ai/open-infra-index), day 6", CITED, "24 h of production, one phase"
    ),
    "lmsys_large_scale_ep_h100": Origin(
        f"[LMSYS blog]({GITHUB}/lm-sys/lm-sys.github.io), 2025-05-05", CITED, "one phase at a time, per node"
    ),
    "mlenergy_leaderboard_v3": Origin(
        f"[ML.ENERGY leaderboard]({GITHUB}/ml-energy/leaderboard), v3",
        "Apache-2.0",
        "vLLM, real prompts, steady state; median time between tokens, power of the GPUs",
    ),
    "mlperf_inference_v4.1": Origin("MLPerf inference v4.1", "Apache-2.0", "closed, Offline"),
    "mlperf_inference_v5.1": Origin(
        "MLPerf inference v5.1", "Apache-2.0", "closed, Offline and Server; medians; power of the whole system"
    ),
    "mlperf_inference_v6.0": Origin("MLPerf inference v6.0", "Apache-2.0", "closed, all scenarios; medians"),
    "splitwise_perf_model": Origin(
        f"[splitwise-sim]({GITHUB}/Mutinifni/splitwise-sim), perf_model.csv", "MIT", "static batch, medians"
    ),
    "trtllm_docs_online_v0.14": Origin("TensorRT-LLM perf-overview, online", "Apache-2.0", "offered load; means"),
    "trtllm_docs_v0.9_static": Origin("TensorRT-LLM perf-overview, v0.9", "Apache-2.0", "static batch"),
    "trtllm_docs_v0.17": Origin("TensorRT-LLM perf-overview, v0.17", "Apache-2.0", "offline, all requests at once"),
    "trtllm_docs_v0.20": Origin("TensorRT-LLM perf-overview, v0.20", "Apache-2.0", "offline, all requests at once"),
    "trtllm_docs_v1.0": Origin("TensorRT-LLM perf-overview, v1.0", "Apache-2.0", "offline, all requests at once"),
    "trtllm_docs_v1.1plus": Origin("TensorRT-LLM perf-overview, after v1.0", "Apache-2.0", "offline, all at once"),
    "trtllm_dsr1_best_practice": Origin(
        "TensorRT-LLM, best practice for DeepSeek-R1", "Apache-2.0", "offline at a stated concurrency"
    ),
}

PEER = (
    ("aiconfigurator 0.12, tables of measured kernels", "its sample, 5,221 rows", "71 %", "17 %", "28 %", "50 %"),
    ("aiconfigurator 0.12, speed of light", "the same", "", "56 %", "", ""),
    (
        "aiconfigurator 0.12, tables of measured kernels",
        "its rows without flags, aggregated",
        "",
        "13.8 %",
        "19.2 %",
        "48 %",
    ),
)
"""The peer run on the rows that it ships: rows it predicts, MdAPE and MAPE of TPOT, MdAPE of TTFT."""


def share(value: float) -> str:
    """A share in percent, n/a for none."""
    return "n/a" if value != value else f"{100 * value:.3g} %"


def table(header: Iterable[str], rows: Iterable[Iterable[str]], words: int = 1) -> str:
    """A table of a page.   words : columns at the left that are no numbers."""
    header = list(header)
    rule = ["---"] * words + ["---:"] * (len(header) - words)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [header, rule, *rows])


def overall(scores: Scores) -> str:
    """Errors of each quantity over all rows without flags."""
    lines = [line for line in scores.lines if not line.by and not line.flagged]
    rows = []
    for line in lines:
        weighted = [str(line.groups.n), share(line.groups.mdape), share(line.groups.mape)]
        rows.append([NAMES[line.quantity], f"{line.rows.n} of {line.measured}", *_figures(line.rows), *weighted])
    return table(["", "rows", "MdAPE", "MAPE", "p90", "bias", "groups", "MdAPE of groups", "MAPE of groups"], rows)


def _figures(found: Errors) -> list[str]:
    bias = "n/a" if found.bias != found.bias else f"{found.bias:.2f}"
    return [share(found.mdape), share(found.mape), share(found.p90), bias]


def grouped(scores: Scores, by: str) -> str:
    """TPOT and tokens/s by group: rows, MdAPE, MAPE and bias of each."""
    lines = {(line.group, line.quantity): line for line in scores.lines if line.by == by and not line.flagged}
    names = list(dict.fromkeys(group for group, _ in lines))
    rows = [
        [name, *(cell for quantity in ("tpot", "throughput") for cell in _short(lines.get((name, quantity))))]
        for name in names
    ]
    header = [by] + [f"{what} {figure}" for what in ("TPOT", "tok/s") for figure in ("rows", "MdAPE", "MAPE", "bias")]
    return table(header, [row for row in rows if any(row[1:])])


def _short(line: Line | None) -> list[str]:
    if line is None:
        return [""] * 4
    mdape, mape, _, bias = _figures(line.rows)
    return [f"{line.rows.n} of {line.measured}", mdape, mape, bias]


def beside(scores: Scores) -> str:
    """Ours on the aggregated rows of the peer's sample that have no flags, and the peer's own figures."""
    aggregated = np.array([point.source == SAMPLE and not point.disagg for point in scores.points], dtype=bool)
    flagged = np.array([bool(point.flagged) for point in scores.points], dtype=bool)
    mine = aggregated & ~flagged
    tpot, ttft = (_subset(scores, quantity, mine) for quantity in ("tpot", "ttft"))
    given = f"{100 * tpot.n / max(1, int(mine.sum())):.0f} %"
    ours = ["this package", f"{int(mine.sum())} such rows in {scores.measured.path.name}", given]
    ours += [share(tpot.mdape), share(tpot.mape), share(ttft.mdape)]
    header = ["", "on", "rows predicted", "TPOT MdAPE", "TPOT MAPE", "TTFT MdAPE"]
    return table(header, [*PEER, ours], words=2)


def _subset(scores: Scores, quantity: str, rows: np.ndarray) -> Errors:
    measured, predicted, at = scores.pairs(quantity)
    keep = rows[at]
    return errors(measured[keep], predicted[keep], np.ones(int(keep.sum())))


def reasons(scores: Scores, most: int = 15) -> str:
    """Why rows have no prediction, the most rows first."""
    found = [[one.reason, str(one.rows)] for one in scores.unpredicted if not one.flagged]
    if not found:
        return "Every row has a prediction."
    listed = [*found[:most]]
    if len(found) > most:
        listed.append(["other reasons", str(sum(int(rows) for _, rows in found[most:]))])
    return table(["why not", "rows"], listed)


def flagged(scores: Scores) -> str:
    """One line on rows with flags, and their errors."""
    count = sum(bool(point.flagged) for point in scores.points)
    if not count:
        return "No row of it is flagged."
    lines = [line for line in scores.lines if line.flagged and not line.by]
    said = [f"{NAMES[line.quantity]} {share(line.rows.mdape)} of {line.rows.n} rows" for line in lines]
    return f"{count} rows are flagged by their table and counted nowhere above. Their MdAPE: {', '.join(said)}."


def origins() -> str:
    """Sources of the shipped points."""
    with SHIPPED.open(encoding="utf-8", newline="") as handle:
        counted = Counter(row["source"] for row in csv.DictReader(handle))
    rows = [
        [f"`{name}`", ORIGINS[name].what, ORIGINS[name].kind, ORIGINS[name].licence, str(n)]
        for name, n in sorted(counted.items())
    ]
    return table(["source", "from", "measured", "licence", "rows"], rows, words=4)


SECTION = """## {title}

{points} rows from {sources} sources, on {gpus} accelerators and of {models} models; SHA-256 of the table {digest}.

![Predicted against measured, {title}](img/{picture})

<!-- overall-{mark} -->
{overall}

### By source

<!-- source-{mark} -->
{source}

### By accelerator

<!-- gpu-{mark} -->
{gpu}

### By family of servers

<!-- framework-{mark} -->
{framework}

### By batch

Clients, or sequences of a batch, of the whole deployment.

<!-- batch-{mark} -->
{batch}

### Beside a peer

aiconfigurator (NVIDIA, Apache-2.0) predicts from tables of kernels measured on each GPU. Its figures are of the rows
that it ships; the last line is ours, on those of its aggregated rows that are in this table and have no flag. Errors
are of the rows that each predicts.

<!-- peer-{mark} -->
{peer}

### Not predicted

{reasons}

{flagged}
"""


def section(scores: Scores, title: str, mark: str, picture: Path) -> str:
    """Tables and picture of one file of points."""
    points = scores.points
    return SECTION.format(
        title=title,
        mark=mark,
        picture=picture.name,
        points=f"{len(points):,}",
        digest=f"`{scores.measured.digest[:12]}`",
        sources=len({point.source for point in points}),
        gpus=len({point.gpu for point in points}),
        models=len({point.model for point in points}),
        overall=overall(scores),
        peer=beside(scores),
        reasons=reasons(scores),
        flagged=flagged(scores),
        **{by: grouped(scores, by) for by in ("source", "gpu", "framework", "batch")},
    )


TEXT = """# How accurate is it?

Predictions of served requests, fidelity `serving`, beside what others measured and published. Made by
`python docs/make_accuracy.py`; `roofline validate` prints the same figures from the points that ship with the package,
and scores any other table:

```sh
roofline validate
roofline validate --by gpu,model,batch --rows rows.csv --out accuracy.png
roofline validate --data my-measurements.csv --json
```

```python
import roofline as rl

scores = rl.validate()
print(f"{{scores.line('tpot').rows.mdape:.0%}} median error of TPOT over {{scores.line('tpot').rows.n}} rows")
```

## How it is scored

- A row is one published measurement with its conditions. It counts for each quantity that it has and that is
  predicted. A row without a prediction is listed with the reason, never left out in silence.
- **MdAPE**: the median of |predicted - measured| / measured. **MAPE**: its mean, each row capped at 100 %.
  **p90**: its 90th percentile. **bias**: exp of the median of ln(predicted / measured); above 1 a time or an energy is
  predicted too high, and a throughput too.
- **Groups**: rows of one source, model and accelerator are near repeats of each other. The last columns weigh such
  groups alike, however many rows they have.
- Rows that their table flags (settings that contradict each other, unlabelled multi-token prediction) are scored
  apart and never mixed in.
- TTFT and TPOT are compared in the statistic that the source gives: means or medians.
- Each figure rests on public sheets of the part and the model, efficiencies of kernels, and a few constants of a
  serving stack. There is no constant for a model or for a row.

{sections}
## What limits it

Two runs of the same configuration on nearby dates agree to 0.4 %; across some months, with new versions of the server,
they differ by 3 % in the median and 17 % at the 90th percentile. MLPerf results of one GPU by different makers differ
by about 5 %. No prediction without the version can be better than that.

Not modelled, or only by an estimate:

- **Versions of a server.** One stack sheet stands for a family of servers; flags and kernels that a run chose are not
  in its row.
- **Drafts.** With multi-token prediction the share of drafts that are kept depends on the text. It is an estimate
  wherever the source does not give it.
- **Lengths of real prompts.** MLPerf and ML.ENERGY do not publish the distribution of input lengths; their prompts are
  given typical ones.
- **Balance of experts.** Tokens spread evenly over experts; a hot expert or a layout that repeats it is not seen.
- **Warming up and running out.** A short run contains a ramp and a tail that its source does not describe.
- **Prefix caches.** Reuse counts only where the source states its share.
- **Power of the rest of the box.** J/token and watts are of accelerators. MLPerf's are of whole systems.
- **Contention.** Links between boxes belong to one deployment alone.

## Where the points come from

`roofline/validation/points.csv` ships with the package: figures typed from public sources, each row with its reference
(repository, file and commit, or the number of a run) and its conditions. Rows with a number under `anchor` state their
conditions most completely: start with those when you compare by hand.

<!-- origins -->
{origins}

Your own table needs the columns `source`, `model`, `gpu` and `metric_kind` (`steady_decode`, `offline_throughput` or
`online_serving`), the conditions you know (`num_gpus`, `weight_dtype`, `framework`, `tp`, `pp`, `dp`, `ep`, `isl`,
`osl`, `concurrency_or_batch`) and any of `ttft_ms`, `tpot_ms`, `output_tok_s_total`, `total_tok_s`,
`energy_j_per_output_token` and `avg_gpu_power_w`. A blank is unknown; other columns are left unread.
"""


def page(shipped: Scores, larger: Scores | None = None) -> str:
    """The text of docs/accuracy.md."""
    sections = [section(shipped, "The points that ship", "shipped", PICTURE)]
    if larger is not None:
        sections.append(section(larger, "A larger table", "larger", PICTURE_ALL))
    return TEXT.format(sections="\n".join(sections), origins=origins())


def worse(scores: Scores) -> list[str]:
    """Lines of `RATCHET` that stand above what is stored there now."""
    if not RATCHET.exists():
        return []
    with RATCHET.open(encoding="utf-8", newline="") as handle:
        stored = {(row["quantity"], row["by"], row["group"]): row for row in csv.DictReader(handle)}
    found = []
    for row in kept(scores):
        before = stored.get((row["quantity"], row["by"], row["group"]))
        if before is not None and float(row["mape"]) > float(before["mape"]) + 0.0005:
            found.append(f"{row['quantity']} {row['group'] or 'all'}: MAPE {before['mape']} -> {row['mape']}")
    return found


def kept(scores: Scores) -> list[dict[str, str]]:
    """Rows of `RATCHET`: quantity, group, how many rows are predicted, MdAPE and MAPE as shares."""
    return [
        {
            "quantity": line.quantity,
            "by": line.by,
            "group": line.group,
            "rows": str(line.rows.n),
            "mdape": f"{line.rows.mdape:.4f}",
            "mape": f"{line.rows.mape:.4f}",
        }
        for line in scores.lines
        if line.by in ("", "source") and line.rows.n and not line.flagged
    ]


def main() -> None:
    """Write the page, its pictures and the figures that a test holds on to; say which of them got worse."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="a larger table of measured points")
    data = parser.parse_args().data
    shipped, larger = validate(SHIPPED), None if data is None else validate(data)
    save_figure(parity_picture(shipped), PICTURE)
    if larger is not None:
        save_figure(parity_picture(larger), PICTURE_ALL)
    for line in worse(shipped):
        print(f"worse: {line}")
    with RATCHET.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.DictWriter(handle, list(kept(shipped)[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(kept(shipped))
    PAGE.write_text(page(shipped, larger), encoding="utf-8")
    print(PAGE)


if __name__ == "__main__":
    main()
