"""Put the automations of automations.yaml in place on the Prefect server, bring them up to date, list or remove them.

    python -m deployments.automations [--webhook URL] [--list | --remove]

Safe to repeat: an automation is known by its name, one that is as it should be is left alone (a change would make the
server forget what it has counted so far), and whether it is on or off stays as people set it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit
from uuid import UUID

import yaml
from prefect.blocks.notifications import SlackWebhook
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.events.schemas.automations import Automation, AutomationCore, EventTrigger
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY
from pydantic import SecretStr
from pydantic_core import ValidationError

from packshot.errors import Code, ConfigError, PackshotError

FILE = Path(__file__).with_name("automations.yaml")
BLOCK = "packshot-alerts"
"""The block that holds the address. The server stores it encrypted and shows it to nobody.

Slack's block takes any address as Apprise writes it. Not Prefect's plain webhook block: its calls share one pool of
connections, the first to end closes it under the others, and their messages are lost. A run that stops has two
messages at once, and one bad key stops many runs at once. Nor its custom webhook: it logs an address that refuses.
"""
BLOCK_TYPE = "slack-webhook"


@dataclass(frozen=True, slots=True)
class Means:
    """What the file's shorthands stand for on this server. None: it has no such thing."""

    webhook: UUID | None
    deployments: dict[str, UUID | None]
    heartbeat: float | None
    """Seconds between two signs of life of a flow run."""


def read_file(path: Path = FILE) -> list[dict[str, Any]]:
    """The automations as written."""
    entries: list[dict[str, Any]] = yaml.safe_load(path.read_text("utf-8"))["automations"]
    return entries


def completed(entry: dict[str, Any], means: Means) -> AutomationCore | str:
    """The automation as Prefect wants it, or why there can be none on this server. Pure.

    Raises:
        ConfigError: the entry is not an automation; Prefect itself would pass over an unknown key in silence.
    """
    trigger = dict(entry["trigger"])
    if "within_heartbeats" in trigger:
        count = trigger.pop("within_heartbeats")
        if means.heartbeat is None:
            return "flow runs give no sign of life: set heartbeat_frequency in prefect.toml"
        trigger["within"] = count * means.heartbeat
    actions = []
    for action in map(dict, entry["actions"]):
        if action["type"] == "send-notification":
            if means.webhook is None:
                return "it needs an address: give --webhook URL"
            action["block_document_id"] = means.webhook
        if name := action.pop("deployment", None):
            if means.deployments.get(name) is None:
                return f"there is no deployment {name}: deploy first"
            action["deployment_id"] = means.deployments[name]
        actions.append(action)
    unknown = {*entry} - {*AutomationCore.model_fields} | {*trigger} - {*EventTrigger.model_fields}
    if unknown:
        raise _refuse(f"{entry['name']!r} in {FILE.name} has unknown keys: {', '.join(sorted(unknown))}")
    try:
        return AutomationCore.model_validate(entry | {"trigger": trigger, "actions": actions})
    except ValidationError as error:
        reasons = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise _refuse(f"{entry['name']!r} in {FILE.name} cannot be used: {reasons}") from None


def apply(client: SyncPrefectClient, entries: Sequence[dict[str, Any]], means: Means) -> list[tuple[str, str]]:
    """Make or update the automations. Returns (name, what was done)."""
    wanted = [(entry["name"], completed(entry, means)) for entry in entries]  # all of them are checked before the first
    return [(name, found if isinstance(found, str) else _apply_one(client, found)) for name, found in wanted]


