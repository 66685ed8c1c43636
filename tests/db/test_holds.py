"""What waits for a person, and what comes of each decision, on both databases."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from sqlalchemy import Engine, update
from sqlmodel import col

from packshot.db.holds import SHOWN, Answer, Waiting, find, find_all, holds, resolve, short_key, way
from packshot.db.moves import ALLOWED, Claim
from packshot.db.tables import Asset, Generation, ImageJob
from packshot.db.types import JobState as S
from packshot.errors import ArchiveError, Code, ConfigError, PackshotError, ProviderError
from packshot.policy import Decision, Verdict, after_call
from packshot.settings import Settings
from tests.db.ledger_cases import PRICE, START, Book, job, plan, product, received, stored

LATE = ProviderError(Code.TIMEOUT, "no answer in 300 s")
REFUSED = ProviderError(Code.REFUSED_SAFETY, "the answer says no")
SPOOL_GONE = ArchiveError(Code.SPOOL_MISSING, "the file is on another machine")
HOLD = Decision(Verdict.HOLD)
SETTINGS = Settings(_env_file=None)


@pytest.fixture
def book(engine: Engine) -> Book:
    return Book(engine, jobs=4)


def call(book: Book, number: int = 0) -> tuple[Claim, int]:
    claim = book.ledger.claim(book.jobs[number])
    assert claim
    assert claim.generation is None
    return claim, book.ledger.begin(claim, book.run_id, PRICE, "images", 1)


def fail(book: Book, number: int = 0, error: PackshotError = LATE) -> None:
    """One call that brings no image, decided by the real policy."""
    claim, attempt = call(book, number)
    book.ledger.not_received(claim, attempt, error, lambda past: after_call(error, past, SETTINGS))


def hold(book: Book, number: int = 0) -> Waiting:
    """Two calls of unknown outcome: the policy's own retry is used up."""
    fail(book, number)
    book.clock.advance(60)
    fail(book, number)
    return seen(book, number)


def hold_for_size(book: Book, number: int = 0) -> Waiting:
    claim, attempt = call(book, number)
    claim = book.ledger.received(claim, attempt, received())
    book.ledger.archived(claim, stored(f"pub/{number}-{attempt}.png"), hold_for=Code.WRONG_SIZE, message="too small")
    return seen(book, number)


def hold_received(book: Book, number: int = 0) -> Waiting:
    """Held although an image was paid for that may still be brought home."""
    claim, attempt = call(book, number)
    book.ledger.received(claim, attempt, received())
    with book.ledger.write() as session:
        values = {"state": S.HELD, "code": SPOOL_GONE.code, "message": SPOOL_GONE.message, "claimed_by": None}
        session.execute(update(ImageJob).where(col(ImageJob.id) == book.jobs[number]).values(**values))
    return seen(book, number)


def hold_without_photo(book: Book) -> Waiting:
    item = product("photoless")
    wanted = job(item, missing=("boot.png",))
    book.runs.enroll(book.run_id, [(item, [wanted])], [])
    return find(book.engine, [wanted.key])[0]


def seen(book: Book, number: int = 0) -> Waiting:
    [row] = [row for row in book.rows(ImageJob) if row["id"] == book.jobs[number]]
    return find(book.engine, [row["key"]])[0]


def row(book: Book, number: int = 0) -> dict[str, Any]:
    return next(row for row in book.rows(ImageJob) if row["id"] == book.jobs[number])


def enroll_again(book: Book) -> int:
    """Another run over the same catalog; returns how many jobs it has to see to."""
    run_id = book.open_run()
    return book.runs.enroll(run_id, plan(4), []).open


# --- looking --------------------------------------------------------------------------------------------------
def test_a_list_says_what_waits_why_since_when_and_what_it_cost(book: Book) -> None:
    hold_for_size(book, 1)
    hold(book, 0)
    first, second = holds(book.engine)
    assert (first["product_key"], first["code"], first["cost_usd"], first["calls"]) == ("p1", "wrong_size", 0.09, 1)
    assert first["url"] == "https://cdn.example/shop/pub/1-1.png"
    assert "packshot holds resolve KEY --accept" in first["next_step"]
    assert (first["since"], first["message"]) == (START.isoformat(), "too small")
    assert (second["product_key"], second["code"], second["cost_usd"], second["calls"]) == ("p0", "timeout", 0.18, 2)
    assert (second["url"], second["received"]) == (None, False)
    assert second["since"] == (START + timedelta(seconds=60)).isoformat()
    assert second["job_key"] == row(book, 0)["key"]
    assert second["job_key"].startswith(second["key"])
    assert len(second["key"]) == SHOWN
    assert [found["product_key"] for found in holds(book.engine, code="timeout")] == ["p0"]
    assert [found["product_key"] for found in holds(book.engine, catalog="shop", code="wrong_size")] == ["p1"]
    assert holds(book.engine, catalog="other") == []


