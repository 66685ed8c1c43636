"""What one run is asked to do: the flow's parameter, the form in the Prefect UI, and the options of the CLI."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from packshot.errors import Code, ConfigError


class RunOptions(BaseModel):
    """What this run is to do. No secrets here: Prefect stores and shows parameters in clear."""

    model_config = ConfigDict(extra="forbid")

    catalog: str = Field(
        "examples/catalog/products.csv",
        min_length=1,
        max_length=1000,
        title="Catalog file",
        description="Path of the product catalog on the machine that runs the flow.",
    )
    name: str = Field(
        "",
        max_length=60,
        pattern=r"^[A-Za-z0-9_-]*$",
        title="Catalog name",
        description="Products are known by it from run to run. Empty: the file's name.",
    )
    format: Literal["auto", "shopify", "csv", "jsonl"] = Field(
        "auto", title="Format", description="Auto recognises Shopify exports by their columns."
    )
    mapping: dict[str, str] = Field(
        default_factory=dict,
        title="Column mapping",
        description='Which column holds what, for example {"product_key": "Article no", "title": "Name"}.',
    )
    delimiter: str = Field(
        "", max_length=2, title="Delimiter", description="Between the cells of a CSV file. Empty: found in the file."
    )
    encoding: str = Field(
        "", max_length=40, title="Encoding", description="For example cp1252. Empty: found in the file."
    )
    image_separator: str = Field(
        ",", max_length=5, title="Photo separator", description="Between several photos in one cell."
    )
    statuses: list[str] = Field(
        default_factory=list,
        max_length=20,
        title="Accepted statuses",
        description="Of the file's status column, for example active and draft. Empty: active ones.",
    )
    variants_by: list[str] = Field(
        default_factory=list,
        max_length=5,
        title="Separate pictures by option",
        description="Options that change the picture, for example Color. Empty: one set of pictures a product.",
    )
    shots: list[str] = Field(
        default_factory=list,
        max_length=50,
        title="Shots",
        description="Names from the shot list. Empty: all of them.",
    )
    products: list[str] = Field(
        default_factory=list,
        max_length=500,
        title="Only these products",
        description="Product keys or SKUs. Empty: the whole catalog.",
    )
    limit: int = Field(
        0,
        ge=0,
        le=1_000_000,
        title="At most so many new images",
        description="Planning ends when this run has so many images to make. 0: no limit.",
    )
    max_cost_usd: float = Field(
        0,
        ge=0,
        le=100_000,
        title="Maximum cost (US dollars)",
        description="No call goes out that would exceed it. 0: as set by PACKSHOT_MAX_COST_USD.",
    )
    concurrency: int = Field(
        0,
        ge=0,
        le=200,
        title="Calls at once",
        description="0: as set by PACKSHOT_CONCURRENCY. APIYI allows 30 for each model and token.",
    )
    workers: int = Field(
        1,
        ge=1,
        le=50,
        title="Worker processes",
        description="More than 1: the images are shared out as runs of image-shard/on-a-worker, with so many calls each.",
    )
    fail_above: float = Field(
        100,
        ge=0,
        le=100,
        title="Failed above (percent)",
        description="The run ends as Failed when more than so much of its images could not be made. 100: never.",
    )
    plan_only: bool = Field(
        False, title="Plan only", description="Show what would be made and what it would cost; make nothing."
    )

    @property
    def folder(self) -> Path:
        """Where relative photo paths of the catalog start."""
        return Path(self.catalog).absolute().parent


def checked_options(values: dict[str, Any]) -> RunOptions:
    """Options from the command line.

    Raises:
        ConfigError: names each wrong option, what was given, and what is allowed.
    """
    try:
        return RunOptions.model_validate(values)
    except ValidationError as error:
        reasons = "; ".join(f"{e['loc'][0]}: {e['msg']} (given: {e['input']!r})" for e in error.errors())
        raise ConfigError(Code.SETTINGS_INVALID, reasons) from None
