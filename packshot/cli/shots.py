"""``packshot shots``: which shots there are, what they say of a product, and what is wrong with them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from packshot.catalog import CatalogReader
from packshot.catalog.model import Product
from packshot.cli import options as ask
from packshot.inputs.sources import sources_of
from packshot.options import checked_options
from packshot.plan import catalog_of
from packshot.preview import Picture, Preview, previews
from packshot.settings import load_settings
from packshot.shots import Shot, load_shot_list
from packshot.shots.channels import channels
from packshot.shots.lint import CatalogLint, lint
from packshot.terminal import err, out, print_json, print_rows

app = typer.Typer(no_args_is_help=True, help="The shot list: what is made of each product.")

SHOT_COLUMNS = {
    "name": "shot", "aspect_ratio": "ratio", "image_size": "size", "channel": "channel", "variants": "pictures",
    "references": "photos", "model": "model", "for": "for",
}  # fmt: skip


@app.command("list")
def list_shots(as_json: ask.Json = False) -> None:
    """List the shots, the archetypes they know, and the sales channels there are presets for."""
    listed = load_shot_list(load_settings().shots)
    shots = [shot.model_dump(mode="json", exclude={"prompt"}) | {"for": _for(shot)} for shot in listed.shots]
    archetypes = [{"name": name, "categories": listed.table.entries_of(name)} for name in listed.table.names]
    presets = [
        {"name": name, "description": channel.description} | channel.model_dump(mode="json", by_alias=True)
        for name, channel in channels().items()
    ]
    if as_json:
        print_json({"shots": shots, "archetypes": archetypes, "channels": presets})
        return
    print_rows(shots, SHOT_COLUMNS, False, "")
    out.print()
    rows = [row | {"categories": "; ".join(row["categories"]) or "all others"} for row in archetypes]
    print_rows(rows, {"name": "archetype", "categories": "categories"}, False, "")
    out.print()
    print_rows(presets, {"name": "channel", "description": "what the picture is for"}, False, "")


@app.command()
def render(
    catalog: ask.Catalog,
    product: Annotated[str, typer.Option("--product", help="The product's key or SKU.")],
    name: ask.Name = "",
    format: ask.Format = "auto",
    mapping: ask.Map = None,
    delimiter: ask.Delimiter = "",
    encoding: ask.Encoding = "",
    image_separator: ask.PhotoSep = "",
    statuses: ask.Statuses = None,
    variants_by: ask.By = None,
    shots: ask.Shots = None,
    as_json: ask.Json = False,
) -> None:
    """Show the prompts and requests for one product, to the letter. Nothing is sent, nothing is bought."""
    found = previews(load_settings(), ask.run_options(locals() | {"products": [product]}))
    if as_json:
        print_json([preview.facts() for preview in found])
    for preview in [] if as_json else found:
        _print_preview(preview)
    raise typer.Exit(1 if any(p.refused or any(picture.held for picture in p.pictures) for p in found) else 0)


@app.command("lint")
def lint_shots(
    file: Annotated[Path | None, typer.Argument(help="The shot list; the one in use if not given.")] = None,
    catalog: Annotated[str, typer.Option(help="Also try it on the products of this catalog.")] = "",
    as_json: ask.Json = False,
) -> None:
    """Find what will go wrong with a shot list. Exit code 1: there is something to mend; 2: it cannot be read."""
    listed = load_shot_list(file or load_settings().shots)
    found, notes = lint(listed), []
    if catalog:
        tried = CatalogLint(listed)
        chosen = catalog_of(checked_options({"catalog": catalog}))
        reader = CatalogReader(sources_of(chosen.source, load_settings()), chosen.options)
        tried.add(item for item in reader if isinstance(item, Product))
        found, notes = found + tried.findings, [*tried.notes]
    if as_json:
        print_json({"findings": [{"shot": f.shot, "message": f.message} for f in found], "notes": notes})
    else:
        for finding in found:
            out.print(str(finding), markup=False, highlight=False)
        for note in notes:
            err.print(f"note: {note}", markup=False, highlight=False)
        if not found:
            out.print(f"Nothing to mend: {', '.join(listed.names)}.", markup=False, highlight=False)
    raise typer.Exit(1 if found else 0)


def _for(shot: Shot) -> str:
    """A shot's ``when``, in a line."""
    if shot.when is None:
        return "all products"
    parts = [f"category {' or '.join(shot.when.category)}"] if shot.when.category else []
    parts += [f"archetype {' or '.join(shot.when.archetype)}"] if shot.when.archetype else []
    parts += [f"{name} {' or '.join(values)}" for name, values in (shot.when.attributes or {}).items()]
    return ", ".join(parts) or "all products"


def _print_preview(preview: Preview) -> None:
    _say(f"{preview.product.name}: {preview.product.title}", f"archetype {preview.why}")
    for picture in preview.pictures:
        _print_picture(picture)
    for reject in preview.refused:
        _say("", f"{reject.code}: {reject.message}")
    if preview.not_for_it:
        _say("", f"not for this product, as their `when` says: {', '.join(preview.not_for_it)}")


def _print_picture(picture: Picture) -> None:
    told = picture.facts()
    number = f" {told['variant']}" if told["variant"] > 1 else ""
    pixels = f"{told['aspect_ratio']}, {told['image_size']} ({told['width']} x {told['height']})"
    wording = f"wording {told['template_hash']}, version {told['template_version']}"
    _say("", f"--- {told['shot']}{number}: {pixels}, {told['model']}, {wording}")
    if picture.channel:
        _say(f"channel: {picture.channel}")
    _say(f"photos sent: {', '.join(told['references']) or 'none'}")
    if picture.held:
        _say(f"would be held, and not bought: {picture.held}")
    _say("", told["prompt"], "", f"POST {picture.url}", json.dumps(picture.request, indent=2, ensure_ascii=False))


def _say(*lines: str) -> None:
    for line in lines:
        out.print(line, markup=False, highlight=False)
