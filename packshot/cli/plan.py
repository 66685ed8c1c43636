"""`packshot plan`: what a run would make, and what it would cost."""

from __future__ import annotations

from packshot.cli import options as ask
from packshot.forecast import Forecast
from packshot.run import plan_only
from packshot.settings import load_settings
from packshot.terminal import err, out, print_json

DEAREST = 10  # shots and categories that the terminal shows; --json has all


def plan(
    catalog: ask.Catalog,
    name: ask.Name = "",
    format: ask.Format = "auto",
    mapping: ask.Map = None,
    delimiter: ask.Delimiter = "",
    encoding: ask.Encoding = "",
    image_separator: ask.PhotoSep = "",
    statuses: ask.Statuses = None,
    variants_by: ask.By = None,
    shots: ask.Shots = None,
    products: ask.Products = None,
    categories: ask.Categories = None,
    limit: ask.Limit = 0,
    as_json: ask.Json = False,
) -> None:
    """Show what a run would make and what it would cost. Buys nothing, changes nothing."""
    found = plan_only(load_settings(), ask.run_options(locals()))
    if as_json:
        print_json(found.facts())
        return
    out.print(found.headline, highlight=False, markup=False)
    out.print(found.diff.sentence, highlight=False, markup=False)
    _print_forecast(found.forecast)
    for note in found.notes:
        err.print(f"note: {note}", markup=False)
    for reject in found.first_rejects:
        text = f"{reject.source}, line {reject.line}: {reject.code}: {reject.message}"
        err.print(text, markup=False, highlight=False)


def _print_forecast(forecast: Forecast) -> None:
    """What is to be made, by shot and category, and what the expectation is founded on."""
    if not forecast.images:
        return
    cost = f"${forecast.expected_micro / 1e6:.2f}"
    out.print(f"expected: {forecast.expected_calls} calls, {cost}", highlight=False, markup=False)
    for reason in forecast.reasons:
        out.print(f"  {reason}", highlight=False, markup=False)
    for title, shares in (("by shot", forecast.by_shot), ("by category", forecast.by_category)):
        dearest = list(shares.items())[:DEAREST]
        more = f" (the {DEAREST} dearest of {len(shares)})" if len(shares) > DEAREST else ""
        out.print(f"{title}{more}:", highlight=False, markup=False)
        for name, share in dearest:
            text = f"  {name}: {share.images}, ${share.expected_micro / 1e6:.2f}"
            out.print(text, highlight=False, markup=False)
