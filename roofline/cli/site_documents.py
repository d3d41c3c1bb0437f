"""What `site --json` prints: a table with the day, hour by hour, beside it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from roofline.cli.documents import Document, TableDocument


class HourDocument(Document):
    """One hour of one row; null where the site serves nothing or its watts are undisclosed."""

    model: str
    system: str
    workload: str
    slo: str
    hour: int = Field(description="of the day, 0 to 23")
    load: float = Field(description="share of what the site can serve that is asked")
    power: float | None = Field(description="mean power at the facility, metered [W]")
    output_tokens_per_s: float | None = Field(description="[1/s]")


class SiteDocument(TableDocument):
    """What a site serves, draws and costs: a row a model, system, workload and SLO."""

    kind: Literal["site"] = "site"  # type: ignore[assignment]  # a table with more beside it
    hours: list[HourDocument] = Field(description="the day of each row; empty where the load is the same all day")
    day_file: str | None = Field(default=None, description="where the picture of the day was written, if it was")