def test_what_does_not_wait_is_not_listed(book: Book) -> None:
    fail(book, 0, ProviderError(Code.BAD_REQUEST, "no"))  # failed
    call(book, 1)
    waiting = hold(book, 2)
    assert [found["product_key"] for found in holds(book.engine)] == ["p2"]
    assert resolve(book.ledger, waiting, Answer.SKIP)
    assert holds(book.engine) == []
    assert [found.product_key for found in find_all(book.engine, Code.SKIPPED)] == ["p2"]


def test_a_received_image_that_waits_is_marked(book: Book) -> None:
    hold_received(book)
    assert [(found["code"], found["received"]) for found in holds(book.engine)] == [("spool_missing", True)]


def test_a_short_key_is_as_long_as_it_takes() -> None:
    one, two, three = "a" * 64, "a" * 20 + "b" * 44, "c" * 64
    assert short_key(one, None, two) == "a" * 21
    assert short_key(two, one, three) == "a" * 20 + "b"
    assert short_key(three, two, None) == "c" * SHOWN
    assert short_key(one, None, None) == "a" * SHOWN


# --- finding --------------------------------------------------------------------------------------------------
def test_a_job_is_found_by_its_key_or_a_beginning_of_it(book: Book) -> None:
    waiting = hold(book)
    for text in (waiting.key, waiting.key[:6], f" {waiting.key[:10].upper()} "):
        assert find(book.engine, [text]) == [waiting]
    assert find(book.engine, [waiting.key, waiting.key[:8]]) == [waiting], "each once"


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("12345", "too short: give 6 characters"),
        ("", "too short"),
        ("no-such-key", "no image has a key that begins with 'no-such-key'"),
        ("______", "no image has a key"),
        ("%%%%%%%", "no image has a key"),
    ],
)
def test_a_key_that_names_nothing_is_one_clear_error(book: Book, given: str, says: str) -> None:
    hold(book)
    with pytest.raises(ConfigError, match=says) as failure:
        find(book.engine, [given])
    assert failure.value.code is Code.HOLD_INVALID
    assert "`packshot holds` lists" in str(failure.value)


def rename(book: Book, keys: list[str]) -> None:
    with book.ledger.write() as session:
        for number, key in zip(book.jobs, keys, strict=True):
            session.execute(update(ImageJob).where(col(ImageJob.id) == number).values(key=key))


def test_a_beginning_of_several_keys_lists_them(book: Book) -> None:
    rename(book, [f"abcdef{n}".ljust(64, "0") for n in range(4)])
    with pytest.raises(ConfigError, match=r"'abcdef' is the beginning of several keys: abcdef00.* p0 .*abcdef3.* p3 "):
        find(book.engine, ["abcdef"])
    hold(book, 2)
    assert [job.product_key for job in find(book.engine, ["abcdef"])] == ["p2"], "the one that waits is meant"
    assert [job.product_key for job in find(book.engine, ["abcdef1"])] == ["p1"]
    assert [found["key"] for found in holds(book.engine)] == ["abcdef20"]


# --- retry ----------------------------------------------------------------------------------------------------
def test_retry_allows_one_more_purchase_and_no_more(book: Book) -> None:
    waiting = hold(book)
    became = resolve(book.ledger, waiting, Answer.RETRY)
    assert became
    assert (became.state, became.code, became.message) == (S.PLANNED, "", "")
    after = row(book)
    assert (after["retry_at"], after["claimed_by"], after["code"]) == (None, None, None)
    fail(book)
    assert (seen(book).state, seen(book).calls) == (S.HELD, 3), "held again at once"
    assert resolve(book.ledger, seen(book), Answer.RETRY)
    claim, attempt = call(book)
    book.ledger.archived(book.ledger.received(claim, attempt, received()), stored())
    assert book.ledger.state(book.job) is S.ARCHIVED


