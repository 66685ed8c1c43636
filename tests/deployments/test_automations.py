"""The automations on a real server: made once, they run deployments, close dead runs and call a real web server."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from contextvars import copy_context
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from uuid import UUID, uuid4

import pytest
import requests
import yaml
from apprise import Apprise
from apprise.plugins.custom_json import NotifyJSON
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import State
from prefect.events import emit_event
from prefect.events.schemas.automations import AutomationCore, EventTrigger
from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
from prefect.states import Completed, Failed, Running

from deployments.automations import BLOCK, BLOCK_TYPE, Means, apply, apprise_url, completed, main, means_of, read_file
from packshot.errors import Code, ConfigError
from packshot.options import RunOptions
from packshot.sandbox.ports import free_ports
from tests.fixtures_prefect import PrefectApi, eventually
from tests.fixtures_shop import OpenShop, write_catalog

ROOT = Path(__file__).resolve().parents[2]
POOL = "nobody-works-here"
SECRET = "T0P-s3cret-path"
NAMES = [entry["name"] for entry in read_file()]
CATALOG, HOLDS, FAILED, ENDING, ZOMBIE = NAMES


HELD = "the chat holds this one"


class Post(BaseHTTPRequestHandler):
    received: list[dict[str, Any]]
    let_go: threading.Event

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.received.append({"path": self.path, "type": self.headers["Content-Type"], **body})
        if HELD in body["text"]:
            self.let_go.wait(60)
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@dataclass
class Hook:
    """A team's chat: what was posted to it."""

    url: str
    received: list[dict[str, Any]] = field(default_factory=list)
    let_go: threading.Event = field(default_factory=threading.Event)
    """Until then a message that has ``HELD`` in it is not answered."""

    def texts(self, part: str) -> list[str]:
        return [post["text"] for post in self.received if part in post["text"]]


@pytest.fixture(scope="module")
def hook() -> Iterator[Hook]:
    hook = Hook("")
    handler = type("Handler", (Post,), {"received": hook.received, "let_go": hook.let_go})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    hook.url = f"http://127.0.0.1:{server.server_port}/hooks/{SECRET}"
    yield hook
    hook.let_go.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def client(prefect: PrefectApi) -> Iterator[SyncPrefectClient]:
    with get_client(sync_client=True) as client:
        yield client


@dataclass
class Applied:
    """What the command said before there was anything it needs, and after."""

    bare: dict[str, str]
    whole: dict[str, str]
    output: str


@pytest.fixture(scope="module")
def applied(prefect: PrefectApi, client: SyncPrefectClient, hook: Hook) -> Iterator[Applied]:
    from flows.catalog_imaging import catalog_imaging

    command("--remove")  # the server is the session's: earlier tests may have left what this one looks for
    for deployment in prefect.filter("deployments", deployments={"name": {"any_": ["on-demand"]}}):
        client.delete_deployment(deployment["id"])
    bare = command()
    client.create_work_pool(WorkPoolCreate(name=POOL, type="process"))
    source: Any = catalog_imaging.from_source(str(ROOT), "flows/catalog_imaging.py:catalog_imaging")
    source.deploy("on-demand", work_pool_name=POOL, print_next_steps=False)
    whole = command("--webhook", hook.url)
    yield Applied(rows(bare), rows(whole), bare + whole)
    command("--remove")


def command(*arguments: str, code: int = 0) -> str:
    """Run it as people do, in this process; returns what it prints."""
    with io.StringIO() as printed, redirect_stdout(printed), redirect_stderr(printed):
        assert main(arguments) == code
        return printed.getvalue()


def rows(text: str) -> dict[str, str]:
    """What it says of each automation."""
    return {name: line.removeprefix(name).strip() for line in text.splitlines() for name in NAMES if name in line}


# --- dead runs: begun first and looked at last, because it takes a while ----------------------------------------
BEATS = 4.0  # seconds
PROCESS = """
import os, time
from prefect import flow

@flow(name="rescue", flow_run_name="killed")
def rescue():
    from prefect import runtime
    print(runtime.flow_run.id, flush=True)
    time.sleep(120)

rescue()
"""


