"""Where a secret could have got to: everything a run leaves behind is searched, byte by byte and row by row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import requests
from sqlalchemy import Engine, MetaData, select

from packshot.sandbox.emulator import Emulator
from packshot.sandbox.faults import FAULTS
from tests.chaos.world import World
from tests.fixtures_prefect import PrefectApi
from tests.fixtures_shop import KEY, SYSTEM_TOKEN

SHORT: Mapping[str, Mapping[str, Any]] = {
    "tail_stall_fin": {"seconds": 0.5},
    "late_terminator": {"seconds": 0.5},
    "slow_body": {"seconds": 0.5},
    "url_slow": {"seconds": 0.5},
    "big_body": {"size": 3_000_000},
}
"""Parameters that make a fault take less time."""

STOPS = ("bad_key", "balance_empty", "model_not_found")
"""Faults that end a run."""


def run_with_every_fault(world: World) -> str:
    """Children that meet every fault, one of which logs all it can; returns the name that must be found everywhere."""
    loud = {
        "PREFECT_LOGGING_LEVEL": "DEBUG",
        "PREFECT_LOGGING_ROOT_LEVEL": "DEBUG",
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "DEBUG",
        # Not urllib3: on its own account it logs each address it fetches, with the query.
        "PREFECT_LOGGING_EXTRA_LOGGERS": "packshot,botocore,boto3,s3transfer,sqlalchemy,httpx",
    }
    for fault in FAULTS:
        if fault not in STOPS:
            world.emulator.queue(fault, **SHORT.get(fault, {}))
    catalog = world.catalog("telltale", len(FAULTS) + 5)
    quick: dict[str, Any] = {
        "pause": 0.05, "silence_timeout": 1, "first_byte_timeout": 3, "max_archive_tries": 2, "max_tries": 8,
        "apiyi_format": "gemini", "failures_before_pause": 20,
    }  # fmt: skip
    child = world.start_fresh("run", str(catalog), variables=loud, **quick)
    assert child.wait(120) == 1
    assert not len(world.emulator.studio.deck), "the run ended before it had met every fault"
    for fault in STOPS:
        world.emulator.queue(fault, times=2)  # some are taken for an accident the first time
        assert world.run(world.catalog(f"telltale-{fault}", 1), **quick).wait(60) in (1, 3)
        while len(world.emulator.studio.deck):
            world.emulator.studio.deck.draw()
    nowhere = "http://127.0.0.1:9"
    assert world.run(catalog, s3_endpoint_url=nowhere).wait(60) == 2
    assert world.run(world.catalog("telltale-nowhere", 1), apiyi_base_url=nowhere, max_tries=1).wait(60) == 1
    return "telltale"


def places(world: World, prefect_home: Path) -> Iterator[tuple[str, bytes]]:
    """(name, content) of all that runs leave: output and logs, files, rows, and what Prefect's API answers."""
    yield "output and logs", world.log.read_bytes()
    for path in sorted(world.home.rglob("*")):
        if path.is_file():
            yield f"file {path.relative_to(world.home)}", path.read_bytes()
    yield "rows of the database", _rows(world.engine)
    for path in sorted(prefect_home.rglob("*")):
        if path.is_file():
            yield f"Prefect's file {path.relative_to(prefect_home)}", path.read_bytes()
    api = PrefectApi(world.prefect_url)
    for kind in ("flow_runs", "task_runs", "flow_run_states", "task_run_states", "logs", "artifacts", "events"):
        yield f"Prefect's {kind}", _answers(api, kind)


def _rows(engine: Engine) -> bytes:
    metadata = MetaData()
    metadata.reflect(engine)
    with engine.connect() as connection:
        rows = [repr(row) for table in metadata.sorted_tables for row in connection.execute(select(table))]
    return "\n".join(rows).encode()


def _answers(api: PrefectApi, kind: str) -> bytes:
    """As the server sends them."""
    if kind.endswith("_states"):
        owner = kind.removesuffix("_states")
        ids = [row["id"] for row in api.filter(f"{owner}s")]
        return b"\n".join(
            requests.get(f"{api.url}/{kind}/", params={f"{owner}_id": one}, timeout=30).content for one in ids
        )
    found = []
    page: dict[str, object] = {"limit": 50 if kind == "events" else 200}
    url = f"{api.url}/{kind}/filter"
    while True:
        answer = requests.post(url, json=page, timeout=30)
        answer.raise_for_status()
        found.append(answer.content)
        if kind == "events":
            following = answer.json()["next_page"]
            while following:
                answer = requests.get(following, timeout=30)
                found.append(answer.content)
                following = answer.json()["next_page"]
            break
        if len(answer.json()) < 200:
            break
        page["offset"] = int(str(page.get("offset", 0))) + 200
    return b"\n".join(found)


def needles(world: World) -> dict[str, str]:
    """What must be found nowhere."""
    return {"API key": KEY, "system token": SYSTEM_TOKEN, "S3 secret": world.seaweed.secret_access_key}


def signatures(emulator: Emulator) -> set[str]:
    """Of the temporary URLs that were fetched: whoever has one can read the image until it expires."""
    queries = [parse_qs(urlsplit(request.path).query) for request in emulator.history if "/oss/" in request.path]
    return {query["Signature"][0] for query in queries if "Signature" in query}


def found_in(content: bytes, needle: str) -> bool:
    """As it is, or as it stands in a URL or a JSON document."""
    return any(form.encode() in content for form in _forms(needle))


def _forms(needle: str) -> Iterable[str]:
    return {needle, quote(needle, safe=""), quote(needle), needle.replace("/", "\\/"), needle[1:-1]}
