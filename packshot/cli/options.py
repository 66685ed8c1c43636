"""What several commands ask for: how to read a catalog, and what of it. Named like the fields they fill."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, get_args

import typer

from packshot.catalog.options import FormatName
from packshot.catalog.suggest import mapping_flags, shell_word
from packshot.errors import Code, ConfigError
from packshot.inputs.sources import stdin_as_file
from packshot.options import RunOptions, checked_options
from packshot.settings import load_settings

Json = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]
Catalog = Annotated[
    str,
    typer.Argument(help="The catalog: a file, a glob, a URL, s3://, sql:, or a catalog.yaml that says how to read it."),
]
Name = Annotated[str, typer.Option(help="The catalog's name; empty: the file's.")]
Format = Annotated[str, typer.Option(help=", ".join(get_args(FormatName)))]
Map = Annotated[list[str] | None, typer.Option("--map", help="TARGET=COLUMN, for example title=Name; repeatable.")]
Delimiter = Annotated[str, typer.Option(help="Separator of cells; empty: detected.")]
Encoding = Annotated[str, typer.Option(help="For example cp1252; empty: detected.")]
PhotoSep = Annotated[
    str,
    typer.Option("--image-separator", help="Separator of several photos in one cell; empty: the format's usual one."),
]
Statuses = Annotated[
    list[str] | None, typer.Option("--status", help="Accept this status; repeatable; default: active.")
]
By = Annotated[
    list[str] | None,
    typer.Option("--variants-by", help="Option with pictures of its own for each value, such as Color; repeatable."),
]
Shots = Annotated[list[str] | None, typer.Option("--shot", help="Only this shot; repeatable.")]
Products = Annotated[list[str] | None, typer.Option("--product", help="Only this product key or SKU; repeatable.")]
Categories = Annotated[
    list[str] | None, typer.Option("--category", help="Only this category and those below it; repeatable.")
]
Limit = Annotated[int, typer.Option(help="At most this many new images; 0: no limit.")]
MaxCost = Annotated[float, typer.Option("--max-cost", help="Most to spend, in dollars; 0: PACKSHOT_MAX_COST_USD.")]
Concurrency = Annotated[int, typer.Option(help="Calls at once; 0: PACKSHOT_CONCURRENCY.")]
Workers = Annotated[int, typer.Option(help="Above 1: split the images among this many Prefect workers.")]


_FLAGS = {"split": "--image-separator", "statuses": "--status"}


def run_options(given: dict[str, Any]) -> RunOptions:
    """The run's options from a command's parameters; what was not given keeps its default.

    Raises:
        ConfigError: an option is wrong; says what was given and what is allowed.
    """
    values = {name: given[name] for name in RunOptions.model_fields if given.get(name) is not None}
    values["catalog"] = catalog_or_stdin(values["catalog"])
    return checked_options(values | {"mapping": mapping_of(values.get("mapping", []))})


def catalog_or_stdin(catalog: str) -> str:
    """What can be read more than once: of ``-`` a file that keeps the standard input.

    Raises:
        ConfigError: it names no place that can be read, or holds a password. So nothing writes that down.
    """
    return stdin_as_file(catalog, load_settings(), sys.stdin.buffer)


def mapping_of(entries: Iterable[str]) -> dict[str, str | list[str]]:
    """``--map`` as a mapping; a target that is given several times gets several columns."""
    columns: dict[str, list[str]] = {}
    for entry in entries:
        target, equals, column = entry.partition("=")
        if not (target and equals and column):
            raise ConfigError(Code.SETTINGS_INVALID, f"--map {entry}: write TARGET=COLUMN")
        columns.setdefault(target, []).append(column)
    return {target: names[0] if len(names) == 1 else names for target, names in columns.items()}


def where_of(entries: Iterable[str]) -> dict[str, list[str]]:
    """``--where`` as conditions: ``Column=value,value``."""
    found: dict[str, list[str]] = {}
    for entry in entries:
        column, equals, values = entry.partition("=")
        if not (column and equals):
            raise ConfigError(Code.SETTINGS_INVALID, f"--where {entry}: write COLUMN=VALUE, or COLUMN=VALUE,VALUE")
        found.setdefault(column, []).extend(value.strip() for value in values.split(","))
    return found


def flags_of(given: Mapping[str, Any]) -> Iterator[str]:
    """The flags that mean these fields of CatalogOptions, each ready for a shell."""
    for field, value in given.items():
        flag = _FLAGS.get(field, "--" + field.replace("_", "-"))
        if field == "mapping":
            yield mapping_flags(
                {target: [names] if isinstance(names, str) else names for target, names in value.items()}
            )
        elif field == "split":
            yield f"{flag} {shell_word(value['image_refs'])}"
        elif field == "where":
            yield from (f"{flag} {shell_word(f'{column}={chr(44).join(values)}')}" for column, values in value.items())
        else:
            yield from (f"{flag} {shell_word(str(item))}" for item in (value if isinstance(value, list) else [value]))
