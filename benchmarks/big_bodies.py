"""4K answers of 40 MB, many at once: how much memory do they take, and how fast do they come home?

Beside it a raw loop with as many threads and the same servers, which does what cannot be left out: read the answer,
decode its base64, SHA-256, put to S3. It writes no file, decodes no picture, checks nothing and records nothing.

Each answer is one JSON with a real 4096 x 4096 PNG in base64; no two are the same bytes. Both sides run in processes of
their own, in turn, and make one image before the clock starts. Idle is our process when it is ready for its first call;
the bar for its peak is idle + calls at once x 1.5 x one body. The servers' processor time is shown because they share
the machine with us: with few cores they, and the picture's decoding, decide.

    python -m benchmarks.big_bodies --images 48 --at-once 16
    python -m benchmarks.big_bodies --images 8 --at-once 4 --rounds 1 --latency 0.5
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import requests
from botocore.config import Config
from PIL import Image, ImageChops

from packshot.db.types import JobState
from packshot.options import RunOptions
from packshot.run import start_run
from packshot.sandbox.child import start_tied
from packshot.sandbox.ports import free_ports
from packshot.sandbox.sandbox import KEY
from packshot.sandbox.seaweed import Seaweed
from packshot.settings import load_settings
from packshot.studio import ARCHIVES_AT_ONCE
from packshot.studios import open_studio

SPEED_BAR = 0.8
MEMORY_BAR = 1.5
SIDE = 4096
GRAIN = 9.0  # as much as makes 30 MB
MODEL = "gemini-3-pro-image-preview"
SHOTS = f"""
version: 1
shots:
  - {{name: packshot, prompt: "A packshot. {{{{ facts }}}}", aspect_ratio: "1:1", image_size: 4K, model: {MODEL}}}
