"""An APIYI emulator over real HTTP: try the product without a key, test it against everything that goes wrong.

    with Emulator(port=0, key="sk-sandbox-key") as emulator:
        emulator.queue("rate_limited", times=2)      # the next two accepted generation requests get a 429
        emulator.mix({"tail_stall": 0.05}, seed=1)    # and of the later ones, 5 % stall
        ...                                           # point a client at emulator.base_url
        assert emulator.billed_micro == 90_000

As a process: ``python -m packshot.sandbox.emulator --port 8090 --key sk-sandbox-key --latency 2``; SIGTERM ends it.

Provider routes: ``POST /v1/images/generations``, ``POST /v1beta/models/{model}:generateContent``, ``GET /v1/models``,
``GET /api/user/self``, ``GET /api/log/self``, ``GET /oss/{name}.png?Expires=...`` (temporary image URLs), and
``GET /photos/{file}`` when a folder of photos was given.

Control routes, so that another process can script it (JSON in, JSON out, no key):

    POST /sandbox/faults    {"fault": "late_terminator", "times": 2, "seconds": 0.5}
    POST /sandbox/mix       {"shares": {"rate_limited": 0.05}, "seed": 1}
    POST /sandbox/latency   {"seconds": 2} or {"seconds": [1, 3]} or {"seconds": 10, "spread": 0.4, "seed": 1}
    GET  /sandbox/bill      {"rows": [...], "total_micro": 90000}
    GET  /sandbox/history   [{"method": ..., "path": ..., "headers": ..., "body": ..., "at": ...}]
    GET  /sandbox/health    counters, balance and queued faults

Faults, their parameters and whether they are charged: :data:`packshot.sandbox.faults.FAULTS`. A request that the
emulator refuses by itself (wrong key, bad parameter, too many in flight, empty balance) draws no fault.
Behaviour follows docs.apiyi.com as of October 2026.
"""

from __future__ import annotations

import argparse
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from packshot.sandbox.bill import BillRow, Ledger
from packshot.sandbox.emulator_http import Server
from packshot.sandbox.generations import Studio
from packshot.sandbox.history import Received
from packshot.sandbox.latency import Draws, Latency
from packshot.sandbox.oss import Oss
from packshot.sandbox.pictures import read_png
from packshot.settings import DEFAULT_PRICES

Seconds = float | tuple[float, float]


