"""The second fit of `roofline calibrate` as it is printed: coefficients of draw, where a table has rows with power."""

from __future__ import annotations

from typing import TYPE_CHECKING

from roofline.cli.fitted import known, print_constants, print_scores, row_of, score_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from roofline.cli.documents import PowerFitDocument
    from roofline.validation.power import PowerFit

HOW = {
    "before": "sheets as they are",
    "fitted": "fitted, in sample",
    "without-model": "without its model",
    "constant": "one share of TDP for all",
}
"""What each score is called in the table for people."""

QUANTITIES = {"power_given_tpot": "power", "joules_per_token": "J/token"}


def documents(found: Sequence[PowerFit]) -> list[PowerFitDocument]:
    """One document for each generation."""
    from roofline.cli.documents import PowerFitDocument, PowerGroupDocument

    return [
        PowerFitDocument(
            generation=fit.generation,
            accelerators=list(fit.accelerators),
            used=fit.rows,
            share_of_tdp=fit.share,
            constants=[row_of(constant) for constant in fit.constants],
            scores=[score_of(score) for score in fit.scores],
            groups=[
                PowerGroupDocument(
                    source=group.source,
                    model=group.model,
                    gpu=group.gpu,
                    rows=group.rows,
                    fitted=known(group.fitted),
                    without_model=known(group.without_model),
                    constant=known(group.constant),
                )
                for group in fit.groups
            ],
        )
        for fit in found
    ]


def show(found: Sequence[PowerFit]) -> None:
    """Tables for people: constants, errors, and how many groups of rows a constant draw would be better for."""
    for fit in found:
        print_constants(fit.constants, f"draw of {', '.join(fit.accelerators)}, {fit.rows} rows with power")
        print_scores(fit.scores, HOW, QUANTITIES, f"Errors of draw at measured times, and of J/token: {fit.generation}")
        pairs = [(one.without_model, one.constant) for one in fit.groups if known(one.without_model) is not None]
        better = sum(outside < constant for outside, constant in pairs)
        if pairs:
            share = f"a constant {fit.share:.1%} of TDP"
            print(f"without its model, nearer than {share}: {better} of {len(pairs)} models and GPUs")