"""
MB = 1e6


def draw(path: Path) -> None:
    """A picture that is as hard to pack as a photo: a soft light with grain in each colour."""
    light = Image.radial_gradient("L").resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    bands = [ImageChops.add(light, Image.effect_noise((SIDE, SIDE), GRAIN), 2) for _ in range(3)]
    Image.merge("RGB", bands).save(path)


# --- the two sides, each in a process of its own ------------------------------------------------------------------
def memory(what: str) -> float:
    """MB of this process: VmRSS now, VmHWM at most. Unlike getrusage, it knows nothing of the process that began us."""
    status = Path("/proc/self/status").read_text()
    return float(next(line.split()[1] for line in status.splitlines() if line.startswith(what))) * 1024 / MB


def raw(folder: Path, images: int, at_once: int) -> dict[str, float]:
    bucket, prefix = os.environ["PACKSHOT_S3_BUCKET"], os.environ["PACKSHOT_S3_PREFIX"]
    s3 = boto3.client(
        "s3",
        endpoint_url=os.environ["PACKSHOT_S3_ENDPOINT_URL"],
        region_name=os.environ["PACKSHOT_S3_REGION"],
        aws_access_key_id=os.environ["PACKSHOT_S3_ACCESS_KEY_ID"],
        aws_secret_access_key=os.environ["PACKSHOT_S3_SECRET_ACCESS_KEY"],
        config=Config(max_pool_connections=at_once, s3={"addressing_style": "path"}),
    )
    url = f"{os.environ['PACKSHOT_APIYI_BASE_URL']}/v1beta/models/{MODEL}:generateContent"
    settings = {"responseModalities": ["IMAGE"], "imageConfig": {"aspectRatio": "1:1", "imageSize": "4K"}}

    def one(number: int) -> None:
        body = {"contents": [{"parts": [{"text": f"Mug {number}"}]}], "generationConfig": settings}
        answer = requests.post(url, json=body, headers={"Authorization": f"Bearer {KEY}"}, timeout=(10, 600)).json()
        parts = answer["candidates"][0]["content"]["parts"]
        data = next(part["inlineData"]["data"] for part in parts if "inlineData" in part)
        image = base64.b64decode(data)
        key = f"{prefix}/{folder.name}/{hashlib.sha256(image).hexdigest()[:16]}.png"
        s3.put_object(Bucket=bucket, Key=key, Body=image, ContentType="image/png")

    idle = memory("VmRSS")
    one(images)
    with ThreadPoolExecutor(at_once) as pool:
        return clocked(lambda: list(pool.map(one, range(images)))) | {"idle": idle, "peak": memory("VmHWM")}


def packshot(folder: Path, images: int, at_once: int) -> dict[str, float]:
    catalog = folder / "catalog.jsonl"
    catalog.write_text("".join(f"{json.dumps({'id': f'm-{n}', 'title': f'Mug {n}'})}\n" for n in range(images + 1)))
    settings = load_settings()
    started = start_run(settings, RunOptions(catalog=str(catalog)), None)
    with open_studio(settings, started.run_id, at_once) as studio:
        first, *jobs = [item.job_id for item in studio.runs.work(started.run_id, 0, images + 1)]
        idle = memory("VmRSS")
        states = [studio.make(first).state]
        # As many threads as the flow takes: a slot is free while its image is brought home.
        with ThreadPoolExecutor(at_once + ARCHIVES_AT_ONCE) as pool:
            found = clocked(lambda: states.extend(outcome.state for outcome in pool.map(studio.make, jobs)))
    assert states == [JobState.ARCHIVED] * (images + 1), states
    left = [path.name for path in settings.spool.iterdir()]
    assert not left, f"left in the spool: {left}"
    return found | {"idle": idle, "peak": memory("VmHWM")}


def clocked(work: Callable[[], object]) -> dict[str, float]:
    cpu, began = time.process_time(), time.perf_counter()
    work()
    return {"seconds": time.perf_counter() - began, "cpu": time.process_time() - cpu}


SIDES = {"raw": raw, "packshot": packshot}


# --- the servers and the rounds -----------------------------------------------------------------------------------
@contextmanager
def servers(home: Path, latency: float, at_once: int) -> Iterator[dict[str, int]]:
    """Both in processes of their own, our environment set to use them; yields their process ids."""
    [port] = free_ports(1)
    command = [
        sys.executable, "-m", "packshot.sandbox.emulator", "--port", str(port), "--key", KEY, "--balance", "10000",
        "--latency", str(latency), "--max-in-flight", str(at_once + 10), "--picture", str(home / "picture.png"),
    ]  # fmt: skip
    with Seaweed(home / "s3") as store, (home / "emulator.log").open("wb") as log:
        emulator = start_tied(command, env=os.environ, cwd=Path.cwd(), output=log)
        url = f"http://127.0.0.1:{port}"
        try:
            wait_until_ready(url)
            os.environ |= store.settings() | {
                "PACKSHOT_APIYI_BASE_URL": url,
                "PACKSHOT_APIYI_KEY": KEY,
                "PACKSHOT_APIYI_FORMAT": "gemini",
                "PACKSHOT_SHOTS": str(home / "shots.yaml"),
                "PACKSHOT_CONCURRENCY": str(at_once),
            }
            yield {"emulator": emulator.pid, "store": store.pid}
        finally:
            emulator.terminate()
            emulator.wait(10)


def wait_until_ready(url: str) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            requests.get(f"{url}/sandbox/health", timeout=2).raise_for_status()
        except requests.RequestException:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return


def cpu_of(pid: int) -> float:
    """Processor seconds a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def cpu_of_machine() -> float:
    """Processor seconds of everything on this machine, the kernel's writing to disk included."""
    user, nice, system, _, _, irq, softirq, *_ = Path("/proc/stat").read_text().splitlines()[0].split()[1:]
    return sum(map(int, (user, nice, system, irq, softirq))) / os.sysconf("SC_CLK_TCK")