def test_a_call_that_was_not_billed_does_not_use_the_retry_up(book: Book) -> None:
    assert resolve(book.ledger, hold(book), Answer.RETRY)
    fail(book, error=ProviderError(Code.OVERLOADED, "busy"))
    assert (seen(book).state, seen(book).code) == (S.PLANNED, "overloaded")
    book.clock.advance(60)
    fail(book)
    assert seen(book).state is S.HELD


def test_retry_of_a_refusal_buys_it_once_more(book: Book) -> None:
    fail(book, error=REFUSED)
    assert resolve(book.ledger, seen(book), Answer.RETRY)
    fail(book, error=REFUSED)
    assert (seen(book).state, seen(book).code, seen(book).cost_micro) == (S.HELD, "refused_safety", 2 * PRICE)


def test_retry_of_a_wrong_size_keeps_the_old_picture_as_replaced(book: Book) -> None:
    waiting = hold_for_size(book)
    book.clock.advance(5)
    became = resolve(book.ledger, waiting, Answer.RETRY)
    assert became
    assert (became.state, became.url) == (S.PLANNED, None)
    assert [asset["replaced_at"] for asset in book.rows(Asset)] == [START + timedelta(seconds=5)]
    again = hold_for_size(book)  # it comes out wrong once more: two assets of one job, one of them current
    assert (again.code, again.url) == ("wrong_size", "https://cdn.example/shop/pub/0-2.png")
    assert [asset["replaced_at"] is None for asset in book.rows(Asset)] == [False, True]
    assert [found["url"] for found in holds(book.engine)] == [again.url]


def test_what_was_received_is_brought_home_and_not_bought_again(book: Book) -> None:
    became = resolve(book.ledger, hold_received(book), Answer.RETRY)
    assert became
    assert (became.state, became.received) == (S.GENERATED, True)
    claim = book.ledger.claim(book.job)
    assert claim
    assert claim.generation
    book.ledger.archived(claim, stored())
    assert (book.ledger.state(book.job), seen(book).calls) == (S.ARCHIVED, 1)


def test_rebuy_gives_the_received_image_up(book: Book) -> None:
    became = resolve(book.ledger, hold_received(book), Answer.REBUY)
    assert became
    assert (became.state, became.received) == (S.PLANNED, False)
    assert [generation["lost_at"] for generation in book.rows(Generation)] == [START]
    call(book)  # buys it


def test_rebuy_without_a_received_image_is_a_retry(book: Book) -> None:
    became = resolve(book.ledger, hold(book), Answer.REBUY)
    assert became
    assert became.state is S.PLANNED


def test_a_late_answer_is_still_taken_after_a_retry(book: Book) -> None:
    claim, attempt = call(book)
    book.ledger.not_received(claim, attempt, PackshotError(Code.INTERRUPTED, "given up"), lambda past: HOLD)
    assert resolve(book.ledger, seen(book), Answer.RETRY)
    book.ledger.received(claim, attempt, received())
    assert book.ledger.state(book.job) is S.GENERATED


@pytest.mark.parametrize("answer", [Answer.RETRY, Answer.REBUY])
def test_a_job_without_its_photo_is_not_bought_on_a_guess(book: Book, answer: Answer) -> None:
    waiting = hold_without_photo(book)
    assert (waiting.code, waiting.calls) == ("reference_unavailable", 0)
    with pytest.raises(ConfigError, match=r"lacks its photo.*Allowed: --skip"):
        resolve(book.ledger, waiting, answer)
    skipped = resolve(book.ledger, waiting, Answer.SKIP)
    assert skipped
    with pytest.raises(ConfigError, match="lacks its photo"):
        resolve(book.ledger, skipped, answer)


# --- skip and accept ------------------------------------------------------------------------------------------
def test_what_was_skipped_says_why_and_can_be_taken_back(book: Book) -> None:
    skipped = resolve(book.ledger, hold(book), Answer.SKIP)
    assert skipped
    assert (skipped.state, skipped.code, skipped.message) == (S.FAILED, "skipped", "timeout: no answer in 300 s")
    back = resolve(book.ledger, skipped, Answer.RETRY)
    assert back
    assert (back.state, back.code, back.message) == (S.PLANNED, "", "")


