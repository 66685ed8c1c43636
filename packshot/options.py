"""What one run is asked to do: the flow's parameter, the form in the Prefect UI, and the options of the CLI."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, field_validator

from packshot.catalog.options import FormatName
from packshot.errors import Code, ConfigError, PackshotError
from packshot.inputs.address import read_address
from packshot.settings import load_settings
from packshot.shots import load_shot_list

COLUMNS_MAX = 40
"""Columns in a mapping: parameters have to stay small, because the Prefect server keeps them with every run."""

# What is typed or pasted into a form often has a blank or a line break at its end.
Line = Annotated[str, StringConstraints(strip_whitespace=True)]
Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100)]
ProductKey = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=255)]
Category = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=300)]
Column = Annotated[str, StringConstraints(max_length=150)]
Status = Annotated[str, StringConstraints(max_length=60)]  # empty: records whose status is


def _offer_shots(field: dict[str, Any]) -> None:
    """Make the form a choice among the shots that the settings name at this moment, the moment of deploying.

    Importing a flow must not depend on the shot list: if it cannot be read, names are typed, and the run checks them.
    """
    try:
        field["items"]["enum"] = list(load_shot_list(load_settings().shots).names)
    except PackshotError:
        field["description"] += " The shot list could not be read when this form was made, so type their names."


def _keep_order(schema: dict[str, Any]) -> None:
    """The UI shows fields by ``position``; without one, a server on PostgreSQL forgets their order."""
    for position, field in enumerate(schema["properties"].values()):
        field["position"] = position


class RunOptions(BaseModel):
    """Most runs need the first seven fields only. Those below "Plan only" are for reading catalogs, and for speed."""

    # Prefect stores and shows parameters in clear: no secret may ever be a field here.
    # The fields stand in the order in which the form shows them.
    model_config = ConfigDict(extra="forbid", json_schema_extra=_keep_order)

    catalog: Line = Field(
        "examples/catalog/products.csv",
        min_length=1,
        max_length=1000,
        title="Catalog file",
        description=(
            "Where the machine that makes the images finds it: a file, a glob such as exports/*.csv, an https:// or "
            "s3:// address, sql: and a table's name, or a catalog.yaml that says how to read one of these."
        ),
    )
    shots: list[Name] = Field(
        default_factory=list,
        max_length=50,
        title="Shots",
        description="Which images of each product. None chosen: every shot of the list.",
        json_schema_extra=_offer_shots,
    )
    products: list[ProductKey] = Field(
        default_factory=list,
        max_length=200,
        title="Only these products",
        description="One product key or SKU in each item. No items: all products of the catalog.",
    )
    categories: list[Category] = Field(
        default_factory=list,
        max_length=50,
        title="Only these categories",
        description="One category in each item, as in the catalog; Home stands for Home > Vases too. No items: all.",
    )
    limit: int = Field(
        0,
        ge=0,
        le=1_000_000,
        title="At most this many new images",
        description="To try something out, make 3 and look at them. 0: no limit.",
    )
    max_cost_usd: float = Field(
        0,
        ge=0,
        le=100_000,
        title="Maximum cost (US dollars)",
        description="The run stops before a call that would exceed it. 0: as set by PACKSHOT_MAX_COST_USD.",
    )
    plan_only: bool = Field(
        False,
        title="Plan only",
        description="Show what would be made and what it would cost. Nothing is bought.",
    )
    name: Line = Field(
        "",
        max_length=60,
        pattern=r"^[A-Za-z0-9_-]*$",
        title="Catalog name",
        description="Products are known by it from run to run. Empty: the file's name.",
    )
    format: FormatName = Field("auto", title="Format", description="Auto recognises it by the columns.")
    mapping: dict[Column, Column | list[Column]] = Field(
        default_factory=dict,
        max_length=COLUMNS_MAX,
        title="Column mapping",
        description=(
            'Which column holds what, for example {"product_key": "Article no", "title": "Name"}. `packshot inspect` '
            "suggests it."
        ),
    )
    delimiter: str = Field(
        "", max_length=2, title="Delimiter", description="Between the cells of a CSV file. Empty: found in the file."
    )
    encoding: Line = Field(
        "", max_length=40, title="Encoding", description="For example cp1252. Empty: found in the file."
    )
    image_separator: str = Field(
        "",
        max_length=5,
        title="Photo separator",
        description="Between several photos in one cell. Empty: what is usual for the format, mostly a comma.",
    )
    statuses: list[Status] = Field(
        default_factory=list,
        max_length=20,
        title="Accepted statuses",
        description="Of the file's status column, for example active and draft. Empty: active ones.",
    )
    variants_by: list[Name] = Field(
        default_factory=list,
        max_length=5,
        title="Separate pictures by option",
        description="Options that change the picture, for example Color. Empty: one set of pictures a product.",
    )
    concurrency: int = Field(
        0,
        ge=0,
        le=500,
        title="Calls at once",
        description="0: as set by PACKSHOT_CONCURRENCY. APIYI allows 30 for each model and token.",
    )
    workers: int = Field(
        1,
        ge=1,
        le=50,
        title="Worker processes",
        description="More than 1: this many runs of image-shard/on-a-worker share the images, each with its own calls.",
    )
    fail_above: float = Field(
        100,
        ge=0,
        le=100,
        title="Failed above (percent)",
        description="The run ends as Failed when more than this share of its images could not be made. 100: never.",
    )

    @property
    def catalog_stem(self) -> str:
        """What runs of this catalog are called, if it has no name of its own; never a part of a URL's query."""
        try:
            return read_address(self.catalog).stem
        except ConfigError:  # the run itself will say so
            return "catalog"

    @field_validator("mapping")
    @classmethod
    def _few_columns(cls, value: dict[str, str | list[str]]) -> dict[str, str | list[str]]:
        columns = sum(1 if isinstance(named, str) else len(named) for named in value.values())
        if columns > COLUMNS_MAX:
            raise ValueError(f"at most {COLUMNS_MAX} columns can be mapped; a catalog.yaml takes more")
        return value


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