@dataclass
class Runs:
    killed: str
    alive: str
    stopped: str
    ended: str
    begun: float


@pytest.fixture(scope="module", autouse=True)
def runs(prefect: PrefectApi, client: SyncPrefectClient, applied: Applied) -> Iterator[Runs]:
    """A run whose process was killed after its first heartbeat, one that goes on, and two that ended by states of our
    own: right after a heartbeat, and before one that came late."""
    (zombie,) = [entry for entry in read_file() if entry["name"] == ZOMBIE]
    assert apply(client, [zombie], Means(None, {}, BEATS)) == [(ZOMBIE, "updated, switched on")]
    env = os.environ | {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30"}
    process = subprocess.Popen([sys.executable, "-c", PROCESS], cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    killed = process.stdout.readline().strip()
    eventually(lambda: heartbeats(prefect, killed))
    process.kill()
    process.wait()
    process.stdout.close()
    alive, stopped, ended = (str(client.create_flow_run(a_flow("image-shard"), state=Running()).id) for _ in range(3))
    beat(stopped)
    client.set_flow_run_state(UUID(stopped), Failed(name="Stopped", message="on request"), force=True)
    client.set_flow_run_state(UUID(ended), Completed(name="CompletedWithFailures"), force=True)
    beat(ended)
    end = threading.Event()

    def live() -> None:
        while not end.wait(BEATS):
            beat(alive)

    beat(alive)
    thread = threading.Thread(target=copy_context().run, args=(live,))
    thread.start()
    yield Runs(killed, alive, stopped, ended, time.monotonic())
    end.set()
    thread.join()


def a_flow(name: str) -> Any:
    @flow(name=name)
    def nothing() -> None: ...

    return nothing


def beat(flow_run_id: str) -> None:
    """A heartbeat as the engine sends it, but for the flow's id."""
    emit_event(
        "prefect.flow-run.heartbeat",
        resource={"prefect.resource.id": f"prefect.flow-run.{flow_run_id}", "prefect.resource.name": "x"},
        related=[
            {
                "prefect.resource.id": f"prefect.flow.{uuid4()}",
                "prefect.resource.role": "flow",
                "prefect.resource.name": "image-shard",
            }
        ],
    )


def heartbeats(prefect: PrefectApi, flow_run_id: str) -> Any:
    return events(prefect, ["prefect.flow-run.heartbeat"], f"prefect.flow-run.{flow_run_id}")


def events(prefect: PrefectApi, names: list[str], resource: str) -> Any:
    asked = {"event": {"name": names}, "resource": {"id": [resource]}}
    answer = requests.post(f"{prefect.url}/events/filter", json={"filter": asked}, timeout=30)
    answer.raise_for_status()
    return answer.json()["events"]


# --- applying -------------------------------------------------------------------------------------------------
def test_what_the_server_lacks_is_said(applied: Applied) -> None:
    assert applied.bare == {
        CATALOG: "there is no deployment catalog-imaging/on-demand: deploy first",
        HOLDS: "it needs an address: give --webhook URL",
        FAILED: "it needs an address: give --webhook URL",
        ENDING: "it needs an address: give --webhook URL",
        ZOMBIE: "made, switched on",
    }
    assert applied.whole == {
        CATALOG: "made, switched off",
        HOLDS: "made, switched on",
        FAILED: "made, switched on",
        ENDING: "made, switched on",
        ZOMBIE: "was there already, switched on",
    }


def test_applying_again_changes_nothing(prefect: PrefectApi, client: SyncPrefectClient, applied: Applied) -> None:
    before = {name: client.read_automations_by_name(name) for name in NAMES}
    entries = [entry for entry in read_file() if entry["name"] != ZOMBIE]
    done = dict(apply(client, entries, means_of(client, entries, None)))
    assert set(done.values()) == {"was there already, switched on", "was there already, switched off"}
    assert {name: client.read_automations_by_name(name) for name in NAMES} == before
    assert [len(found) for found in before.values()] == [1] * len(NAMES)


def test_the_address_is_a_secret(prefect: PrefectApi, applied: Applied, hook: Hook) -> None:
    assert SECRET not in applied.output + command("--list")
    blocks = requests.post(f"{prefect.url}/block_documents/filter", json={}, timeout=30).text
    assert BLOCK in blocks
    assert SECRET not in blocks
    for address in (
        f"ftp://chat.example/{SECRET}",
        f"chat.example/{SECRET}",
        f"https:///{SECRET}",
        f"http://[{SECRET}",
    ):
        said = command("--webhook", address, code=2)
        assert said.startswith("settings_invalid: the address given with --webhook does not begin with https://")
        assert SECRET not in said


@pytest.mark.parametrize(
    "rest",
    [
        f"/hooks/{SECRET}",
        "/services/T0/B0/xyz/",
        "/v1/spaces/AAA/messages?key=AIza-_Sy&token=a%2Bb%3D%3D&x=%25y%2520&empty=&Caps=1",
        "/workflows/0f/triggers/manual/paths/invoke?api-version=2016-06-01&sp=%2Ftriggers%2Fmanual%2Frun&sig=Ab-9_c",
        "/c%20d+e=%C3%BC/x,y;z:1@2~!$'()*",
        "/",
    ],
)
@pytest.mark.parametrize("host", ["http://127.0.0.1:5000", "https://chat.example"])
def test_the_address_is_kept_to_the_letter(host: str, rest: str) -> None:
    """Through Apprise, which has ideas of its own about what an address is."""
    (plugin,) = Apprise(apprise_url(host + rest))
    assert isinstance(plugin, NotifyJSON)
    port = f":{plugin.port}" if plugin.port else ""
    base = f"{'https' if plugin.secure else 'http'}://{plugin.host}{port}"
    sent = urlsplit(str(requests.Request("POST", base + plugin.fullpath, params=plugin.params).prepare().url))
    asked = urlsplit(str(requests.Request("POST", host + rest).prepare().url))
    assert sent._replace(path=unquote(sent.path)) == asked._replace(path=unquote(asked.path))
    assert (plugin.payload_extras["message"], plugin.method) == ("text", "POST")


def test_without_a_server(applied: Applied) -> None:
    """Not with one that Prefect starts unseen, either."""
    gone = f"http://127.0.0.1:{free_ports(1)[0]}/api"
    for url, part in ((gone, f"no Prefect server answers at PREFECT_API_URL={gone}"), (None, "PREFECT_API_URL is not")):
        with temporary_settings({PREFECT_API_URL: url}):
            assert part in command("--list", code=2)


def test_a_healthy_run_is_never_taken_for_dead(applied: Applied) -> None:
    """Three heartbeats of what prefect.toml says."""
    (zombie,) = [entry for entry in read_file() if entry["name"] == ZOMBIE]
    frequency = tomllib.loads((ROOT / "prefect.toml").read_text())["flows"]["heartbeat_frequency"]
    for setting, seconds in ((frequency, 3 * frequency), (60, 180)):
        with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: setting}), get_client(sync_client=True) as client:
            found = completed(zombie, means_of(client, [zombie], None))
        assert isinstance(found, AutomationCore)
        assert isinstance(found.trigger, EventTrigger)
        assert found.trigger.within == timedelta(seconds=seconds)
    assert completed(zombie, Means(None, {}, None)) == (
        "flow runs give no sign of life: set heartbeat_frequency in prefect.toml"
    )


