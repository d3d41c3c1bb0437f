"""What `--json` prints, as models: docs/schema/*.json are made from these, and a test compares the two."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Cell = str | int | float | bool | None


class Document(BaseModel):
    """Base of all documents: nothing beside what the schema names."""

    model_config = ConfigDict(extra="forbid")


class ColumnDocument(Document):
    """What a key of `rows` means."""

    name: str
    unit: str = Field(description="SI unit, or '' for labels and plain numbers")
    meaning: str


class TableDocument(Document):
    """A result: one row a cell, null where a cell has no value (its `limit` says why)."""

    kind: Literal["decode", "prefill", "heatmap", "feasibility", "serve", "plan", "pareto", "pairs", "specs"]
    provenance: dict[str, str] = Field(
        description="version, sheet digests, fidelity, boundary, basis, token basis, command"
    )
    columns: list[ColumnDocument]
    rows: list[dict[str, Cell]]
    file: str | None = Field(default=None, description="where the result was written, if it was")


class AgreementDocument(Document):
    """How far two measures rank the systems alike, for one model."""

    model: str
    measure: str
    other: str
    agreement: float | None = Field(description="Kendall's tau-b; null where fewer than two systems have both")
    reversed_pairs: int = Field(description="pairs of systems that the two order differently")


class MetricsDocument(TableDocument):
    """Measures of every system with their ranks, and where the rankings disagree."""

    kind: Literal["metrics"] = "metrics"  # type: ignore[assignment]  # a table with more beside it
    agreement: list[AgreementDocument]


class UnpredictedDocument(Document):
    """Measured rows without any prediction, for one reason."""

    reason: str
    flagged: bool = Field(description="whether these are rows that their table flags as doubtful")
    rows: int


class ValidateDocument(TableDocument):
    """How far predictions are from measurements: a row a quantity and group; errors are shares of what was measured."""

    kind: Literal["validate"] = "validate"  # type: ignore[assignment]  # a table with more beside it
    points: int = Field(description="measured rows")
    flagged: int = Field(description="of those, rows that their table flags; they are scored apart")
    unpredicted: list[UnpredictedDocument]
    rows_file: str | None = Field(default=None, description="where every row was written, if it was")


class FitScoreDocument(Document):
    """Errors of one quantity with constants fitted to some rows; shares of what was measured, null where no row is."""

    how: str = Field(
        description="before: sheets as they are; fitted: to all rows; without-model, without-gpu, without-framework: "
        "each row by constants fitted without all rows of its group"
    )
    quantity: str
    fits: int = Field(description="fits that it took")
    rows: int
    mdape: float | None = Field(description="median absolute error")
    mape: float | None = Field(description="mean absolute error, each row capped at 1")
    bias: float | None = Field(description="exp of the median log of predicted over measured")


class PowerGroupDocument(Document):
    """Rows of one source, model and GPU: median absolute errors of draw at measured times, null where there is none."""

    source: str
    model: str
    gpu: str
    rows: int
    fitted: float | None
    without_model: float | None
    constant: float | None = Field(description="with one share of TDP for all rows of the generation")


class PowerFitDocument(Document):
    """Coefficients of the draw of one generation of accelerators, fitted at the measured times of tokens."""

    generation: str
    accelerators: list[str] = Field(description="ids of those in the data")
    used: int = Field(description="rows with a power, without flags, that are predicted")
    share_of_tdp: float = Field(description="the one share of TDP that is nearest to all rows")
    constants: list[dict[str, Cell]] = Field(description="as `rows`, by the same columns")
    scores: list[FitScoreDocument] = Field(
        description="of power_given_tpot and joules_per_token; how is also constant: every row at share_of_tdp"
    )
    groups: list[PowerGroupDocument]


class CalibrateDocument(TableDocument):
    """Constants fitted to measurements: a row a constant."""

    kind: Literal["calibrate"] = "calibrate"  # type: ignore[assignment]  # a table with more beside it
    points: int = Field(description="measured rows")
    used: int = Field(description="of those, closed loops without flags that are predicted: what was fitted to")
    scores: list[FitScoreDocument]
    power: list[PowerFitDocument] = Field(description="a second fit, where rows have a power; one a generation")
    files: list[str] = Field(description="sheets written, if any")


class OperationDocument(Document):
    """One operation of one pass on one accelerator, run `count` times."""

    layer: str = Field(description="kind of layer it belongs to, 'ends' or 'pipeline'")
    operation: str
    component: str
    count: int
    flop: float = Field(description="work of one run [FLOP]")
    bytes: float = Field(description="memory traffic of one run [B]")
    intensity: float | None = Field(description="flop / bytes [FLOP/B]; null where nothing is moved")
    time_s: float = Field(description="time of one run [s]")
    total_s: float = Field(description="time of all runs [s]")
    share: float = Field(description="total_s over the sum of total_s")
    bound: str = Field(description="compute, memory, network or latency")
    math: str = Field(description="arithmetic it runs in; '' where it has none")
    weight_only: bool = Field(description="whether operands are widened because the accelerator lacks their arithmetic")
    peak_flop_per_s: float | None = Field(description="dense peak of that arithmetic [FLOP/s]")
    eta_compute: float | None = Field(description="achieved share of peak compute")
    eta_memory: float | None = Field(description="achieved share of memory bandwidth, or of the link")
    fixed_s: float = Field(description="fixed part of time_s [s]")
    source: str = Field(description="where its efficiency comes from")
    grade: str = Field(description="published, measured or estimated; '' in ideal")


class ExplainDocument(Document):
    """One pass, operation by operation."""

    kind: Literal["explain"] = "explain"
    provenance: dict[str, str]
    subject: dict[str, Cell] = Field(description="model, system, recipe, deployment, batch and context or isl")
    bytes_per_s: float = Field(description="memory bandwidth of one accelerator [B/s]")
    ridges: dict[str, float] = Field(description="ridge point by arithmetic [FLOP/B]")
    operations: list[OperationDocument]
    totals: dict[str, Cell] = Field(description="figures of the pass, SI units")
    file: str | None = None


class SheetDocument(Document):
    """One sheet of the list."""

    kind: str
    id: str
    name: str
    file: str


class SheetsDocument(Document):
    """All sheets that can be named."""

    kind: Literal["specs-list"] = "specs-list"
    sheets: list[SheetDocument]


class SheetContentDocument(Document):
    """One sheet with what is derived from it."""

    kind: Literal["specs-show"] = "specs-show"
    sheet_kind: str
    id: str
    file: str
    sheet: dict[str, object]


class FindingDocument(Document):
    """One thing wrong or doubtful in a sheet."""

    file: str
    line: int
    field: str
    value: str
    problem: str
    hint: str
    severity: Literal["error", "warning"]


class CheckDocument(Document):
    """What `specs check` found."""

    kind: Literal["specs-check"] = "specs-check"
    checked: int = Field(description="sheets read")
    findings: list[FindingDocument]


class WarmupDocument(Document):
    """What `warmup` did."""

    kind: Literal["warmup"] = "warmup"
    seconds: float
    cache: str = Field(description="folder of compiled code, '' where none can be written")
