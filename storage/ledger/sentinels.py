"""The client of a primary that sentinels name. It is redis-py's own, with three differences:

- **The newest configuration wins.** Every sentinel is asked, and the answer with the highest configuration epoch is
  used. The library uses the first answer; a sentinel that was cut off still names a primary that has been replaced.
- **A replaced primary is left, even if it still answers.** A primary that is cut off from the sentinels continues to
  serve, and does not learn that it was replaced. So a separate thread asks the sentinels again every `LOOK_S`, and
  connections to any other server than they name are closed.
- **Nothing is retried.** The leader decides about a commit that may have happened.
"""

from __future__ import annotations

import contextlib
import threading
import time
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import MasterNotFoundError, Sentinel, SentinelConnectionPool

from storage.ledger.url import SentinelAddress

SENTINEL_TIMEOUT_S = 0.5
"""The timeout for one sentinel, so that a dead one delays little."""
LOOK_S = 1.0


def primary_of(address: SentinelAddress, **options: Any) -> redis.Redis:
    """A client of the server that is the primary when it connects. `options` are those of its connections.

    Its methods raise MasterNotFoundError, with a readable message, while the sentinels name none.
    """
    sentinels: Any = Sentinels(  # type: ignore[no-untyped-call]
        address.sentinels,
        sentinel_kwargs={
            "socket_timeout": SENTINEL_TIMEOUT_S,
            "socket_connect_timeout": SENTINEL_TIMEOUT_S,
            "retry": Retry(NoBackoff(), 0),
            "password": address.sentinel_password,
            "decode_responses": True,
        },
        db=address.database,
        username=address.username,
        password=address.password,
        **options,
    )
    client: redis.Redis = sentinels.master_for(address.service, connection_pool_class=PrimaryPool)
    return client


class Sentinels(Sentinel):
    """All sentinels of a service."""

    def discover_master(self, service_name: str) -> tuple[str, int]:
        """The primary's host and port, by the newest configuration that any sentinel knows."""
        newest, found = -1, None
        trouble: list[Exception] = []
        for sentinel in self.sentinels:
            try:
                state: Any = sentinel.sentinel_master(service_name)
                # At the end of a failover `state` still describes the old primary; this is the new one.
                address: Any = sentinel.sentinel_get_master_addr_by_name(service_name)
            except (redis.RedisError, OSError) as error:
                trouble.append(error)
                continue
            epoch = int(state["config-epoch"])
            down = state["is_sdown"] or state["is_odown"]
            serves = not down or address != (state["ip"], state["port"])
            if epoch > newest or (epoch == newest and found is None):
                newest, found = epoch, address if serves else None
        if found is not None:
            return str(found[0]), int(found[1])
        raise MasterNotFoundError(_why_none(service_name, self.sentinels, newest >= 0, trouble))


def _why_none(service: str, sentinels: list[redis.Redis], known: bool, trouble: list[Exception]) -> str:
    if known:
        return f"the sentinels name no primary of {service!r} now: the one they knew is down"
    for error in trouble:
        if isinstance(error, redis.AuthenticationError):
            return "the sentinels want another password: give it as ?sentinel_password=… in TMATIC_REDIS"
    for error in trouble:
        if "No such master" in str(error):
            return f"the sentinels know no service {service!r}: is it the name that they monitor?"
    options = [sentinel.connection_pool.connection_kwargs for sentinel in sentinels]
    places = ", ".join(f"{option['host']}:{option['port']}" for option in options)
    return f"no sentinel answers at {places}: {trouble[-1]}"


class PrimaryPool(SentinelConnectionPool):
    """Connections to the primary. After `connection_pool.disconnect()` the next command asks the sentinels again."""

    def __init__(self, service_name: str, sentinel_manager: Sentinels, **options: Any) -> None:
        super().__init__(service_name, sentinel_manager, **options)  # type: ignore[no-untyped-call]
        self._look_at = time.monotonic() + LOOK_S

    def get_connection(self, *arguments: Any, **options: Any) -> Any:
        """A ready connection to the server that the sentinels named last."""
        now = time.monotonic()
        if now > self._look_at:
            self._look_at = now + LOOK_S
            threading.Thread(target=self._look, name="sentinels", daemon=True).start()
        return super().get_connection(*arguments, **options)

    def _look(self) -> None:
        # A serving primary is kept when the sentinels know none or do not answer.
        with contextlib.suppress(redis.RedisError, OSError):
            self.get_master_address()  # type: ignore[no-untyped-call]
