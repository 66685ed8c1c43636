"""`packshot doctor`: is everything in place for a run? Costs nothing."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace

from packshot.apiyi import ApiyiClient
from packshot.apiyi.account import AccountClient
from packshot.db.engine import check_revision, head_revision, is_empty, open_engine
from packshot.errors import Code, PackshotError
from packshot.sandbox.prefect_server import USUAL_PORT, is_healthy
from packshot.settings import Settings
from packshot.shots import load_shot_list
from packshot.storage import Finding, ObjectStore

THEN_DOCTOR = ", then run `packshot doctor`"


def examine(settings: Settings) -> list[Finding]:
    """One finding for each thing a run relies on; each that is not well says what mends it."""
    found = [
        *_guarded("API key and model", lambda: _provider(settings)),
        *_guarded("balance", lambda: _balance(settings)),
        *_guarded("shot list", lambda: [_shots(settings)]),
        *_guarded("database", lambda: [_database(settings)]),
        *_guarded("storage", lambda: _storage(settings)),
        _prefect(),
    ]
    if settings.plain_http:
        found.insert(0, _plain_http(settings))
    # Whoever reads this has run the doctor already.
    return [replace(finding, next_step=finding.next_step.removesuffix(THEN_DOCTOR)) for finding in found]


def _guarded(name: str, look: Callable[[], list[Finding]]) -> list[Finding]:
    try:
        return look()
    except PackshotError as error:
        return [Finding(name, False, error.message, error.code.next_step)]


def _storage(settings: Settings) -> list[Finding]:
    return [replace(finding, name=f"storage, {finding.name}") for finding in ObjectStore(settings).probe()]


def _plain_http(settings: Settings) -> Finding:
    return Finding(
        "encryption",
        False,
        f"the key travels unencrypted to {settings.base_url}; anybody on the way can read and use it",
        "set PACKSHOT_APIYI_BASE_URL=https://api.apiyi.com, unless the whole way is a network you trust",
    )


def _provider(settings: Settings) -> list[Finding]:
    models = ApiyiClient(settings).models()
    findings = [Finding("API key", True, f"{settings.base_url} accepts it and offers {len(models)} models")]
    wanted = {shot.model or settings.model for shot in load_shot_list(settings.shots).shots}
    for model in sorted(wanted):
        there = model in models
        findings.append(
            Finding(
                f"model {model}",
                there,
                "available" if there else f"not offered to this key; offered: {', '.join(sorted(models)[:12])}",
                "" if there else "set PACKSHOT_APIYI_MODEL, or `model:` in the shot list, to one of these",
            )
        )
        settings.price_micro(model)
    return findings


def _balance(settings: Settings) -> list[Finding]:
    """Nothing without the system token: images can be made without it."""
    if settings.apiyi_system_token is None:
        return []
    with AccountClient(settings) as account:
        balance = account.balance()
    message = f"${balance.left:.2f} left, ${balance.used:.2f} used so far"
    enough = balance.left > 0
    return [Finding("balance", enough, message, "" if enough else Code.BALANCE_EMPTY.next_step)]


def _shots(settings: Settings) -> Finding:
    shots = load_shot_list(settings.shots)
    return Finding(
        "shot list", True, f"{settings.shots or 'the one that comes with packshot'}: {', '.join(shots.names)}"
    )


def _database(settings: Settings) -> Finding:
    engine = open_engine(settings.db_url)
    if is_empty(engine):
        return Finding("database", True, f"{engine.url.render_as_string()} is empty; the first run makes its tables")
    check_revision(engine)
    return Finding("database", True, f"{engine.url.render_as_string()} at revision {head_revision()}")


def _prefect() -> Finding:
    named = os.environ.get("PREFECT_API_URL", "")
    url = named or f"http://127.0.0.1:{USUAL_PORT}/api"
    if is_healthy(url):
        return Finding("Prefect", True, f"a server answers at {url}")
    if named:
        return Finding(
            "Prefect", False, f"no server answers at PREFECT_API_URL={url}", "start it: `prefect server start`"
        )
    return Finding("Prefect", True, "no server is running; `packshot run` starts one while it runs")
