"""Every document that a command prints with --json, by the name of its schema."""

from __future__ import annotations

from roofline.cli.check_claim_documents import CheckClaimDocument
from roofline.cli.compare_documents import CompareDocument
from roofline.cli.documents import (
    CalibrateDocument,
    CheckDocument,
    Document,
    ExplainDocument,
    MetricsDocument,
    SheetContentDocument,
    SheetsDocument,
    TableDocument,
    ValidateDocument,
    WarmupDocument,
)
from roofline.cli.power_cap_documents import PowerCapDocument
from roofline.cli.sensitivity_documents import SensitivityDocument, UncertaintyDocument
from roofline.cli.site_documents import SiteDocument

PUBLISHED: dict[str, type[Document]] = {
    "table": TableDocument,
    "metrics": MetricsDocument,
    "site": SiteDocument,
    "power-cap": PowerCapDocument,
    "compare": CompareDocument,
    "check-claim": CheckClaimDocument,
    "sensitivity": SensitivityDocument,
    "uncertainty": UncertaintyDocument,
    "validate": ValidateDocument,
    "calibrate": CalibrateDocument,
    "explain": ExplainDocument,
    "specs-list": SheetsDocument,
    "specs-show": SheetContentDocument,
    "specs-check": CheckDocument,
    "warmup": WarmupDocument,
}
"""Name of the schema file under docs/schema -> the document that it describes."""
