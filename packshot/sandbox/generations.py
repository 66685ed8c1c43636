"""One generation, from the parsed request to the answer: checks, money, latency, picture, fault."""

from __future__ import annotations

import random
import string
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from packshot.sandbox import answers, orders, pictures, sizes
from packshot.sandbox.bill import BillRow, Ledger, quota
from packshot.sandbox.faults import FAULTS, NO_FAULT, Deck, Fault
from packshot.sandbox.latency import Draws, Latency
from packshot.sandbox.oss import Oss

ENTERPRISE_GROUP = "NanoBananaEnterprise"
_WITHOUT_IMAGE = frozenset(
    {"image_safety", "prohibited", "no_image", "text_refusal", "candidates_null", "prompt_blocked", "empty_data"}
)
_BODILESS = frozenset({"empty_200", "html_page", "disconnect", "hang"})
# Answers that come in an instant; the other refusals come after the work was tried.
_AT_ONCE = frozenset(
    {
        "rate_limited", "overloaded", "no_channel", "model_not_found", "bad_key", "balance_empty", "bad_request",
        "moderation_blocked", "google_error",
    }
)  # fmt: skip
_LATE_REFUSALS = frozenset({"bad_gateway", "gateway_timeout", "cdn_timeout", "server_error", "write_failed"})
_NOT_DRAWN = _AT_ONCE | _LATE_REFUSALS | _BODILESS
_STATUS_OF_SILENT = frozenset({"disconnect", "hang"})


@dataclass(frozen=True, slots=True)
class Reply:
    """What goes over the line. ``chunked`` answers carry no length; ``fault`` says how the line misbehaves."""

    status: int
    body: bytes
    content_type: str = answers.JSON
    chunked: bool = False
    fault: Fault = NO_FAULT
    headers: dict[str, str] = field(default_factory=dict)


class Stopped(Exception):
    """The emulator was stopped while this request waited: no answer, no charge."""