def list_them(client: SyncPrefectClient, entries: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
    """(name, on, off or missing) of each."""
    there = {entry["name"]: client.read_automations_by_name(entry["name"]) for entry in entries}
    return [(name, "missing" if not found else "on" if found[0].enabled else "off") for name, found in there.items()]


def remove(client: SyncPrefectClient, entries: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
    """Remove the automations and the block with the webhook's address. Returns (name, what was done)."""
    done = []
    for entry in entries:
        found = client.read_automations_by_name(entry["name"])
        for automation in found:
            client.delete_automation(automation.id)
        done.append((entry["name"], "removed" if found else "was not there"))
    if (block := _block_id(client)) is not None:
        client.delete_block_document(block)
    return [*done, (f"block {BLOCK_TYPE}/{BLOCK}", "was not there" if block is None else "removed")]


def means_of(client: SyncPrefectClient, entries: Sequence[dict[str, Any]], webhook: str | None) -> Means:
    """Find out what the server has. With ``webhook``, its address is stored first.

    Raises:
        ConfigError: that is no address a webhook can have.
    """
    if webhook is not None:
        _store(webhook)
    names = {action["deployment"] for entry in entries for action in entry["actions"] if "deployment" in action}
    return Means(
        webhook=_block_id(client),
        deployments={name: _deployment_id(client, name) for name in names},
        heartbeat=PREFECT_FLOWS_HEARTBEAT_FREQUENCY.value(),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0 done, 2 nothing could be done."""
    parser = argparse.ArgumentParser(prog="python -m deployments.automations", description=__doc__.splitlines()[0])
    parser.add_argument("--webhook", metavar="URL", help="where alerts go; needed once, kept as a secret by the server")
    either = parser.add_mutually_exclusive_group()
    either.add_argument("--list", action="store_true", help="show which are there, and which of them are on")
    either.add_argument("--remove", action="store_true", help="remove them all, and the webhook's address")
    given = parser.parse_args(arguments)
    entries = read_file()
    try:
        with _server() as client:
            if given.list:
                rows = list_them(client, entries)
            elif given.remove:
                rows = remove(client, entries)
            else:
                rows = apply(client, entries, means_of(client, entries, given.webhook))
    except PackshotError as error:
        print(error, file=sys.stderr)
        return 2
    width = max(len(name) for name, _ in rows)
    print("\n".join(f"{name:{width}}  {what}" for name, what in rows))
    return 0


# --- the parts ------------------------------------------------------------------------------------------------
@contextmanager
def _server() -> Iterator[SyncPrefectClient]:
    """A client of the configured server. Without one, Prefect would start its own unseen, and forget everything."""
    url = PREFECT_API_URL.value()
    if url is None:
        raise ConfigError(Code.PREFECT_UNREACHABLE, "no Prefect server is named: PREFECT_API_URL is not set")
    with get_client(sync_client=True) as client:
        if client.api_healthcheck() is not None:
            raise ConfigError(Code.PREFECT_UNREACHABLE, f"no Prefect server answers at PREFECT_API_URL={url}")
        yield client


def _apply_one(client: SyncPrefectClient, wanted: AutomationCore) -> str:
    found = client.read_automations_by_name(wanted.name)
    if not found:
        client.create_automation(wanted)
        return "made, switched on" if wanted.enabled else "made, switched off"
    there = found[0]
    wanted = wanted.model_copy(update={"enabled": there.enabled})
    switch = "on" if there.enabled else "off"
    if _contents(there) == _contents(wanted):
        return f"was there already, switched {switch}"
    client.update_automation(there.id, wanted)
    return f"updated, switched {switch}"


def _contents(automation: Automation | AutomationCore) -> dict[str, Any]:
    return automation.model_dump(mode="json", include={*AutomationCore.model_fields})


def _store(webhook: str) -> None:
    try:
        parts = urlsplit(webhook)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:  # the address is a secret: it is not repeated here
        raise _refuse("the address given with --webhook does not begin with https:// or http:// and a host's name")
    SlackWebhook(url=SecretStr(apprise_url(webhook))).save(BLOCK, overwrite=True)


def apprise_url(address: str) -> str:
    """The address as Apprise takes it, with a body of {"text": the message} and nothing else. Pure.

    Apprise cuts an address at commas and semicolons, and unquotes values twice.
    """
    parts = urlsplit(address)
    query = [(f"-{name}", quote(value, safe="")) for name, value in parse_qsl(parts.query, keep_blank_values=True)]
    query += [("cto", "30"), ("rto", "30"), (":message", "text")]  # its own 4 seconds are short for a chat
    query += [(f":{unwanted}", "") for unwanted in ("version", "title", "attachments", "type")]
    scheme = "jsons" if parts.scheme == "https" else "json"
    return parts._replace(
        scheme=scheme,
        path=quote(parts.path, safe="/%:@!$&'()*+=~"),
        query=urlencode(query, quote_via=quote),
        fragment="",
    ).geturl()


def _block_id(client: SyncPrefectClient) -> UUID | None:
    try:
        return client.read_block_document_by_name(BLOCK, BLOCK_TYPE).id
    except ObjectNotFound:
        return None


def _deployment_id(client: SyncPrefectClient, name: str) -> UUID | None:
    try:
        return client.read_deployment_by_name(name).id
    except ObjectNotFound:
        return None


def _refuse(why: str) -> ConfigError:
    return ConfigError(Code.SETTINGS_INVALID, why)


if __name__ == "__main__":
    sys.exit(main())
