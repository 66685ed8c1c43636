"""A run's report as the Prefect UI shows it: a page of Markdown, and tables."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from packshot.advice import sentence
from packshot.catalog.model import product_name
from packshot.db.types import RunState
from packshot.figures import slot_rows, step_rows
from packshot.report import NAMED, TABLE_ROWS, Report, Row, dollars
from packshot.run_figures import SLOT_HEAD, STEP_HEAD

LINKED = 50  # products whose images the report links to
LONGEST = 200  # characters of a cell


def artifact_key(catalog: str, what: str) -> str:
    """The name of a kind of artifact, the same for each run over the catalog: so the Artifacts page has one entry with
    a history. Prefect allows lower-case letters, digits and dashes."""
    return f"{re.sub('[^a-z0-9]+', '-', catalog.lower()).strip('-') or 'catalog'}-{what}"


def markdown(report: Report) -> str:
    """The report artifact in the Prefect UI. Its length hardly grows with the run's."""
    parts = (
        _summary(report), _sums(report), _limits(report), _not_made(report), _refused(report), _changed(report),
        _links(report),
    )  # fmt: skip
    return "\n".join(line for part in parts for line in (*part, "")).rstrip() + "\n"


def asset_table(report: Report) -> list[Row]:
    """The images for a table in the Prefect UI, where an address is plain text."""
    return [
        {
            "product": _product(row),
            "shot": _shot(row),
            "size": f"{row['width']} x {row['height']}",
            "sha256": row["sha256"][:12],
            "link": row["url"],
        }
        for row in report.assets[:TABLE_ROWS]
    ]


def reject_table(report: Report) -> list[Row]:
    """The refused records for a table in the Prefect UI."""
    return [
        {
            "line": row["line"],
            "product": row["key"] or "",
            "code": row["code"],
            "what is wrong": _short(row["message"]),
            "next step": row["next_step"],
        }
        for row in report.rejects[:TABLE_ROWS]
    ]


def _summary(report: Report) -> Iterator[str]:
    run = report.run
    yield f"# {_cell(run.catalog)}: {run.archived:,} of {run.planned:,} images are permanent"
    yield ""
    ended = f" to {run.ended_at:%H:%M:%S}" if run.ended_at else ""
    yield f"Run {run.id} of {_cell(run.source)}, {run.started_at:%Y-%m-%d %H:%M:%S}{ended} UTC."
    if run.state != RunState.COMPLETED:
        yield ""
        yield f"**Stopped.** `{run.code}`: {_cell(run.message)}. Next: {report.next_step}."
    if report.notes:
        yield ""
        yield from (f"- {_cell(note)}" for note in report.notes)


def _sums(report: Report) -> Iterator[str]:
    run = report.run
    yield from _table(
        ("catalog records", "accepted", "rejected", "blank", "continuation"),
        [(run.records, run.accepted, run.rejected, run.blank, run.continuation)],
    )
    yield ""
    new = run.archived - run.already
    yield from _table(
        ("images planned", "archived before", "archived now", "failed", "held"),
        [(run.planned, run.already, new, run.failed, run.held)],
    )
    if report.money is None:
        return
    money = report.money
    limit = "none" if run.max_cost_micro is None else dollars(run.max_cost_micro / 1e6)
    each = money["usd_per_archived"]
    unknown = f"{money['unknown']:,}" + (f" ({dollars(money['unknown_usd'])})" if money["unknown"] else "")
    yield ""
    yield from _table(
        ("calls", "brought an image", "not billed", "billed without image", "outcome unknown"),
        [(money["calls"], money["images"], money["not_billed"], money["billed_without_image"], unknown)],
    )
    yield ""
    yield from _table(
        ("spent", "maximum", "for each permanent image"),
        [(dollars(money["spent_usd"]), limit, "-" if each is None else f"${each:.3f}")],
    )


def _limits(report: Report) -> Iterator[str]:
    if report.figures is None:
        return
    yield "## What limited it"
    yield ""
    yield sentence(report.figures)
    for head, rows in ((SLOT_HEAD, [*slot_rows(report.figures)]), (STEP_HEAD, [*step_rows(report.figures)])):
        if rows:
            yield ""
            yield from _table(head, rows)


