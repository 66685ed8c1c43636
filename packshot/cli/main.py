"""Permanent product images from a catalog, each bought once. Begin with demo, doctor, plan and run.

Exit codes: 0 all good; 1 finished, some items failed; 2 usage or configuration; 3 stopped; 130 ended at once.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from packshot import __version__
from packshot.advice import says_something, sentence
from packshot.cli import costs as cli_costs
from packshot.cli import holds as cli_holds
from packshot.cli import inspect as cli_inspect
from packshot.cli import options as ask
from packshot.cli import plan as cli_plan
from packshot.cli import serve as cli_serve
from packshot.cli import shots as cli_shots
from packshot.db import queries
from packshot.db.catalog_changes import changes
from packshot.db.engine import open_engine, upgrade
from packshot.db.running import request_stop
from packshot.errors import Code, ConfigError, PackshotError
from packshot.run import open_ledger, ready_engine
from packshot.run_figures import as_facts, as_lines, read_figures, short_facts
from packshot.settings import load_settings
from packshot.storage import ObjectStore
from packshot.terminal import err, out, print_json, print_rows

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)
db = typer.Typer(no_args_is_help=True, help="The asset database.")
app.add_typer(db, name="db")
app.add_typer(cli_costs.app, name="costs")
app.add_typer(cli_holds.app, name="holds")
app.add_typer(cli_shots.app, name="shots")
app.command()(cli_inspect.inspect)
app.command()(cli_plan.plan)
app.command()(cli_serve.serve)


@app.command()
def run(
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
    max_cost_usd: ask.MaxCost = 0,
    concurrency: ask.Concurrency = 0,
    workers: ask.Workers = 1,
    as_json: ask.Json = False,
) -> None:
    """Make the pictures that are missing. Safe to repeat: what exists is never bought again."""
    options = ask.run_options(locals())
    from packshot.flow_runner import run_flow

    settings = load_settings()
    if settings.plain_http:
        err.print(f"warning: the API key travels unencrypted to {settings.base_url}", markup=False)
    try:
        report = run_flow(settings, options)
    except KeyboardInterrupt:
        err.print("interrupted: what was made is safe, and the same command goes on from here")
        raise typer.Exit(130) from None
    if as_json:
        lists = {"unfinished": report.unfinished, "rejects": report.rejects}
        print_json(queries.run_facts(report.run) | {"figures": as_facts(report.figures)} | lists)
    else:
        out.print(report.headline, highlight=False, markup=False)
        out.print(report.diff.sentence, highlight=False, markup=False)
        if report.figures and says_something(report.figures):
            out.print(sentence(report.figures), highlight=False, markup=False)
        for row in report.unfinished[:20]:
            text = f"  {row['outcome']}: {row['product_key']} {row['shot']}: {row['code'] or ''} {row['message']}"
            out.print(f"{text} Next: {row['next_step']}", highlight=False, markup=False)
        for note in report.notes:
            err.print(f"note: {note}", markup=False)
        if report.rejects:
            err.print(f"{len(report.rejects)} records were refused: `packshot rejects` lists them")
    raise typer.Exit(report.exit_code)


@app.command()
def stop(
    run: Annotated[int | None, typer.Argument(help="The run's number; default: all that are running.")] = None,
) -> None:
    """Ask a run to stop: no new calls; those in flight are waited for and archived. Returns at once."""
    asked = request_stop(open_ledger(load_settings()), run)
    if not asked:
        which = "no run is in progress" if run is None else f"run {run} is not in progress"
        raise ConfigError(Code.RUN_OVER, f"{which}, so there is nothing to stop")
    for run_id in asked:
        out.print(f"run {run_id} will end when its calls in flight are archived", highlight=False)


@app.command()
def rescue(as_json: ask.Json = False) -> None:
    """Bring home what was paid for: after crashes, outages, interrupted runs. Buys nothing."""
    from packshot.rescue import rescue_here

    done = rescue_here(load_settings())
    if as_json:
        print_json(asdict(done))
    else:
        out.print(done.headline, highlight=False)
    raise typer.Exit(1 if done.lost or done.held or done.waiting else 0)


@app.command()
def demo(
    catalog: Annotated[str, typer.Option(help="Another catalog than the example.")] = "examples/catalog/products.csv",
    leave: Annotated[bool, typer.Option("--exit", help="Stop everything and return when the images are made.")] = False,
    as_json: ask.Json = False,
) -> None:
    """Try everything on this machine, without a key: real servers, an emulated image API."""
    from packshot.demo import run_demo

    report = run_demo(catalog, stay=not leave and not as_json and sys.stdout.isatty(), show=err if as_json else out)
    if as_json:
        print_json(queries.run_facts(report.run) | {"figures": as_facts(report.figures)})
    raise typer.Exit(report.exit_code)


@app.command()
def assets(
    catalog: Annotated[str, typer.Option(help="Only this catalog.")] = "",
    product: Annotated[str, typer.Option(help="Only this product key or SKU.")] = "",
    shot: Annotated[str, typer.Option(help="Only this shot.")] = "",
    limit: Annotated[int, typer.Option(help="How many at most; 0: all.")] = 0,
    run: Annotated[int | None, typer.Option(help="Only pictures of this run.")] = None,
    newest: Annotated[bool, typer.Option("--newest", help="The newest first.")] = False,
    contact_sheet: Annotated[Path | None, typer.Option(help="Also write a JPEG with thumbnails of them.")] = None,
    as_json: ask.Json = False,
) -> None:
    """List the permanent images."""
    settings = load_settings()
    found = queries.assets(
        ready_engine(settings), catalog=catalog, product=product, shot=shot, run_id=run, limit=limit or None,
        newest=newest,
    )  # fmt: skip
    if contact_sheet and found:
        from packshot.run_sheet import save_contact_sheet

        save_contact_sheet(ObjectStore(settings), contact_sheet, "Packshot", found)
    columns = {"product_key": "product", "shot": "shot", "width": "width", "height": "height", "url": "URL"}
    print_rows(found, columns, as_json, "No images yet: `packshot run CATALOG` makes them.")


@app.command()
def runs(
    run: Annotated[int | None, typer.Argument(help="The number of one run, to see what limited it.")] = None,
    limit: Annotated[int, typer.Option(help="How many, the latest first.")] = 20,
    as_json: ask.Json = False,
) -> None:
    """List the runs, newest first; or one run, with what its time went into."""
    columns = {
        "id": "run", "catalog": "catalog", "state": "state", "started_at": "started", "products_new": "new",
        "products_changed": "changed", "products_gone": "gone", "planned": "planned",
        "archived": "archived", "failed": "failed", "held": "held", "calls": "calls", "spent_usd": "USD",
        "images_a_minute": "images/min", "slots_busy": "busy",
    }  # fmt: skip
    engine = ready_engine(load_settings())
    rows = queries.runs(engine, limit, run)
    figures = read_figures(engine, [row["id"] for row in rows])
    if as_json:
        print_json([row | {"figures": as_facts(figures.get(row["id"]))} for row in rows])
        return
    shown = [row | (short_facts(figures[row["id"]]) if row["id"] in figures else {}) for row in rows]
    print_rows(shown, columns, False, "No runs yet." if run is None else f"There is no run {run}.")
    if run in figures:
        out.print()
        for line in as_lines(figures[run]):
            out.print(line, markup=False, highlight=False)


@app.command()
def rejects(
    run: Annotated[int | None, typer.Option(help="Which run; default: the latest.")] = None,
    as_json: ask.Json = False,
) -> None:
    """List the catalog records that a run refused, with the reasons."""
    columns = {"line": "line", "key": "product", "code": "code", "message": "what is wrong", "next_step": "next step"}
    print_rows(queries.rejects(ready_engine(load_settings()), run), columns, as_json, "Nothing was refused.")


@app.command()
def diff(
    run: Annotated[int | None, typer.Option(help="Which run; default: the latest.")] = None,
    as_json: ask.Json = False,
) -> None:
    """List the products that a run found new, changed or gone in the catalog."""
    columns = {
        "change": "change", "product_key": "product", "variant_key": "variant", "title": "title", "what": "what",
        "images": "images",
    }  # fmt: skip
    print_rows(changes(ready_engine(load_settings()), run), columns, as_json, "Nothing changed in the catalog.")


@app.command()
def unfinished(
    run: Annotated[int | None, typer.Option(help="Which run; default: the latest.")] = None,
    as_json: ask.Json = False,
) -> None:
    """List the images that a run did not make, with the reasons."""
    columns = {
        "outcome": "outcome", "product_key": "product", "variant_key": "variant", "shot": "shot", "code": "code",
        "message": "what was said", "next_step": "next step",
    }  # fmt: skip
    print_rows(queries.unfinished(ready_engine(load_settings()), run), columns, as_json, "Nothing is missing.")


@app.command()
def doctor(as_json: ask.Json = False) -> None:
    """Check key, model, storage, database and Prefect. Costs nothing."""
    from packshot.doctor import examine

    findings = examine(load_settings())
    if as_json:
        print_json([{"name": f.name, "ok": f.ok, "message": f.message, "next_step": f.next_step} for f in findings])
    for finding in [] if as_json else findings:
        mark = "[green]ok  [/]" if finding.ok else "[red]FAIL[/]"
        out.print(mark, end=" ")
        text = f"{finding.name}: {finding.message}" + (f". Next: {finding.next_step}" if finding.next_step else "")
        out.print(text, markup=False, highlight=False)
    raise typer.Exit(0 if all(finding.ok for finding in findings) else 2)


@app.command()
def sandbox(
    env_file: Annotated[Path | None, typer.Option(help="Write the settings to this new file.")] = None,
    latency: Annotated[tuple[float, float], typer.Option(help="Seconds an image takes: low high.")] = (2.0, 5.0),
) -> None:
    """Run the image API's emulator and an S3 server until Ctrl-C, and print the settings that use them."""
    from packshot.sandbox.sandbox import Sandbox, write_env_file

    low, high = latency
    if not 0 <= low <= high:
        raise ConfigError(Code.SETTINGS_INVALID, f"--latency {low:g} {high:g}: two numbers of seconds, low and high")
    if env_file and env_file.exists():  # said before anything is started
        raise ConfigError(Code.SETTINGS_INVALID, f"{env_file} exists already; name another file, or remove it")
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    home = load_settings().home
    home = home if home.name == "sandbox" else home / "sandbox"  # as the .env that it wrote says
    with Sandbox(home, latency=latency) as servers:
        # A ledger of its own: with the shop's, an emulator's picture would count as made when the real key comes.
        variables = servers.settings() | {"PACKSHOT_HOME": str(home)}
        if env_file:
            write_env_file(env_file, variables)
            out.print(f"PACKSHOT_ENV_FILE={env_file}", highlight=False)
        else:
            for variable, value in variables.items():
                out.print(f"{variable}={value}", markup=False, highlight=False, soft_wrap=True)
        err.print("Up until Ctrl-C. The single disk of this S3 server is no place for a shop's images.")
        ended.wait()


@db.command("upgrade")
def db_upgrade() -> None:
    """Create the tables, or bring them to this version."""
    engine = open_engine(load_settings().db_url)
    out.print(f"{engine.url.render_as_string()} is at revision {upgrade(engine)}", highlight=False)


@app.command()
def version() -> None:
    """Print the version."""
    out.print(__version__, highlight=False)


def main() -> None:
    """Entry point: an error that the user can mend is one sentence, not a traceback."""
    try:
        app()
    except PackshotError as error:
        err.print(f"error: {error}", markup=False, highlight=False, soft_wrap=True)
        sys.exit(3 if error.code in (Code.BALANCE_EMPTY, Code.BUDGET_REACHED, Code.STOP_REQUESTED) else 2)
    except BrokenPipeError:
        # The reader (head, less) has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
