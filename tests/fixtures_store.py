"""A real S3 server and a scriptable web server, for every test that asks for them."""

from __future__ import annotations

import hashlib
import io
import threading
import uuid
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from PIL import Image

from packshot.sandbox.seaweed import Seaweed
from packshot.settings import Settings
from packshot.storage import ObjectStore

Page = Callable[[BaseHTTPRequestHandler], None]


@pytest.fixture(scope="session")
def seaweed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seaweed]:
    """One S3 server for the whole session."""
    with Seaweed(tmp_path_factory.mktemp("seaweed")) as server:
        yield server


@pytest.fixture
def store_settings(seaweed: Seaweed, tmp_path: Path) -> Settings:
    """Settings that point to the S3 server, with a prefix of this test's own inside the public one."""
    values = {name.removeprefix("PACKSHOT_").lower(): value for name, value in seaweed.settings().items()}
    values["s3_prefix"] = f"pub/t-{uuid.uuid4().hex[:12]}"
    return Settings(_env_file=None, home=tmp_path / "home", **values)  # type: ignore[arg-type]


@pytest.fixture
def store(store_settings: Settings) -> ObjectStore:
    return ObjectStore(store_settings)


class Web:
    """A web server on 127.0.0.1. ``pages`` maps a path to what answers it; ``seen`` lists (path, headers)."""

    def __init__(self) -> None:
        self.pages: dict[str, Page] = {}
        self.seen: list[tuple[str, dict[str, str]]] = []
        web = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                web.seen.append((self.path, {k.lower(): v for k, v in self.headers.items()}))
                web.pages.get(path, page(b"no such page", 404, "text/plain"))(self)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.server.server_port}{path}"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def web() -> Iterator[Web]:
    server = Web()
    yield server
    server.close()


def page(body: bytes, status: int = 200, mime: str = "image/png", **headers: str) -> Page:
    """A plain answer; header names are given with underscores."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("Content-Type", mime)
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        sent.setdefault("Content-Length", str(len(body)))
        for name, value in sent.items():
            if value:
                handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def picture(width: int = 64, height: int = 48, kind: str = "PNG", mode: str = "RGB", color: str = "teal") -> bytes:
    """An image file whose pixels are not all the same, so that cutting it hurts."""
    image = Image.linear_gradient("L").resize((width, height)).convert(mode)
    image.paste(Image.new(mode, (width // 2, height // 2), color))
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def hashes(body: bytes) -> tuple[str, bytes]:
    """SHA-256 in hex, and MD5."""
    return hashlib.sha256(body).hexdigest(), hashlib.md5(body, usedforsecurity=False).digest()
