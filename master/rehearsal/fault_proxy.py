"""Links that can be cut: small relays between processes, so that a broken network can be rehearsed without root.

A cut link stalls: bytes stop on the way, and nothing is closed, as if a cable were pulled. Bytes in transit arrive
late, when the link is restored.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

CHUNK = 1 << 16
"""Bytes that are read before they are passed on."""
START_S = 10.0

Place = tuple[str, int] | str
"""Host and port, or the path of a Unix socket."""
T = TypeVar("T")


class FaultProxies:
    """All links of a drill. They run in one thread; `close` ends it. Links are created before they are used."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._gates: dict[str, asyncio.Event] = {}
        self._cuts: dict[str, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        # A path below the output could be too long to bind, and only the user may enter this one.
        self._folder = tempfile.TemporaryDirectory(prefix="tmatic-links-")
        self._thread = threading.Thread(target=self._loop.run_forever, name="links", daemon=True)
        self._thread.start()

    def port(self, name: str, leads_to: Callable[[], Place]) -> int:
        """A new link, and the local port on which it listens. Its destination is evaluated for each connection."""
        return self._run(self._listen_on_port(name, leads_to))

    def path(self, name: str, leads_to: Callable[[], Place]) -> str:
        """A new link, and the Unix socket on which it listens."""
        path = str(Path(self._folder.name) / name)
        self._run(self._listen_at_path(name, path, leads_to))
        return path

    def cut(self, name: str) -> None:
        """Stop forwarding."""
        self._cuts[name] += 1
        self._loop.call_soon_threadsafe(self._gates[name].clear)

    def mend(self, name: str) -> None:
        """Undo one cut; the link works again when all of them are undone."""
        self._cuts[name] -= 1
        if not self._cuts[name]:
            self._loop.call_soon_threadsafe(self._gates[name].set)

    def close(self) -> None:
        """End every link."""
        with contextlib.suppress(TimeoutError):
            self._run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(START_S)
        self._folder.cleanup()

    def _run(self, what: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(what, self._loop).result(START_S)

    def _gate(self, name: str) -> asyncio.Event:
        assert name not in self._gates, "a link is made once"
        self._gates[name], self._cuts[name] = asyncio.Event(), 0
        self._gates[name].set()
        return self._gates[name]

    async def _listen_on_port(self, name: str, leads_to: Callable[[], Place]) -> int:
        gate = self._gate(name)
        server = await asyncio.start_server(lambda r, w: self._relay(gate, leads_to, r, w), "127.0.0.1", 0)
        return int(server.sockets[0].getsockname()[1])

    async def _listen_at_path(self, name: str, path: str, leads_to: Callable[[], Place]) -> None:
        gate = self._gate(name)
        await asyncio.start_unix_server(lambda r, w: self._relay(gate, leads_to, r, w), path)

    async def _relay(
        self,
        gate: asyncio.Event,
        leads_to: Callable[[], Place],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await gate.wait()
            place = leads_to()
            far_reader, far_writer = await (
                asyncio.open_unix_connection(place) if isinstance(place, str) else asyncio.open_connection(*place)
            )
            try:
                await asyncio.gather(_pump(gate, reader, far_writer), _pump(gate, far_reader, writer))
            finally:
                far_writer.close()
        except (OSError, asyncio.CancelledError):
            pass  # the destination is unreachable, or the drill is over: either way this connection ends
        finally:
            writer.close()
            self._tasks.discard(task)

    async def _end(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.sleep(0)


async def _pump(gate: asyncio.Event, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Forward bytes and the end of the stream; both wait while the link is cut."""
    while True:
        data = await reader.read(CHUNK)
        await gate.wait()
        if not data:
            break
        writer.write(data)
        await writer.drain()
    # A half-open connection has no use here.
    writer.close()
