"""One limit for the provider, shared by all flow runs on all machines: so many calls at once, whoever makes them.

It is a global concurrency limit of Prefect, to be seen and changed with `prefect gcl` and in the UI. A flow run takes
all its slots as one lease, which it renews while it is at work. A process that dies renews nothing, and its slots come
back by themselves.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http import HTTPStatus
from uuid import UUID

from prefect import get_client, get_run_logger
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound, PrefectHTTPStatusError

from packshot.settings import Settings

LEASE = 60.0  # seconds; the shortest that Prefect grants
RENEW_EVERY = 15.0  # Prefect's own renewal gives up for good after three failures, and a restart may take longer
LOOK_EVERY = 2.0
PATIENCE = (
    60.0  # seconds for a server that is away; then work goes on, and the provider itself says when it is too much
)
TIMEOUT = 10.0


class ProviderLimit:
    """The shared limit as one flow run sees it. Made at its first use, with ``PACKSHOT_PROVIDER_SLOTS`` slots."""

    def __init__(self, settings: Settings) -> None:
        self.name = settings.provider_limit
        self._first_size = settings.provider_slots or settings.concurrency
        self._stack = ExitStack()
        self._log = get_run_logger()

    def __enter__(self) -> "ProviderLimit":
        self._client = self._stack.enter_context(get_client(sync_client=True, httpx_settings={"timeout": TIMEOUT}))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def share(self, wanted: int) -> int:
        """How many of the ``wanted`` calls at once the limit allows one run, other runs left aside."""
        try:
            limit = self._client.read_global_concurrency_limit_by_name(self.name)
        except ObjectNotFound:
            new = GlobalConcurrencyLimitCreate(name=self.name, limit=self._first_size, active=True)
            try:
                self._client.create_global_concurrency_limit(new)
            except ObjectAlreadyExists:  # another run was first
                return self.share(wanted)
            return min(wanted, self._first_size)
        return max(1, min(wanted, limit.limit)) if limit.active else wanted

    def note(self, wanted: int, granted: int) -> list[str]:
        """What to say when fewer calls at once are made than were asked for."""
        if granted == wanted:
            return []
        more = f"prefect gcl update {self.name} --limit {wanted}"
        return [f"{granted} calls at once instead of {wanted}: the limit {self.name} is shared by all runs; {more}"]

    @contextmanager
    def hold(self, slots: int, stopped: Callable[[], bool]) -> Iterator[None]:
        """Wait for so many free slots and hold them; ``stopped`` ends the waiting. Whatever becomes of the server, the
        work inside goes on."""
        lease = self._wait_for(slots, stopped)
        if lease is None:
            yield
            return
        ended = threading.Event()
        keeper = _Keeper(self, lease, slots, ended)
        thread = threading.Thread(target=keeper.keep, name="provider-limit", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join(TIMEOUT)
            self._release(keeper.lease)

    def _wait_for(self, slots: int, stopped: Callable[[], bool]) -> UUID | None:
        last_answer = time.monotonic()
        told = False
        while not stopped():
            try:
                lease = self.lease(slots)
            except Exception as error:  # noqa: BLE001  (the server is away, or ill: no reason to leave images unmade)
                if time.monotonic() - last_answer > PATIENCE:
                    self._log.warning(
                        "the limit %s cannot be asked (%s): going on without", self.name, type(error).__name__
                    )
                    return None
            else:
                if lease is not None:
                    return lease
                last_answer = time.monotonic()
                if not told:
                    told = True
                    self._log.info("waiting for %d slots of the limit %s: other runs hold them", slots, self.name)
            time.sleep(LOOK_EVERY)
        return None

    def lease(self, slots: int) -> UUID | None:
        """A new lease; None while there are not so many free slots."""
        try:
            answer = self._client.increment_concurrency_slots_with_lease([self.name], slots, "concurrency", LEASE)
        except PrefectHTTPStatusError as error:
            if error.response.status_code == HTTPStatus.LOCKED:
                return None
            raise
        return UUID(answer.json()["lease_id"])

    def renew(self, lease: UUID) -> bool:
        """False when the lease has ended, and its slots may be in other hands."""
        try:
            self._client.renew_concurrency_lease(lease, LEASE)
        except PrefectHTTPStatusError as error:
            if error.response.status_code == HTTPStatus.GONE:
                return False
            raise
        return True

    def _release(self, lease: UUID) -> None:
        try:
            self._client.release_concurrency_slots_with_lease(lease)
        except Exception as error:  # noqa: BLE001  (the server is away; the lease ends by itself)
            self._log.debug("the lease of %s was not given back: %s", self.name, error)


class _Keeper:
    """Renews a lease until the work has ended; takes a new one if it was lost while the server was away."""

    def __init__(self, limit: ProviderLimit, lease: UUID, slots: int, ended: threading.Event) -> None:
        self.lease = lease
        self._limit = limit
        self._slots = slots
        self._ended = ended

    def keep(self) -> None:
        while not self._ended.wait(RENEW_EVERY):
            try:
                if not self._limit.renew(self.lease):
                    self.lease = self._limit.lease(self._slots) or self.lease
            except Exception:  # noqa: BLE001, S112  (the server is away; it keeps leases over its restart)
                continue