def test_a_misspelt_key_is_refused() -> None:
    entries: list[dict[str, Any]] = [
        {"enable": False},
        {"trigger": {"expects": []}},
        {"trigger": {"type": "event", "posture": "Calm"}},
    ]
    for entry in entries:
        with pytest.raises(
            ConfigError, match=r"'x' in automations.yaml (has unknown keys: (enable|expects)|cannot be)"
        ):
            completed({"name": "x", "trigger": {}, "actions": []} | entry, Means(None, {}, None))


def test_the_names_in_the_file_are_those_of_flows_and_deployments() -> None:
    from flows.catalog_imaging import catalog_imaging
    from flows.image_shard import image_shard
    from flows.rescue import rescue

    catalog, _, failed, _, zombie = read_file()
    assert set(zombie["trigger"]["match_related"]["prefect.resource.name"]) == {
        catalog_imaging.name, image_shard.name, rescue.name
    }  # fmt: skip
    assert set(failed["trigger"]["match_related"]["prefect.resource.name"]) == {catalog_imaging.name, rescue.name}
    deployments = yaml.safe_load((ROOT / "deployments/prefect.yaml").read_text())["deployments"]
    flow_name, _, name = catalog["actions"][0]["deployment"].partition("/")
    (found,) = [one for one in deployments if one["name"] == name]
    assert (found["entrypoint"], catalog_imaging.name) == ("flows/catalog_imaging.py:catalog_imaging", flow_name)


