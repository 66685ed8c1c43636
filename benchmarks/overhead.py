"""What does an image cost besides the call? Processor time, database transactions and HTTP requests, for each image.

A run on real parts, with calls that take about as long as makes the machine half busy. What hashing, decoding and
uploading cost is measured beside it, in the same process with the same pictures, and subtracted: the rest is ours and
Prefect's.

    python -m benchmarks.overhead --images 500
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import Engine, event
from sqlmodel import Session, col, select

from benchmarks.schedule import SHOTS, packshot, write_catalog
from packshot.db.engine import open_engine
from packshot.db.tables import Asset
from packshot.download import DownloadPolicy, download
from packshot.image_check import check_image
from packshot.sandbox.prefect_server import prefect_server
from packshot.sandbox.sandbox import Sandbox
from packshot.settings import load_settings
from packshot.storage import ObjectStore

BAR_MS = 25.0
_TICK = os.sysconf("SC_CLK_TCK")


class Requests:
    """Counts HTTP requests of this process by port, Prefect's own left out: it has a client of its own kind."""

    def __init__(self) -> None:
        self.by_port: Counter[int] = Counter()
        plain = http.client.HTTPConnection.putrequest

        def counted(connection: http.client.HTTPConnection, *args: Any, **kwargs: Any) -> None:
            self.by_port[connection.port] += 1
            plain(connection, *args, **kwargs)

        http.client.HTTPConnection.putrequest = counted  # type: ignore[method-assign, assignment]


class Transactions:
    """Counts the transactions of an engine: those that wrote, and those that only read."""

    def __init__(self, engine: Engine) -> None:
        self.count: Counter[str] = Counter()

        @event.listens_for(engine, "begin")
        def _begun(connection: Any) -> None:
            writes = connection.get_execution_options().get("write", False)
            self.count["writing" if writes else "reading"] += 1


def server_cpu(words: str) -> float:
    """Seconds of processor time that our child process with these words in its command line has used."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if words in command and int(fields[1]) == os.getpid():
            return (int(fields[11]) + int(fields[12])) / _TICK
    raise SystemExit(f"no child process runs {words!r}")


def besides(images: int) -> dict[str, float]:
    """Milliseconds of processor time an image for what is not ours to save: the hashes, with the download that they
    are made in; the decoding; the upload with the question what the store holds."""
    settings = load_settings()
    store = ObjectStore(settings)
    policy = DownloadPolicy.from_settings(settings)
    with Session(open_engine(settings.db_url)) as session:
        assets = session.exec(select(Asset).order_by(col(Asset.id).desc()).limit(images)).all()
    spent = dict.fromkeys(("hash", "decode", "upload"), 0.0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "image"
        for number, asset in enumerate(assets):
            began = time.process_time()
            got = download(store.public_url(asset.key), path, policy)
            downloaded = time.process_time()
            check_image(path, settings.max_pixels)
            checked = time.process_time()
            key = f"{asset.key.rpartition('.')[0]}-{number}.{asset.key.rpartition('.')[2]}"
            store.put_image(key, path, asset.mime, got.sha256, got.md5, {"job": str(asset.job_id)})
            spent["hash"] += downloaded - began
            spent["decode"] += checked - downloaded
            spent["upload"] += time.process_time() - checked
    return {name: seconds / len(assets) * 1000 for name, seconds in spent.items()}


def measure(images: int, at_once: int, latency: float, home: Path) -> dict[str, Any]:
    (home / "shots.yaml").write_text(SHOTS)
    with ExitStack() as stack:
        sandbox = Sandbox(
            home / "sandbox", (0.5 * latency, 1.5 * latency), "images", at_once + 10, images, least_bytes=1_000_000
        )
        stack.enter_context(sandbox)
        stack.enter_context(prefect_server(home, own=True))
        os.environ |= sandbox.settings() | {
            "PACKSHOT_HOME": str(home),
            "PACKSHOT_SHOTS": str(home / "shots.yaml"),
            "PACKSHOT_CONCURRENCY": str(at_once),
        }
        packshot(write_catalog(home / "first.jsonl", 1), at_once)
        requests, transactions = Requests(), Transactions(open_engine(load_settings().db_url))
        catalog = write_catalog(home / "catalog.jsonl", images)
        before = time.process_time(), server_cpu("prefect server"), server_cpu("emulator")
        packshot(catalog, at_once)
        after = time.process_time(), server_cpu("prefect server"), server_cpu("emulator")
        client, server, emulator = ((b - a) / images * 1000 for a, b in zip(before, after, strict=True))
        ports = {
            "s3": urlsplit(os.environ["PACKSHOT_S3_ENDPOINT_URL"]).port or 0,
            "provider": urlsplit(sandbox.emulator_url).port or 0,
        }
        counted = {f"{name}_requests": requests.by_port[port] / images for name, port in ports.items()}
        written, read = transactions.count["writing"] / images, transactions.count["reading"] / images
        parts = besides(min(images, 100))
    ours = client - sum(parts.values())
    return {
        "benchmark": "overhead", "images": images, "at_once": at_once,
        "client_ms": client, **{f"{name}_ms": value for name, value in parts.items()}, "ours_ms": ours,
        "prefect_server_ms": server, "emulator_ms": emulator,
        "transactions": written, "reading_transactions": read, **counted,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--at-once", type=int, default=50)
    parser.add_argument("--latency", type=float, default=5.0, help="mean seconds of a call")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="packshot-overhead-") as name:
        found = measure(chosen.images, chosen.at_once, chosen.latency, Path(name))
    print(f"{chosen.images} images of 1 MB, {chosen.at_once} at once; for each image:")
    print(f"client            {found['client_ms']:6.1f} ms of processor time")
    for name in ("hash", "decode", "upload"):
        print(f"  {name:<15} {found[f'{name}_ms']:6.1f} ms")
    print(f"  all the rest    {found['ours_ms']:6.1f} ms (bar {BAR_MS:g})")
    print(f"Prefect server    {found['prefect_server_ms']:6.1f} ms; the emulator {found['emulator_ms']:.1f} ms")
    print(f"database          {found['transactions']:6.2f} writing transactions, "
          f"{found['reading_transactions']:.2f} reading ones")  # fmt: skip
    print(f"requests          {found['provider_requests']:6.2f} to the provider, {found['s3_requests']:.2f} to S3")
    print(json.dumps({name: round(value, 3) if isinstance(value, float) else value for name, value in found.items()}))
    if found["ours_ms"] > BAR_MS:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