class Emulator:
    """The emulator as a context manager. It listens on 127.0.0.1 from construction, answers from ``start()`` on.

    Args:
        port: 0 for any free one.
        latency: seconds a generation takes, or (low, high) to draw from.
        spread: makes latencies log-normal, see :class:`packshot.sandbox.latency.Latency`.
        least_bytes: smaller pictures are padded to so many bytes.
        url_lifetime: seconds a temporary URL lives.
        prices: model -> dollars a call; adds to and overrides the usual ones. Only models with a price exist.
        url_mode: ``images``, or ``oss``: the gemini format, too, answers with a URL (in a text part).
        photos_dir: folder served under ``/photos/``.
        data_dir: folder for the generated images; a temporary one, removed at the end, when not given.
        clock: epoch seconds; decides what has expired.
        picture: a PNG file that answers orders of exactly its pixels, instead of a drawn card: big and real pictures
            at little cost. Each copy has another number in a text chunk, so no two are the same bytes.
    """

    def __init__(
        self,
        port: int = 0,
        key: str = "sk-sandbox-key",
        system_token: str = "sandbox-system-token",  # noqa: S107 - opens nothing but the sandbox
        latency: Seconds = 0.0,
        spread: float = 0.0,
        least_bytes: int = 0,
        url_lifetime: float = 3600.0,
        balance_usd: float = 100.0,
        max_in_flight: int = 30,
        prices: Mapping[str, float | Decimal] | None = None,
        url_mode: Literal["images", "oss"] = "images",
        seed: int = 0,
        photos_dir: Path | str | None = None,
        data_dir: Path | str | None = None,
        clock: Callable[[], float] = time.time,
        picture: Path | str | None = None,
    ) -> None:
        self.system_token = system_token
        self.photos_dir = Path(photos_dir).resolve() if photos_dir else None
        self.stop_signal = threading.Event()
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        if data_dir is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="packshot-sandbox-", ignore_cleanup_errors=True)
            data_dir = self._temporary.name
        self.oss = Oss(Path(data_dir) / "oss", key, clock)
        self.studio = Studio(
            key=key,
            prices={m: _micro(p) for m, p in {**DEFAULT_PRICES, **(prices or {})}.items()},
            ledger=Ledger(_micro(balance_usd), clock()),
            oss=self.oss,
            stop=self.stop_signal,
            max_in_flight=max_in_flight,
            url_mode=url_mode,
            url_lifetime=url_lifetime,
            latency=Latency.of(latency, spread),
            least_bytes=least_bytes,
            seed=seed,
            clock=clock,
            picture=read_png(Path(picture)) if picture else None,
        )
        self._server = Server(port, self)
        self.base_url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self.studio.base_url = self.base_url
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, name="emulator", daemon=True
        )

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Stop answering, end every open connection, remove the temporary folder. Calls in flight are not billed."""
        self.stop_signal.set()
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.drop_connections()
        self._server.server_close()
        if self._temporary:
            self._temporary.cleanup()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def queue(self, fault: str, times: int = 1, **parameters: Any) -> None:
        """Give the next ``times`` accepted generation requests this fault, after those already queued.

        Raises:
            ValueError: unknown fault or parameter.
            TypeError: a parameter of the wrong type.
        """
        self.studio.deck.queue(fault, times, **parameters)

    def mix(self, shares: Mapping[str, float], seed: int = 0) -> None:
        """Draw faults at random, by share, for requests the queue has none for; ``{}`` ends it.

        Raises:
            ValueError: unknown fault, or shares that add up to more than 1.
        """
        self.studio.deck.mix(shares, seed)

    @property
    def bill(self) -> list[BillRow]:
        """One row for each generation request that was answered, in the order they ended."""
        return self.studio.ledger.rows

    @property
    def billed_micro(self) -> int:
        """Micro-dollars charged so far."""
        return self.studio.ledger.billed_micro

    @property
    def balance_micro(self) -> int:
        """Micro-dollars left; what calls in flight have reserved is not in it."""
        return self.studio.ledger.left_micro

    @property
    def calls(self) -> int:
        """Generation requests received, whatever became of them."""
        return self.studio.calls

    @property
    def in_flight_peak(self) -> int:
        """Most generation requests that were in work at the same time."""
        return self.studio.in_flight_peak

    @property
    def history(self) -> list[Received]:
        """Requests received, oldest first, without those to the control routes."""
        return list(self._server.history)

    @property
    def latency(self) -> tuple[float, float]:
        """Seconds a generation takes: lowest, highest."""
        latency = self.studio.draws.latency
        return latency.low, latency.high

    @latency.setter
    def latency(self, value: Seconds) -> None:
        self.set_latency(value)

    def set_latency(self, seconds: Any, spread: Any = 0.0, seed: Any = 0) -> None:
        """From the next call on; the same seed draws the same latencies again.

        Raises:
            ValueError, TypeError: no such numbers.
        """
        self.studio.draws = Draws(Latency.of(seconds, spread), int(seed))

    def health(self) -> dict[str, Any]:
        studio = self.studio
        return {
            "status": "ok",
            "calls": studio.calls,
            "in_flight": studio.in_flight,
            "in_flight_peak": studio.in_flight_peak,
            "queued_faults": len(studio.deck),
            "latency": list(self.latency),
            "billed_micro": self.billed_micro,
            "balance_micro": self.balance_micro,
        }


def _micro(dollars: float | Decimal) -> int:
    return round(Decimal(str(dollars)) * 1_000_000)


def main(arguments: list[str] | None = None) -> None:
    """Serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m packshot.sandbox.emulator", description="An APIYI emulator")
    parser.add_argument("--port", type=int, default=8090)
    parser.add_argument("--key", default="sk-sandbox-key")
    parser.add_argument("--system-token", default="sandbox-system-token")
    parser.add_argument("--latency", type=float, nargs="+", default=[2.0], metavar="SECONDS", help="one, or low high")
    parser.add_argument("--spread", type=float, default=0.0, help="makes latencies log-normal; 0.4 is lifelike")
    parser.add_argument("--least-bytes", type=int, default=0, help="pads smaller pictures")
    parser.add_argument("--url-lifetime", type=float, default=3600.0, metavar="SECONDS")
    parser.add_argument("--balance", type=float, default=100.0, metavar="DOLLARS")
    parser.add_argument("--max-in-flight", type=int, default=30)
    parser.add_argument("--url-mode", choices=["images", "oss"], default="images")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", type=Path, metavar="DIR", help="keeps the images; a temporary folder if not given")
    parser.add_argument("--photos", type=Path, metavar="DIR", help="served under /photos/")
    parser.add_argument("--picture", type=Path, metavar="PNG", help="answers orders of its size")
    options = parser.parse_args(arguments)
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    try:
        emulator = _from_options(options)
    except OSError as error:
        parser.exit(2, f"cannot listen on 127.0.0.1:{options.port}: {error.strerror}\n")
    with emulator:
        print(f"APIYI emulator on {emulator.base_url}", flush=True)
        ended.wait()


def _from_options(options: argparse.Namespace) -> Emulator:
    return Emulator(
        port=options.port,
        key=options.key,
        system_token=options.system_token,
        latency=(options.latency[0], options.latency[-1]),
        spread=options.spread,
        least_bytes=options.least_bytes,
        url_lifetime=options.url_lifetime,
        balance_usd=options.balance,
        max_in_flight=options.max_in_flight,
        url_mode=options.url_mode,
        seed=options.seed,
        photos_dir=options.photos,
        data_dir=options.data,
        picture=options.picture,
    )


if __name__ == "__main__":
    main()
