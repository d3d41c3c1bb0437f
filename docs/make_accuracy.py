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
from roofline.validation.calibrate import calibrate
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
    "wall_power": "W of whole systems at the wall",
    "wall_joules_per_token": "J per output token at the wall",
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
        figures = [*_figures(line.rows), share(line.rows.coverage)]
        rows.append([NAMES[line.quantity], f"{line.rows.n} of {line.measured}", *figures, *weighted])
    header = ["", "rows", "MdAPE", "MAPE", "p90", "bias", "coverage"]
    return table([*header, "groups", "MdAPE of groups", "MAPE of groups"], rows)


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


TEXT = (FOLDER / "accuracy.template").read_text(encoding="utf-8")
"""The page without its figures: names in braces stand where they go."""


HOW = {
    "fitted": "in sample",
    "without-model": "fitted without its model",
    "without-gpu": "fitted without its accelerator",
    "without-framework": "fitted without its server",
}
"""Scores of a calibration, as the page calls them."""


def carried(data: Path) -> str:
    """What stacks fitted to the peer's sample predict of rows of it that they have not seen."""
    found = calibrate(data, source=SAMPLE)
    lines = []
    for how, title in HOW.items():
        tpot, ttft = found.score(how, "tpot"), found.score(how, "ttft")
        figures = (tpot.mdape, tpot.mape, ttft.mdape, ttft.mape)
        lines.append([title, f"{tpot.n:,}", *map(share, figures)])
    header = ["stacks", "rows", "TPOT MdAPE", "TPOT MAPE", "TTFT MdAPE", "TTFT MAPE"]
    return CARRIED.format(constants=len(found.constants), table=table(header, lines))


CARRIED = """### Rows that the stacks have not seen

{constants} constants of stacks fitted to the aggregated rows of the peer's sample that have no flag, and to fewer of
them (`roofline calibrate`, [Calibrating](calibrating.md)). Each row is predicted by constants fitted without all rows
of its group; kernels are never fitted to served requests.

<!-- carried -->
{table}
"""


def page(shipped: Scores, larger: Scores | None = None, carried: str = "") -> str:
    """The text of docs/accuracy.md."""
    sections = [section(shipped, "The points that ship", "shipped", PICTURE)]
    if larger is not None:
        sections.append(section(larger, "A larger table", "larger", PICTURE_ALL) + "\n" + carried)
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
    PAGE.write_text(page(shipped, larger, "" if data is None else carried(data)), encoding="utf-8")
    print(PAGE)


if __name__ == "__main__":
    main()
