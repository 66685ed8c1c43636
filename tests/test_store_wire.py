"""What really travels to a store over https: boto3 sends another format there than over http."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import ipaddress
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes as algorithms
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from packshot.download_guard import guarded_session
from packshot.errors import ArchiveError, Code
from packshot.settings import Settings
from packshot.storage import ObjectStore
from packshot.storage.client import s3_client
from tests.fixtures_store import hashes, picture

LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))


class Stub:
    """A store over TLS that keeps one object. ``answers`` are statuses to give to the next PUTs before storing;
    ``lie`` changes what HEAD says."""

    def __init__(self, folder: Path) -> None:
        self.puts: list[dict[str, str]] = []
        self.bodies: list[bytes] = []
        self.answers: list[int] = []
        self.lie: dict[str, str] = {}
        self.ca = folder / "ca.pem"
        stub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_PUT(self) -> None:
                headers = {k.lower(): v for k, v in self.headers.items()}
                stub.puts.append(headers)
                stub.bodies.append(self.rfile.read(int(headers["content-length"])))
                self.reply(stub.answers.pop(0) if stub.answers else 200, {})

            def do_HEAD(self) -> None:
                sent = {k: v for k, v in stub.puts[-1].items() if k.startswith("x-amz-meta-")}
                self.reply(200, {"Content-Length": str(len(stub.bodies[-1])), "ETag": '"e"'} | sent | stub.lie)

            def do_GET(self) -> None:
                self.reply(200, {"X-Host": self.headers["Host"]})

            def reply(self, status: int, headers: dict[str, str]) -> None:
                self.send_response(status)
                for name, value in ({"Content-Length": "0"} | headers).items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.names: list[str | None] = []
        context.sni_callback = lambda _socket, name, _context: self.names.append(name)
        context.load_cert_chain(certificate(self.ca))
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()

    @property
    def url(self) -> str:
        return f"https://localhost:{self.server.server_port}"

    def store(self, profile: str, waits: list[float] | None = None) -> ObjectStore:
        settings = Settings(
            _env_file=None,
            s3_profile=profile,
            s3_endpoint_url=self.url,
            s3_bucket="b",
            s3_access_key_id="id",
            s3_secret_access_key="secret",
            s3_addressing="path",
        )
        return ObjectStore(settings, sleep=(waits if waits is not None else []).append)


def certificate(path: Path) -> Path:
    """A certificate for localhost, with its key, that is its own authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, algorithms.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.fixture
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stub]:
    server = Stub(tmp_path)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(server.ca))
    yield server
    server.server.shutdown()
    server.server.server_close()
    server.thread.join()


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "image.png"
    path.write_bytes(picture())
    return path


@pytest.mark.parametrize("profile", ["aws", "r2", "oss", "b2", "seaweedfs", "generic"])
def test_put_is_a_plain_signed_body_with_md5(stub: Stub, image: Path, profile: str) -> None:
    assert stub.store(profile).put_image("k", image, "image/png", *hashes(picture()), {}).created
    (headers,) = stub.puts
    assert stub.bodies == [picture()]
    assert headers["content-length"] == str(len(picture()))
    assert "content-encoding" not in headers
    assert "transfer-encoding" not in headers
    assert headers["content-md5"] == base64.b64encode(hashlib.md5(picture()).digest()).decode()
    assert headers["x-amz-content-sha256"] == hashes(picture())[0]
    assert headers["content-type"] == "image/png"
    checksums = {name for name in headers if "checksum" in name}
    modern = profile in ("aws", "r2", "seaweedfs")
    assert checksums <= ({"x-amz-checksum-sha256", "x-amz-sdk-checksum-algorithm"} if modern else set())
    assert ("x-amz-checksum-sha256" in headers) is modern
    assert headers.get("if-none-match") == ("*" if modern else None)


def test_lost_answer_to_our_own_put_is_a_success(stub: Stub, image: Path) -> None:
    stub.answers = [412]
    assert not stub.store("aws").put_image("k", image, "image/png", *hashes(picture()), {}).created


def test_another_writer_at_work_is_waited_for(stub: Stub, image: Path) -> None:
    waits: list[float] = []
    stub.answers = [409, 409]
    assert stub.store("aws", waits).put_image("k", image, "image/png", *hashes(picture()), {}).created
    assert waits == [0.2, 0.5]
    stub.answers = [409] * 10
    with pytest.raises(ArchiveError) as caught:
        stub.store("aws").put_image("k", image, "image/png", *hashes(picture()), {})
    assert caught.value.code is Code.S3_FAILED
    assert caught.value.details["http_status"] == 409


@pytest.mark.parametrize(
    "lie",
    [
        {"Content-Length": "3"},
        {"x-amz-meta-sha256": "0" * 64},
        {"x-amz-checksum-sha256": base64.b64encode(b"0" * 32).decode()},
    ],
)
def test_a_store_that_holds_something_else_is_found_out(stub: Stub, image: Path, lie: dict[str, str]) -> None:
    stub.lie = lie
    with pytest.raises(ArchiveError, match="holds something else") as caught:
        stub.store("aws").put_image("k", image, "image/png", *hashes(picture()), {})
    assert caught.value.code is Code.S3_INTEGRITY


def test_other_programs_settings_have_no_say(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text("[default]\nendpoint_url = http://config.example\n[profile me]\nrole_arn = x\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setenv("AWS_PROFILE", "gone")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://env.example")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://env.example")
    client = s3_client(endpoint="", region="eu-west-1", access_key_id="a", secret_access_key="b", addressing="virtual")
    assert client.meta.endpoint_url == "https://s3.eu-west-1.amazonaws.com"


def test_guard_pins_the_address_but_checks_the_name(stub: Stub) -> None:
    with guarded_session(LOOPBACK) as session:
        answer = session.get(f"{stub.url}/x", verify=str(stub.ca))
        assert stub.names == ["localhost"]
        assert answer.headers["X-Host"] == f"localhost:{stub.server.server_port}"
        with pytest.raises(requests.exceptions.SSLError):
            session.get(f"{stub.url.replace('localhost', '127.0.0.1')}/x", verify=str(stub.ca))
        with pytest.raises(requests.exceptions.SSLError):
            session.get(f"{stub.url}/x")