class Studio:
    """Makes images for money, like the gateway and the model behind it."""

    def __init__(
        self,
        *,
        key: str,
        prices: dict[str, int],
        ledger: Ledger,
        oss: Oss,
        stop: threading.Event,
        max_in_flight: int,
        url_mode: Literal["images", "oss"],
        url_lifetime: float,
        latency: Latency,
        least_bytes: int,
        seed: int,
        clock: Callable[[], float],
        picture: pictures.Picture | None = None,
    ) -> None:
        self.prices = prices
        self.ledger = ledger
        self.deck = Deck()
        self.draws = Draws(latency, seed)
        self.calls = 0
        self.in_flight = 0
        self.in_flight_peak = 0
        self.base_url = ""
        self._key = key
        self._oss = oss
        self._stop = stop
        self._max_in_flight = max_in_flight
        self._url_mode = url_mode
        self._url_lifetime = url_lifetime
        self._least_bytes = least_bytes
        self._seed = seed
        self._clock = clock
        self._picture = picture
        self._lock = threading.Lock()
        self._serial = 0
        # Drawing a 4K image takes 50 MB; many requests at once must not add up.
        self._easel = threading.Semaphore(2)

    @property
    def gemini_wants(self) -> Literal["b64", "url"]:
        """How the gemini format hands over images: the token's group decides, not the request."""
        return "url" if self._url_mode == "oss" else "b64"

    def new_request_id(self) -> str:
        return new_request_id(self._clock())

    def authorized(self, authorization: str) -> bool:
        return authorization == f"Bearer {self._key}"

    def generate(self, authorization: str, model: str, read_order: Callable[[], orders.Order]) -> Reply:
        """Answer one generation request; its bill row is written before the first byte is sent.

        Raises:
            Stopped: the emulator ended meanwhile.
        """
        request_id = new_request_id(self._clock())
        call = _Call(request_id, datetime.fromtimestamp(self._clock(), UTC), model, time.monotonic())
        with self._counted() as in_flight:
            try:
                if not self.authorized(authorization):
                    raise orders.Refused("bad_key")
                order = read_order()
                call.model = order.model
                if in_flight > self._max_in_flight:
                    raise orders.Refused("rate_limited")
                reply = self._make(call, order)
            except orders.Refused as refused:
                reply = self._refuse(call, refused.kind, refused.message)
        ids = {"X-Shellapi-Request-Id": request_id, "x-request-id": request_id}
        return Reply(reply.status, reply.body, reply.content_type, reply.chunked, reply.fault, reply.headers | ids)

    @contextmanager
    def _counted(self) -> Iterator[int]:
        with self._lock:
            self.calls += 1
            self.in_flight += 1
            self.in_flight_peak = max(self.in_flight_peak, self.in_flight)
            now = self.in_flight
        try:
            yield now
        finally:
            with self._lock:
                self.in_flight -= 1

    def _make(self, call: _Call, order: orders.Order) -> Reply:
        price = self.prices[order.model]
        if not self.ledger.reserve(price):
            left = quota(self.ledger.left_micro)
            raise orders.Refused("balance_empty", f"user [25359] quota [{left}] preConsumedQuota is not enough")
        call.reserved_micro = price
        fault = self.deck.draw()
        call.billed = fault.billed
        if fault.name == "group_failover":
            call.group = ENTERPRISE_GROUP
            price = round(price * fault.number("factor"))
        call.price_micro = price
        # Drawing is part of the work: an answer that takes 5 s comes after 5 s. Half-way, because a model elsewhere
        # would take no processor time here while its caller sends the next calls. What travels inside the answer is
        # drawn at the end, because the answers of hundreds of waiting calls do not fit into memory.
        seconds = call.latency = self._seconds(fault)
        self._work_until(call, seconds / 2)
        body = self._body(call, order, fault) if order.wants == "url" and fault.name not in _NOT_DRAWN else b""
        self._work_until(call, seconds)
        if fault.name in _AT_ONCE | _LATE_REFUSALS:
            return self._refuse(call, fault.name, retry_after=int(fault.parameters.get("retry_after", 0)))
        if fault.name in _BODILESS:
            self._book(call, fault.name, 0 if fault.name in _STATUS_OF_SILENT else 200)
            if fault.name == "html_page":
                return Reply(200, answers.HTML_PAGE, answers.HTML, True, fault)
            return Reply(200, b"", answers.JSON, True, fault)
        body = body or self._body(call, order, fault)
        self._book(call, "image" if fault.name == "none" else fault.name, 200)
        return Reply(200, body, chunked=True, fault=fault)

    def _seconds(self, fault: Fault) -> float:
        """How long this generation takes."""
        if fault.latency is not None:
            return fault.latency
        return 0.0 if fault.name in _AT_ONCE else self.draws.next()

    def _work_until(self, call: _Call, seconds: float) -> None:
        """Return so long after the call came; a generation runs to its end whether the client stays or not."""
        if self._stop.wait(max(0.0, call.started + seconds - time.monotonic())):
            self.ledger.give_back(call.reserved_micro)
            raise Stopped

    def _body(self, call: _Call, order: orders.Order, fault: Fault) -> bytes:
        with self._lock:
            self._serial += 1
            serial = self._serial
        chance = random.Random(f"{self._seed}/{serial}")  # noqa: S311 - reproducible answers
        images: list[answers.Carried] = []
        if fault.name not in _WITHOUT_IMAGE:
            images = self._images(order, fault, serial, chance)
        if order.route == "images":
            answer = answers.images_answer(order, images, int(self._clock()), chance, fault=fault.name)
        elif images:
            layout = {"text_then_image": "text,image", "image_then_text": "image,text"}.get(fault.name)
            usual = chance.choices(["image", "text,image", "image,text"], weights=[86, 7, 7])[0]
            answer = answers.gemini_images(order, images, chance, fault=fault.name, layout=layout or usual)
        else:
            answer = answers.gemini_without_image(order, fault.name, chance)
        call.prompt_tokens, call.completion_tokens = answers.tokens_of(answer)
        return answers.dump(answer)

    def _images(self, order: orders.Order, fault: Fault, serial: int, chance: random.Random) -> list[answers.Carried]:
        count = int(fault.number("count")) if fault.name == "many_images" else 1
        size = sizes.pixels(order.aspect_ratio, "1K") if fault.name == "wrong_size" else order.pixels
        mime = chance.choice(["image/png", "image/jpeg"])
        photo = order.references[0] if order.references else None
        images = []
        for number in range(1, count + 1):
            note = f"draft {number}" if number < count else ""
            card = pictures.read_prompt(order.prompt, serial, note)
            if self._picture and (self._picture.width, self._picture.height) == size:
                picture = pictures.numbered(self._picture, card)
            else:
                with self._easel:
                    picture = pictures.render(
                        card, *size, mime=mime, photo=photo, artefacts=fault.name == "white_artefacts"
                    )
            if self._least_bytes:
                picture = pictures.pad(picture, self._least_bytes)
            if fault.name == "big_body":
                ordered = int(fault.number("size"))
                picture = pictures.pad(picture, ordered if order.wants == "url" else ordered * 3 // 4)
            images.append(self._carry(order, picture, fault))
        return images

    def _carry(self, order: orders.Order, picture: pictures.Picture, fault: Fault) -> answers.Carried:
        if order.wants == "b64":
            return answers.Carried(picture.mime, picture.data)
        lifetime = -fault.number("seconds") if fault.name == "url_expired" else self._url_lifetime
        # OSS buckets of the gateway name every file .png; the content type tells the truth.
        name = "".join(random.SystemRandom().choices(string.ascii_lowercase + string.digits, k=24)) + ".png"
        path = self._oss.put(name, picture.data, lifetime, fault)
        return answers.Carried(picture.mime, b"", self.base_url + path)

    def _refuse(self, call: _Call, kind: str, message: str = "", retry_after: int = 0) -> Reply:
        refusal = answers.refusal(kind, request_id=call.request_id, model=call.model, message=message)
        self._book(call, kind, refusal.status)
        headers = {"Retry-After": str(retry_after)} if retry_after else {}
        return Reply(refusal.status, refusal.body, refusal.content_type, headers=headers)

    def _book(self, call: _Call, outcome: str, status: int) -> None:
        row = BillRow(
            request_id=call.request_id,
            created_at=call.created_at,
            model=call.model,
            price_micro=call.price_micro if call.billed else 0,
            billed=call.billed,
            outcome=outcome,
            http_status=status,
            group=call.group,
            prompt_tokens=call.prompt_tokens,
            completion_tokens=call.completion_tokens,
            seconds=time.monotonic() - call.started,
            latency=call.latency,
        )
        self.ledger.settle(row, call.reserved_micro)


@dataclass(slots=True)
class _Call:
    """What is known of a call while it runs. Not billed until it was accepted."""

    request_id: str
    created_at: datetime
    model: str
    started: float
    group: str = "Default"
    billed: bool = False
    price_micro: int = 0
    reserved_micro: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    latency: float = 0.0


def new_request_id(now: float) -> str:
    """Time to the nanosecond's nine digits, then sixteen letters and digits: the form the gateway uses."""
    moment = datetime.fromtimestamp(now, UTC)
    tail = "".join(random.SystemRandom().choices(string.ascii_letters + string.digits, k=16))
    return f"{moment:%Y%m%d%H%M%S}{moment.microsecond:06d}{random.SystemRandom().randrange(1000):03d}{tail}"


assert FAULTS.keys() >= _WITHOUT_IMAGE | _BODILESS | _AT_ONCE | _LATE_REFUSALS
