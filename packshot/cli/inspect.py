"""`packshot inspect`: how a catalog is read and what comes of it, before anything is planned or bought."""

from __future__ import annotations

from contextlib import ExitStack
from os.path import realpath
from pathlib import Path
from typing import Annotated, Any

import typer

from packshot.catalog import CatalogOptions, CatalogReader, Reject
from packshot.catalog.columns import UnmappedColumns
from packshot.catalog.rejects_file import RefusedCells, RejectsWriter
from packshot.catalog.suggest import mapping_flags, shell_word
from packshot.cli import options as ask
from packshot.errors import Code, ConfigError
from packshot.inputs.address import read_address
from packshot.inputs.catalog_file import FILE_NAME, catalog_yaml, choose_catalog, is_catalog_file
from packshot.inputs.sources import sources_of
from packshot.inspection import Inspection, facts_of, inspect_catalog
from packshot.settings import load_settings
from packshot.shots.product_text import BEGIN, END
from packshot.terminal import err, out, print_json

_DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
_PLAN_TAKES = {"name", "format", "mapping", "delimiter", "encoding", "split", "statuses", "variants_by"}

Where = Annotated[
    list[str] | None, typer.Option(help="Only records with COLUMN=VALUE[,VALUE] (* and ? as wildcards); repeatable.")
]
Rejects = Annotated[Path | None, typer.Option(help="Keep the refused records in this CSV file, with the reasons.")]


def inspect(
    catalog: ask.Catalog,
    name: ask.Name = "",
    format: ask.Format = "auto",
    mapping: ask.Map = None,
    delimiter: ask.Delimiter = "",
    encoding: ask.Encoding = "",
    image_separator: ask.PhotoSep = "",
    statuses: ask.Statuses = None,
    variants_by: ask.By = None,
    where: Where = None,
    header_row: Annotated[int, typer.Option(help="The line on which the header begins; 0: detected.")] = 0,
    sheet: Annotated[str, typer.Option(help="Of a workbook; empty: the first that fits.")] = "",
    locale: Annotated[str, typer.Option(help="For example de, where columns come in several languages.")] = "",
    channel: Annotated[str, typer.Option(help="Where columns come for several channels.")] = "",
    key_fallback: Annotated[
        str, typer.Option(help="When a key is missing or shared, for example handle#options.")
    ] = "",
    on_duplicate: Annotated[str, typer.Option(help="reject, first or last.")] = "",
    media_root: Annotated[str, typer.Option(help="What relative photo paths are relative to.")] = "",
    parents: Annotated[str, typer.Option(help="A second file beside the catalog with the variants' parents.")] = "",
    rejects: Rejects = None,
    force: Annotated[bool, typer.Option("--force", help="Write over the file of --rejects if it is there.")] = False,
    write_catalog_file: Annotated[
        bool, typer.Option("--write-catalog-file", help=f"Keep these options in a new {FILE_NAME} beside the data.")
    ] = False,
    as_json: ask.Json = False,
) -> None:
    """Show how a catalog is read: format, columns, counts, first products, warnings, rejects. Only reads it."""
    given = _given(locals())
    catalog = ask.catalog_or_stdin(catalog)
    chosen = choose_catalog(catalog, given)
    for note in chosen.notes:
        err.print(f"note: {note}", markup=False, highlight=False)
    to_write = _file_to_write(catalog) if write_catalog_file else None
    if rejects and rejects.exists() and not force:
        raise ConfigError(Code.SETTINGS_INVALID, f"{rejects} exists already; name another file, or add --force")
    try:
        reader = CatalogReader(sources_of(chosen.source, load_settings()), chosen.options)
    except UnmappedColumns as error:
        _show_unmapped(catalog, error, given)
        if to_write and error.details["suggested"]:
            _write_catalog_file(to_write, catalog, given, error.details["suggested"])
        raise typer.Exit(2) from None
    found = _read(reader, rejects)
    if as_json:
        print_json(facts_of(found))
    else:
        _show(found)
    if rejects and found.counts.rejected:
        err.print(f"{found.counts.rejected:,} refused records are in {rejects}", markup=False, highlight=False)
    if to_write:
        _write_catalog_file(to_write, catalog, given, {})
    elif not as_json:
        _show_next(catalog, found, given)
    raise typer.Exit(1 if found.counts.rejected else 0)


def _given(parameters: dict[str, Any]) -> dict[str, Any]:
    """The reading options that were typed, as fields of CatalogOptions."""
    values = {key: value for key, value in parameters.items() if key in CatalogOptions.model_fields and value}
    if values.get("format") == "auto":
        del values["format"]
    if "mapping" in values:
        values["mapping"] = ask.mapping_of(values["mapping"])
    if "where" in values:
        values["where"] = ask.where_of(values["where"])
    if parameters["image_separator"]:
        values["split"] = {"image_refs": parameters["image_separator"]}
    return values


