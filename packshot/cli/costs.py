"""`packshot costs`: what was spent, how it compares with the provider's log, and what may be claimed back."""

from __future__ import annotations

import csv
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any

import typer

from packshot.db.costs import BY, costs, refunds, total
from packshot.errors import Code, ConfigError
from packshot.log_match import Kind
from packshot.reconcile import facts, reconcile
from packshot.run import ready_engine
from packshot.settings import load_settings
from packshot.terminal import err, out, print_json, print_rows

app = typer.Typer(invoke_without_command=True)

Json = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]
Csv = Annotated[bool, typer.Option("--csv", help="Comma-separated lines, ready for a spreadsheet.")]
Since = Annotated[str, typer.Option(help="First day, as 2026-11-22, or moment, as 2026-11-22T18:00; UTC.")]
Until = Annotated[str, typer.Option(help="Last day, which is included, or moment, which is not; UTC.")]

_BEGIN_A_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_MEANS = {
    Kind.UNKNOWN_BILLED: "nobody knew; it was billed",
    Kind.UNKNOWN_NOT_BILLED: "nobody knew; it was not billed",
    Kind.PRICE_DIFFERS: "billed at another price",
    Kind.NOT_IN_LOG: "booked as billed; it was not",
    Kind.BILLED_THOUGH_FREE: "booked as free; it was billed",
    Kind.NOT_IN_LEDGER: "billed, and no call of ours: another program with this key, or a lost database",
    Kind.TOO_EARLY: "not in the log yet; ask again later",
}


@app.callback()
def show(
    context: typer.Context,
    by: Annotated[str, typer.Option(help="run, day (UTC), shot or model.")] = "run",
    since: Since = "",
    until: Until = "",
    run: Annotated[int | None, typer.Option(help="Only this run.")] = None,
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """Show what was spent, and what came of it."""
    if context.invoked_subcommand:
        _refuse_options_before(context)
        return
    if by not in BY:
        raise ConfigError(Code.SETTINGS_INVALID, f"--by {by}: allowed are {', '.join(BY)}")
    rows = costs(ready_engine(load_settings()), by, *_period(since, until), run_id=run)
    columns = {
        by: by, "calls": "calls", "images": "images", "not_billed": "not billed",
        "billed_without_image": "billed, no image", "unknown": "unknown", "unknown_usd": "USD unknown",
        "in_the_air": "in flight", "archived": "archived", "lost": "lost", "lost_usd": "USD lost",
        "spent_usd": "USD spent", "usd_per_archived": "USD an image",
    }  # fmt: skip
    is_table = not as_json and not as_csv
    _print([*rows, total(rows, by)] if is_table and len(rows) > 1 else rows, columns, as_json, as_csv, "No calls.")


@app.command("reconcile")
def reconcile_command(
    since: Since = "",
    until: Until = "",
    apply: Annotated[bool, typer.Option("--apply", help="Correct the ledger by what the log says.")] = False,
    as_json: Json = False,
) -> None:
    """Compare the ledger with the provider's own log; without dates, the last 24 hours. Buys nothing."""
    found = reconcile(load_settings(), *_period(since, until), apply=apply)
    told = facts(found)
    if as_json:
        print_json(told)
    else:
        rows = [row | {"means": _MEANS[row["kind"]]} for row in told["differences"]]
        columns = {
            "time": "time", "kind": "difference", "booked_usd": "USD ledger", "charged_usd": "USD log",
            "run_id": "run", "model": "model", "request_id": "request id", "means": "meaning",
        }  # fmt: skip
        print_rows(rows, columns, False, "No differences.")
        text = (
            f"Ledger ${told['ledger_usd']:.2f}, log ${told['log_usd']:.2f}, from {told['since']} to {told['until']}: "
            f"{len(rows)} differences, {told['applied']} of them corrected in the ledger, {told['left']} left."
        )
        out.print(text, highlight=False, markup=False)
        for note in _notes(told, apply):
            err.print(f"note: {note}", markup=False, highlight=False)
    raise typer.Exit(1 if found.left else 0)


@app.command("refunds")
def refunds_command(since: Since = "", until: Until = "", as_json: Json = False, as_csv: Csv = False) -> None:
    """List the calls that were billed and brought no image, for the provider's reimbursement plan."""
    columns = {
        "started_at": "time", "request_id": "request id", "model": "model", "code": "code", "cost_usd": "USD",
        "product_key": "product", "variant_key": "variant", "shot": "shot", "run_id": "run", "attempt_id": "attempt",
    }  # fmt: skip
    rows = refunds(ready_engine(load_settings()), *_period(since, until))
    _print(rows, columns, as_json, as_csv, "No call was billed without an image.")


def _notes(told: Mapping[str, Any], applied: bool) -> list[str]:
    notes = []
    if told["in_the_air"]:
        notes.append(f"{told['in_the_air']} calls are still in flight, and in neither sum")
    if told["other_keys"]:
        spent = f"${told['other_keys_usd']:.2f}"
        notes.append(f"other keys of the account made {told['other_keys']} calls for {spent}, which are in neither sum")
    if not applied and any(Kind(row["kind"]).applicable for row in told["differences"]):
        notes.append("`packshot costs reconcile --apply` corrects the ledger; use the same dates")
    return notes


def _print(
    rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str], as_json: bool, as_csv: bool, empty: str
) -> None:
    if as_json and as_csv:
        raise ConfigError(Code.SETTINGS_INVALID, "--json and --csv: give one of the two")
    if not as_csv:
        print_rows(rows, columns, as_json, empty)
        return
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_cell(row[name]) for name in columns] for row in rows)


def _cell(value: Any) -> Any:
    """A catalog may hold a product called ``=cmd()``: a spreadsheet must show it, not run it."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_BEGIN_A_FORMULA) else value


def _period(since: str, until: str) -> tuple[datetime | None, datetime | None]:
    return _moment("--since", since, timedelta(0)), _moment("--until", until, timedelta(days=1))


def _moment(option: str, text: str, after_a_day: timedelta) -> datetime | None:
    """A day stands for its beginning plus ``after_a_day``; a moment without a zone is UTC."""
    if not text:
        return None
    try:
        if len(text) == len("2026-11-22"):
            return datetime.combine(date.fromisoformat(text), time(), UTC) + after_a_day
        moment = datetime.fromisoformat(text)
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise ConfigError(
            Code.SETTINGS_INVALID, f"{option} {text}: write a day as 2026-11-22, or a moment as 2026-11-22T18:00"
        ) from None


def _refuse_options_before(context: typer.Context) -> None:
    """Options of ``packshot costs`` itself would otherwise be left out in silence."""
    sources = {str(context.get_parameter_source(name)) for name in context.params}
    if any(source.endswith("COMMANDLINE") for source in sources):
        command = context.invoked_subcommand
        raise ConfigError(Code.SETTINGS_INVALID, f"put the options after the command: packshot costs {command} ...")