def test_what_was_skipped_with_its_image_received_is_brought_home_when_taken_back(book: Book) -> None:
    skipped = resolve(book.ledger, hold_received(book), Answer.SKIP)
    assert skipped
    assert skipped.state is S.FAILED
    back = resolve(book.ledger, skipped, Answer.RETRY)
    assert back
    assert back.state is S.GENERATED


def test_accept_takes_the_picture_as_it_is(book: Book) -> None:
    became = resolve(book.ledger, hold_for_size(book), Answer.ACCEPT)
    assert became
    assert (became.state, became.code, became.message) == (S.ARCHIVED, "", "")
    assert [asset["replaced_at"] for asset in book.rows(Asset)] == [None]
    assert enroll_again(book) == 3, "no later run looks at it"


def test_only_a_picture_that_exists_can_be_accepted(book: Book) -> None:
    for waiting in (hold(book, 0), hold_received(book, 1), hold_without_photo(book)):
        with pytest.raises(ConfigError, match=f"no picture to accept: it is held as {waiting.code}"):
            resolve(book.ledger, waiting, Answer.ACCEPT)
    skipped = resolve(book.ledger, hold_for_size(book, 2), Answer.SKIP)
    assert skipped
    for answer in (Answer.ACCEPT, Answer.SKIP):
        with pytest.raises(ConfigError, match="was skipped already; --retry takes that back"):
            resolve(book.ledger, skipped, answer)


# --- what may not happen --------------------------------------------------------------------------------------
USUAL = Waiting(
    job_id=1, key="a1b2c3d4" * 8, catalog="shop", product_key="p0", variant_key="red", shot="packshot", variant=2,
    model="nano-banana-pro", state=S.HELD, code=Code.TIMEOUT, message="", calls=1, cost_micro=PRICE, received=False,
    url=None, since=START,
)  # fmt: skip


@pytest.mark.parametrize("answer", list(Answer))
@pytest.mark.parametrize("state", [state for state in S if state is not S.HELD])
def test_what_is_not_held_cannot_be_decided(state: S, answer: Answer) -> None:
    with pytest.raises(ConfigError, match=rf"p0/red packshot 2 \(a1b2c3d4\) is not held: it is {state}"):
        way(replace(USUAL, state=state), answer)


def test_every_way_is_made_of_legal_moves() -> None:
    ways = set()
    held = [replace(USUAL, code=code) for code in (Code.TIMEOUT, Code.WRONG_SIZE)]
    for waiting in (*held, replace(USUAL, state=S.FAILED, code=Code.SKIPPED)):
        for one in (waiting, replace(waiting, url="https://cdn.example/a.png"), replace(waiting, received=True)):
            for answer in Answer:
                with suppress(ConfigError):
                    ways.add(tuple(way(one, answer)))
    assert ways == {
        (S.HELD, S.PLANNED), (S.HELD, S.GENERATED), (S.HELD, S.FAILED), (S.HELD, S.ARCHIVED),
        (S.FAILED, S.PLANNED), (S.FAILED, S.PLANNED, S.GENERATED),
    }  # fmt: skip
    assert all(target in ALLOWED[source] for states in ways for source, target in pairwise(states))


def test_a_job_that_changed_meanwhile_is_left_alone(book: Book) -> None:
    waiting = hold(book)
    assert resolve(book.ledger, waiting, Answer.RETRY)
    before = row(book)
    for answer in (Answer.RETRY, Answer.SKIP):
        assert resolve(book.ledger, waiting, answer) is None
    assert row(book) == before
    call(book)
    assert resolve(book.ledger, waiting, Answer.SKIP) is None
    assert book.ledger.state(book.job) is S.CALLING


def test_a_job_held_anew_for_another_reason_is_not_the_one_that_was_seen(book: Book) -> None:
    waiting = hold(book)
    assert resolve(book.ledger, waiting, Answer.RETRY)
    book.clock.advance(1)
    fail(book)
    assert seen(book).state is S.HELD
    assert resolve(book.ledger, waiting, Answer.SKIP) is None
    assert seen(book).state is S.HELD