def _read(reader: CatalogReader, rejects: Path | None) -> Inspection:
    if not rejects:
        return inspect_catalog(reader)
    if realpath(rejects) in {realpath(part.source.label) for part in reader.parts}:
        raise ConfigError(Code.SETTINGS_INVALID, f"--rejects {rejects} is the catalog itself; name another file")
    tables = [part.table for part in reader.parts]
    with ExitStack() as stack:
        kept: list[RejectsWriter] = []

        def keep(reject: Reject) -> None:
            if not kept:  # the file appears with the first reject
                file = stack.enter_context(rejects.open("w", encoding="utf-8-sig", newline=""))
                kept.append(RejectsWriter(file, tables, ";" if reader.delimiter == ";" else ","))
            kept[0].write(reject, *cells.of(reject))

        cells = RefusedCells(tables)
        try:
            return inspect_catalog(reader, keep)
        except OSError as error:
            raise ConfigError(Code.SETTINGS_INVALID, f"--rejects {rejects}: {error.strerror}") from None


def _show(found: Inspection) -> None:
    for file in found.files:
        _line(
            f"{file.label}: {', '.join(_how(file.kind, file.format, file.encoding, file.delimiter, file.header_line))}"
        )
    _line(found.equation)
    first = found.files[0]
    _line("\ncolumns used:")
    width = max(map(len, first.mapping))
    for target, columns in first.mapping.items():
        _line(f"  {target.ljust(width)}  {', '.join(columns)}")
    if first.unused:
        _line(f"columns not used: {', '.join(first.unused)}")
    if found.first:
        _line("\nfirst products, as prompts see them:")
    for shown in found.first:
        _line(f"  {shown.name}, line {shown.line}, {_photos(shown.photos)}")
        for line in shown.facts.partition(f"{BEGIN}\n")[2].removesuffix(END).splitlines():
            _line(f"    {line}")
    if found.warnings:
        _line("\nwarnings:")
    for warning in found.warnings:
        _line(f"  {warning}")
    for code, group in found.refused.items():
        _line(f"\nrejected, {code}: {group.count:,}. Next: {code.next_step}.")
        for reject in group.first:
            where = f"{reject.source}, line {reject.line}" if len(found.files) > 1 else f"line {reject.line}"
            _line(f"  {where}: {reject.message}")
        if group.count > len(group.first):
            _line("  ...")


def _photos(photos: tuple[str, ...]) -> str:
    if not photos:
        return "no photo"
    return f"1 photo: {photos[0]}" if len(photos) == 1 else f"{len(photos)} photos, the first {photos[0]}"


def _how(kind: str, format: str, encoding: str, delimiter: str, header_line: int) -> list[str]:
    parts = [kind, f"format {format}"]
    parts += [encoding] * bool(encoding)
    parts += [f"separated by {_DELIMITERS.get(delimiter, repr(delimiter))}s"] * bool(delimiter)
    parts += [f"header on line {header_line}"] * bool(header_line)
    return parts


def _show_unmapped(catalog: str, error: UnmappedColumns, given: dict[str, Any]) -> None:
    err.print(f"error: {error}", markup=False, highlight=False)
    suggested: dict[str, list[str]] = error.details["suggested"]
    if suggested:
        _line("If these are the right columns, go on with:")
        _line(f"  {_command('inspect', catalog, given, suggested)}")


def _show_next(catalog: str, found: Inspection, given: dict[str, Any]) -> None:
    if found.suggested:
        targets = " and ".join(found.suggested)
        _line(f"\nA column that may be for {targets} is not used yet. To use it:")
        _line(f"  {_command('inspect', catalog, given, found.suggested)}")
    if not found.counts.accepted:
        return
    _line("\nWhat the pictures would cost:")
    if set(given) <= _PLAN_TAKES:
        _line(f"  {_command('plan', catalog, given, {})}")
    else:
        # plan and run have fewer options: a file keeps the others for them.
        _line(f"  {_command('inspect', catalog, given, {})} --write-catalog-file")
        _line(f"  packshot plan {shell_word(catalog)}")


def _command(name: str, catalog: str, given: dict[str, Any], more: dict[str, list[str]]) -> str:
    parts = ["packshot", name, shell_word(catalog), *ask.flags_of(given), *filter(None, [mapping_flags(more)])]
    return " ".join(parts)


def _line(text: str) -> None:
    out.print(text, markup=False, highlight=False)


def _file_to_write(catalog: str) -> Path:
    """Where the catalog file goes: beside the data; of data elsewhere, into the current folder."""
    path = (read_address(catalog).folder or Path()) / FILE_NAME
    if is_catalog_file(catalog):
        raise ConfigError(Code.SETTINGS_INVALID, f"--write-catalog-file: {catalog} is one already")
    if path.exists():
        raise ConfigError(Code.SETTINGS_INVALID, f"--write-catalog-file: {path} exists already; change it by hand")
    return path


def _write_catalog_file(path: Path, catalog: str, given: dict[str, Any], suggested: dict[str, list[str]]) -> None:
    source = Path(catalog).name if read_address(catalog).folder else catalog
    fields = {**given, "mapping": {**suggested, **given.get("mapping", {})}}
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(catalog_yaml(source, fields))
    except OSError as error:
        raise ConfigError(Code.SETTINGS_INVALID, f"{path} cannot be written: {error.strerror}") from None
    err.print(
        f"{path} says from now on how to read it; look at it, then: packshot inspect {shell_word(catalog)}",
        markup=False,
        highlight=False,
    )