# --- acting ---------------------------------------------------------------------------------------------------
def test_a_new_catalog_starts_a_run(prefect: PrefectApi, client: SyncPrefectClient, applied: Applied) -> None:
    announce("off.csv")  # nobody has switched it on
    (automation,) = client.read_automations_by_name(CATALOG)
    client.resume_automation(automation.id)
    entries = [entry for entry in read_file() if entry["name"] == CATALOG]
    assert apply(client, entries, means_of(client, entries, None)) == [(CATALOG, "was there already, switched on")]
    path = "/srv/feeds/spring 'new' {{ 7 * 7 }} \"1\".csv"
    announce(path)
    found = eventually(lambda: prefect.filter("flow_runs", deployments={"name": {"any_": ["on-demand"]}}))
    assert [run["parameters"] for run in found] == [{"options": {"catalog": path, "max_cost_usd": 20}}]
    assert found[0]["state"]["type"] == "SCHEDULED"
    options = RunOptions.model_validate(found[0]["parameters"]["options"])
    assert (options.catalog, options.max_cost_usd) == (path, 20)


def announce(path: str) -> None:
    """The command of the README."""
    words = ["event", "emit", "packshot.catalog.arrived", "--resource-id", "packshot.catalog.spring"]
    payload = json.dumps({"catalog": path})
    done = subprocess.run(
        [sys.executable, "-m", "prefect", *words, "--payload", payload], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_holds_and_stops_are_posted(prefect: PrefectApi, applied: Applied, hook: Hook, open_shop: OpenShop) -> None:
    shop = open_shop()
    shop.set(ON_NO_IMAGE="hold", MAX_ARCHIVE_TRIES=1)
    shop.emulator.queue("empty_data", times=10)
    nine = shop.run(write_catalog(shop.folder / "nine.csv", 9))
    assert nine.run.held == 9
    one = shop.run(write_catalog(shop.folder / "one.csv", 1))
    (text,) = eventually(lambda: hook.texts("to wait for a person"))
    name, link = named(prefect, one.run.flow_run_id)
    assert text == (
        "Packshot: 10 images came to wait for a person within an hour, the latest is p-001 front (no_image: "
        f"{Code.NO_IMAGE.next_step}); `packshot holds` lists all. See the run {name}: {link}"
    )

    shop.emulator.queue("url_500", times=1)
    stopped = shop.run(write_catalog(shop.folder / "more.csv", 3), max_cost_usd=0.1)
    name, link = named(prefect, stopped.run.flow_run_id)
    (text,) = eventually(lambda: hook.texts(f"the run {name} ended"))
    assert text.startswith(
        f"Packshot: the run {name} ended as Stopped: 0 of 3 images are permanent (0 new); 3 held; 1 "
    )
    assert text.endswith(f" {link}")
    (text,) = eventually(lambda: hook.texts("not permanent yet"))
    assert text == (
        "Packshot: 1 images that were paid for ($0.09) are not permanent yet, and the first of their temporary URLs "
        f"ends in 1.0 hours: see why in the run {name}, put it right, then `packshot rescue`. {link}"
    )
    assert {(post["path"], post["type"], *post) for post in hook.received} == {
        (f"/hooks/{SECRET}", "application/json", "path", "type", "text")
    }


def named(prefect: PrefectApi, flow_run_id: str | None) -> tuple[str, str]:
    """(name, page in the UI)."""
    return prefect.flow_run(flow_run_id or "")["name"], f"{prefect.ui_url}/runs/flow-run/{flow_run_id}"


def test_messages_at_the_same_time_are_all_posted(
    prefect: PrefectApi, client: SyncPrefectClient, applied: Applied, hook: Hook
) -> None:
    """While the chat takes its time for one, another comes and goes."""
    (automation,) = client.read_automations_by_name(FAILED)

    def ends() -> list[str]:
        names = ["prefect.automation.action.executed", "prefect.automation.action.failed"]
        return [event["event"] for event in events(prefect, names, f"prefect.automation.{automation.id}")]

    def waiting() -> int:
        return len(hook.texts(" ended as ")) - len(ends())

    eventually(lambda: waiting() == 0)  # those of the tests before
    for name in (HELD, "a quick one"):
        run = client.create_flow_run(a_flow("catalog-imaging"), name=name, state=Running())
        client.set_flow_run_state(run.id, Failed(), force=True)
        eventually(partial(hook.texts, name))
    eventually(lambda: waiting() == 1)  # the quick one's call has ended
    hook.let_go.set()
    eventually(lambda: waiting() == 0)
    assert set(ends()) == {"prefect.automation.action.executed"}


def test_only_failures_of_our_runs_are_posted(client: SyncPrefectClient, applied: Applied, hook: Hook) -> None:
    states: dict[str, State[Any]] = {
        "rescue": Failed(name="Lost", message='1 lost, said "x" <y>'),
        "catalog-imaging": Completed(name="CompletedWithFailures"),
        "somebody-elses": Failed(),
        "image-shard": Failed(),
    }
    for flow_name, state in states.items():
        run = client.create_flow_run(a_flow(flow_name), name=f"test {flow_name}", state=Running())
        client.set_flow_run_state(run.id, state, force=True)
    (text,) = eventually(lambda: hook.texts("test rescue"))
    assert text.startswith('Packshot: the run test rescue ended as Lost: 1 lost, said "x" <y> http')


def test_a_killed_run_is_crashed_and_posted(prefect: PrefectApi, runs: Runs, hook: Hook) -> None:
    crashed = eventually(lambda: (run := prefect.flow_run(runs.killed))["state"]["type"] == "CRASHED" and run, 40)
    assert crashed["state"]["message"] == "no sign of life for three heartbeats, so its process is gone"
    text, *_ = eventually(lambda: hook.texts("the run killed ended as Crashed: no sign of life"))  # at least once
    assert text.endswith(f"/runs/flow-run/{runs.killed}")
    time.sleep(max(0.0, runs.begun + 3 * BEATS + 6 - time.monotonic()))  # the server looks every 5 seconds
    assert prefect.flow_run(runs.alive)["state"]["type"] == "RUNNING"
    assert prefect.flow_run(runs.stopped)["state"]["name"] == "Stopped"
    assert prefect.flow_run(runs.ended)["state"]["name"] == "CompletedWithFailures"
    assert len(hook.texts("the run test ")) == 1  # also from the test before


def test_they_are_listed_and_removed(prefect: PrefectApi, client: SyncPrefectClient, applied: Applied) -> None:
    on = dict.fromkeys(NAMES, "on")
    assert rows(command("--list")) == on
    (automation,) = client.read_automations_by_name(HOLDS)
    client.pause_automation(automation.id)
    assert rows(command("--list")) == on | {HOLDS: "off"}
    said = command("--remove")
    assert rows(said) == dict.fromkeys(NAMES, "removed")
    assert f"block {BLOCK_TYPE}/{BLOCK}" in said
    assert rows(command("--list")) == dict.fromkeys(NAMES, "missing")
    assert BLOCK not in requests.post(f"{prefect.url}/block_documents/filter", json={}, timeout=30).text
    assert set(rows(command("--remove")).values()) == {"was not there"}


def test_as_a_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "deployments.automations", "--list"], cwd=ROOT, capture_output=True, text=True
    )
    assert (done.returncode, set(rows(done.stdout)), done.stderr) == (0, set(NAMES), "")