def measure(side: str, folder: Path, images: int, at_once: int, pids: dict[str, int]) -> dict[str, float]:
    """What the process of that side reports, and the servers' processor time meanwhile."""
    folder.mkdir()
    before, machine = {name: cpu_of(pid) for name, pid in pids.items()}, cpu_of_machine()
    command = [sys.executable, "-m", "benchmarks.big_bodies", "--side", side, "--folder", str(folder)]
    command += ["--images", str(images), "--at-once", str(at_once)]
    env = os.environ | {"PACKSHOT_HOME": str(folder)}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=env)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    found["machine"] = cpu_of_machine() - machine
    return found | {name: cpu_of(pid) - before[name] for name, pid in pids.items()}


def body_of_one(path: Path) -> int:
    """Bytes of an answer's body, but for the few hundred around the base64."""
    return -(-path.stat().st_size // 3) * 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=48)
    parser.add_argument("--at-once", type=int, default=16)
    parser.add_argument("--latency", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--side", choices=list(SIDES), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.side:
        print(json.dumps(SIDES[chosen.side](chosen.folder, chosen.images, chosen.at_once)))
        return
    with tempfile.TemporaryDirectory(prefix="packshot-big-bodies-") as name:
        home = Path(name)
        (home / "shots.yaml").write_text(SHOTS)
        draw(home / "picture.png")
        picture, body = (home / "picture.png").stat().st_size, body_of_one(home / "picture.png")
        print(f"one body: {body / MB:.1f} MB of JSON, in it a PNG of {picture / MB:.1f} MB with {SIDE} x {SIDE} pixels")
        print(f"{chosen.images} images, {chosen.at_once} at once, {chosen.latency:g} s a call", flush=True)
        rounds = []
        with servers(home, chosen.latency, chosen.at_once) as pids:
            for number in range(chosen.rounds):
                sides = {}
                for side in sorted(SIDES, reverse=number % 2 == 0):
                    folder = home / f"{side}-{number}"
                    sides[side] = found = measure(side, folder, chosen.images, chosen.at_once, pids)
                    print(row(number, side, found, chosen.images), flush=True)
                rounds.append(sides)
    finish(rounds, body, chosen)


def row(number: int, side: str, found: dict[str, float], images: int) -> str:
    seconds = "  ".join(f"{name} {found[name] / images:.2f}" for name in ("cpu", "store", "emulator", "machine"))
    return (
        f"round {number + 1}  {side:8}  {images / found['seconds']:5.2f} images/s   idle {found['idle']:4.0f} MB, "
        f"peak {found['peak']:5.0f} MB   processor seconds an image: {seconds}"
    )


def finish(rounds: list[dict[str, dict[str, float]]], body: int, chosen: argparse.Namespace) -> None:
    """The verdict. Bars count at full size only."""
    ratio = statistics.median(sides["raw"]["seconds"] / sides["packshot"]["seconds"] for sides in rounds)
    worst = max((sides["packshot"] for sides in rounds), key=lambda found: found["peak"] - found["idle"])
    bar = worst["idle"] + chosen.at_once * MEMORY_BAR * body / MB
    bodies = (worst["peak"] - worst["idle"]) / chosen.at_once / (body / MB)
    print(f"throughput {ratio:.2f} of the raw loop (bar {SPEED_BAR})")
    print(f"peak memory {worst['peak']:.0f} MB (bar {bar:.0f}), {bodies:.2f} bodies a call (bar {MEMORY_BAR})")
    report: dict[str, Any] = {"benchmark": "big_bodies", "images": chosen.images, "at_once": chosen.at_once}
    report |= {"body_mb": round(body / MB, 1), "ratio": round(ratio, 3), "bodies_a_call": round(bodies, 3)}
    print(json.dumps(report | {"peak_mb": round(worst["peak"]), "latency": chosen.latency}))
    full = chosen.images >= 48 and chosen.at_once >= 16
    if full and (ratio < SPEED_BAR or worst["peak"] > bar):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
