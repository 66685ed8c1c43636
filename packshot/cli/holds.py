"""``packshot holds``: what waits for a person, and what the person decides about it."""

from __future__ import annotations

import sys
from collections import Counter
from typing import Annotated

import typer

from packshot.db.holds import Answer, Waiting, find, find_all, holds, resolve, way
from packshot.db.types import JobState
from packshot.errors import Code, ConfigError
from packshot.run import open_ledger, ready_engine
from packshot.settings import Settings, load_settings
from packshot.terminal import err, out, print_json, print_rows

app = typer.Typer(invoke_without_command=True)

Json = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]
COLUMNS = {
    "key": "key", "product_key": "product", "variant_key": "variant", "shot": "shot", "variant": "no.", "code": "code",
    "cost_usd": "USD", "since": "since", "message": "what happened", "url": "address", "next_step": "next step",
}  # fmt: skip


@app.callback()
def list_holds(
    context: typer.Context,
    catalog: Annotated[str, typer.Option(help="Only of this catalog.")] = "",
    code: Annotated[str, typer.Option(help="Only held with this code, for example wrong_size.")] = "",
    limit: Annotated[int, typer.Option(min=0, help="How many at most; 0: all.")] = 0,
    as_json: Json = False,
) -> None:
    """List the images that wait for a person, with what they cost so far and what can be done."""
    if context.invoked_subcommand:
        return
    found = holds(ready_engine(load_settings()), catalog, _code(code) if code else "", limit or None)
    rows = found if as_json else [row | {"since": row["since"][:16].replace("T", " ")} for row in found]
    print_rows(rows, COLUMNS, as_json, "Nothing waits for you.")


@app.command("resolve")
def resolve_holds(
    keys: Annotated[
        list[str] | None, typer.Argument(help="Keys, or their beginnings, as `packshot holds` shows.")
    ] = None,
    retry: Annotated[
        bool, typer.Option("--retry", help="Make it again: the next run buys it, or brings home what was received.")
    ] = False,
    rebuy: Annotated[
        bool, typer.Option("--rebuy", help="Make it again, and give up what was received: it is gone for good.")
    ] = False,
    skip: Annotated[bool, typer.Option("--skip", help="Leave it out; --retry takes that back.")] = False,
    accept: Annotated[
        bool, typer.Option("--accept", help="The picture that exists is good, whatever its size.")
    ] = False,
    code: Annotated[str, typer.Option(help="All that are held with this code; `skipped`: all that were skipped.")] = "",
    catalog: Annotated[str, typer.Option(help="With --code: only of this catalog.")] = "",
    yes: Annotated[bool, typer.Option("--yes", help="With --code: do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Decide about images that wait for a person. Buys nothing itself: the next run does."""
    answer = _answer(dict(zip(Answer, (retry, rebuy, skip, accept), strict=True)))
    if bool(keys) == bool(code):
        raise _usage("name the images by their keys, or all of a kind with --code: one of the two")
    if catalog and not code:
        raise _usage("--catalog goes with --code")
    settings = load_settings()
    ledger = open_ledger(settings)
    chosen = find(ledger.engine, keys) if keys else find_all(ledger.engine, _code(code), catalog)
    planned = [(job, way(job, answer)[-1]) for job in chosen]  # whatever is wrong is said before anything is changed
    cost_micro = sum(_price_micro(settings, job, state) for job, state in planned)
    if code and chosen and not yes:
        _confirm(answer, len(chosen), _code(code), cost_micro)
    rows = []
    for job in chosen:
        became = resolve(ledger, job, answer)
        rows.append(
            {
                "job_key": job.key, "product_key": job.product_key, "variant_key": job.variant_key, "shot": job.shot,
                "variant": job.variant, "was": job.code, "resolved": became is not None,
                "state": became.state if became else None,
                "cost_usd": _price_micro(settings, job, became.state) / 1e6 if became else 0.0,
            }
        )  # fmt: skip
    if as_json:
        print_json(rows)
    else:
        _tell(rows, code)
    changed = [job.name for job, row in zip(chosen, rows, strict=True) if not row["resolved"]]
    for name in changed:
        err.print(f"not touched: {name} has changed meanwhile; look again", markup=False, highlight=False)
    raise typer.Exit(1 if changed else 0)


def _answer(given: dict[Answer, bool]) -> Answer:
    chosen = [answer for answer, said in given.items() if said]
    if len(chosen) != 1:
        raise _usage(f"say what to do, one of --{', --'.join(Answer)}")
    return chosen[0]


def _code(text: str) -> Code:
    found = next((code for code in Code if code == text), None)
    if found is None:
        raise _usage(f"there is no code {text!r}")
    return found


def _price_micro(settings: Settings, job: Waiting, state: JobState) -> int:
    """What a job in this state is going to cost, if its next call brings the picture."""
    return settings.price_micro(job.model) if state is JobState.PLANNED else 0


def _confirm(answer: Answer, number: int, code: Code, cost_micro: int) -> None:
    cost = f", which may cost ${cost_micro / 1e6:.2f} in the next run" if cost_micro else ""
    err.print(f"{answer} {_images(number)} ({code}){cost}? [y/N]", end=" ", markup=False, highlight=False)
    said = sys.stdin.readline()
    if not said:
        raise _usage("nobody answered: add --yes")
    if said.strip().lower() not in ("y", "yes"):
        err.print("nothing was changed")
        raise typer.Exit


_BECAME = {
    JobState.PLANNED: "to be bought by the next run, for ${:.2f}",
    JobState.GENERATED: "to be brought home by the next run, at no cost",
    JobState.ARCHIVED: "accepted",
    JobState.FAILED: "skipped",
}


def _tell(rows: list[dict[str, object]], code: str) -> None:
    """One line for each thing that became of them."""
    done = Counter(row["state"] for row in rows if row["resolved"])
    for state, words in _BECAME.items():
        cost = sum(float(str(row["cost_usd"])) for row in rows if row["state"] is state)
        if done[state]:
            out.print(f"{_images(done[state])} {words.format(cost)}", markup=False, highlight=False)
    if not rows:
        out.print(f"Nothing waits with the code {code}.", markup=False, highlight=False)


def _images(number: int) -> str:
    return "1 image" if number == 1 else f"{number} images"


def _usage(why: str) -> ConfigError:
    return ConfigError(Code.HOLD_INVALID, why)