def _not_made(report: Report) -> Iterator[str]:
    if not report.unfinished:
        return
    yield "## Not made"
    yield ""
    by_reason: dict[tuple[str, str], list[Row]] = {}
    for row in report.unfinished:
        by_reason.setdefault((row["code"] or "open", row["next_step"]), []).append(row)
    groups = sorted(by_reason.items(), key=lambda item: -len(item[1]))
    yield from _table(
        ("images", "reason", "next step"), [(len(group), f"`{code}`", step) for (code, step), group in groups]
    )
    yield ""
    for (code, _), group in groups:
        names = ", ".join(f"{_product(row)} {_shot(row)}" for row in group[:NAMED])
        more = f" and {len(group) - NAMED:,} more" if len(group) > NAMED else ""
        said = Counter(row["message"] for row in group).most_common(1)[0][0]
        yield f"- `{code}`: {_cell(names)}{more}" + (f": {_cell(said)}" if said else "")
    yield ""
    yield f"All of them: `packshot unfinished --run {report.run.id}`. `packshot holds` lists what waits for a person."


def _refused(report: Report) -> Iterator[str]:
    if not report.rejects:
        return
    yield "## Refused records"
    yield ""
    reasons = Counter((row["code"], row["next_step"]) for row in report.rejects)
    yield from _table(
        ("records", "reason", "next step"),
        [(number, f"`{code}`", step) for (code, step), number in reasons.most_common()],
    )
    yield ""
    yield f"All of them, with lines and messages: `packshot rejects --run {report.run.id}`."


def _changed(report: Report) -> Iterator[str]:
    """Nothing where all was as before."""
    diff = report.diff
    if not (diff.new or diff.changed or diff.refused or diff.gone or diff.gone is None):
        return
    yield "## Products since earlier runs"
    yield ""
    unknown = "not known"
    rest = (unknown, unknown) if diff.gone is None else (diff.refused or 0, diff.gone)
    yield from _table(
        ("new", "changed", "the same", "refused now", "gone"), [(diff.new, diff.changed, diff.same, *rest)]
    )
    if diff.gone is None:
        yield ""
        yield f"What is gone is not known: {_cell(diff.gone_unknown)}."
    groups: dict[str, list[Row]] = {}
    for row in report.changes:
        groups.setdefault(row["change"], []).append(row)
    if groups:
        yield ""
    for change, group in groups.items():
        names = ", ".join(_product(row) + (f" ({row['what']})" if row["what"] else "") for row in group[:NAMED])
        total = getattr(diff, change) or 0
        more = f" and {total - NAMED:,} more" if total > NAMED else ""
        yield f"- {change}: {_cell(names)}{more}"
    yield ""
    yield f"All of them: `packshot diff --run {report.run.id}`. The images of products that are gone stay."


def _links(report: Report) -> Iterator[str]:
    if not report.assets:
        return
    by_product: dict[str, list[Row]] = {}
    for row in report.assets:
        by_product.setdefault(_product(row), []).append(row)
    shown = list(by_product.items())[:LINKED]
    yield "## New images"
    yield ""
    rows = [
        (product, group[0]["title"], _Markdown(" ".join(f"[{_cell(_shot(row))}]({row['url']})" for row in group)))
        for product, group in shown
    ]
    yield from _table(("product", "title", "images"), rows)
    left = report.pictures - sum(len(group) for _, group in shown)
    if left > 0:
        yield ""
        yield f"And {left:,} more: `packshot assets --catalog {report.run.catalog}`."


class _Markdown(str):
    """A cell that is Markdown already."""

    __slots__ = ()


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield "|---" * len(head) + "|"
    for row in rows:
        yield f"| {' | '.join(map(_cell, row))} |"


def _cell(value: object) -> str:
    """Text that cannot break out of a cell or become a link, a picture or HTML; what stands in ticks stays code."""
    if isinstance(value, _Markdown):
        return value
    if isinstance(value, int):
        return f"{value:,}"
    text = _short(str(value or "")).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")
    return text.replace("[", "\\[")


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def _product(row: Row) -> str:
    return product_name(row["product_key"], row["variant_key"])


def _shot(row: Row) -> str:
    return f"{row['shot']} {row['variant']}" if row["variant"] > 1 else str(row["shot"])
