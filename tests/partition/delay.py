"""A TCP proxy that delays bytes or stalls, for kernels that cannot do it in the network: a process of its own.

The test holds a `DelayProxy`; the process reads one command a line, answers each with a line, and ends when its
input does, so that it never outlives the test. A stall is SIGSTOP: connections stay open, the kernel still accepts
new ones and as many bytes as it has room for, and nothing is forwarded; what a host looks like that hangs.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.waiting import until

TIMEOUT_S = 20.0
RESET = struct.pack("ii", 1, 0)
"""A socket that lingers for no time at all is not closed in order but reset."""
CHUNK_BYTES = 65536
MAX_CHUNKS = 1024
"""Under way in one direction of a connection; a sender that is faster waits."""


class DelayProxy:
    """The test's end of a running proxy. Connect to its `address`."""

    def __init__(self, process: subprocess.Popen[bytes], host_address: str) -> None:
        self.process = process
        self._stalled = False
        self.address = (host_address, int(self._answer()))

    @staticmethod
    def command(listen: str, target: str) -> list[str]:
        """Each as ADDRESS:PORT; it tells the port that it got when that was 0."""
        return [sys.executable, "-m", "tests.partition.delay", listen, target]

    def delay(self, there_s: float, back_s: float | None = None) -> None:
        """Bytes arrive so many seconds later, towards the target and back (the same when not given).

        It holds for bytes that come from now on; none overtakes an earlier one.
        """
        assert not self._stalled, "a stalled proxy hears nothing: resume it first"
        assert self.process.stdin is not None
        self.process.stdin.write(f"{there_s} {there_s if back_s is None else back_s}\n".encode())
        self.process.stdin.flush()
        assert self._answer() == "done"

    def stall(self) -> None:
        """Forwards nothing from now on, closes nothing."""
        self.process.send_signal(signal.SIGSTOP)
        until(lambda: self._state() == "T", TIMEOUT_S)
        self._stalled = True

    def resume(self) -> None:
        """Goes on, first with what came meanwhile."""
        self.process.send_signal(signal.SIGCONT)
        self._stalled = False

    def close(self) -> None:
        """Drops every connection."""
        self.process.kill()
        self.process.wait(TIMEOUT_S)
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()

    def _state(self) -> str:
        return Path(f"/proc/{self.process.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]

    def _answer(self) -> str:
        assert self.process.stdout is not None
        words = self.process.stdout.readline().decode().strip()
        assert words, f"the delay proxy ended: {self.process.poll()}"
        return words


class Delays:
    """The process itself: what it listens for and carries."""

    def __init__(self, target: tuple[str, int]) -> None:
        self.target = target
        self.there_s = 0.0
        self.back_s = 0.0

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carries both ways until both have ended, or one is reset or refused, which resets the other too."""
        ends = [writer]
        try:
            target_reader, target_writer = await asyncio.open_connection(*self.target)
            ends.append(target_writer)
            async with asyncio.TaskGroup() as ways:
                ways.create_task(carry(reader, target_writer, lambda: self.there_s))
                ways.create_task(carry(target_reader, writer, lambda: self.back_s))
        except* OSError:
            for end in ends:
                with contextlib.suppress(OSError):  # it may be closed already
                    end.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                end.transport.abort()
        finally:
            for end in ends:
                end.close()


async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay_s: Callable[[], float]) -> None:
    """One direction, with its end. Raises OSError when either side is broken."""
    clock = asyncio.get_running_loop().time
    under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(MAX_CHUNKS)

    async def take() -> None:
        chunk = b"-"
        while chunk:
            chunk = await reader.read(CHUNK_BYTES)
            await under_way.put((clock() + delay_s(), chunk))

    async def give() -> None:
        while True:
            due, chunk = await under_way.get()
            await asyncio.sleep(due - clock())
            if not chunk:
                writer.write_eof()
                return
            writer.write(chunk)
            await writer.drain()

    async with asyncio.TaskGroup() as both:
        both.create_task(take())
        both.create_task(give())


async def serve(listen: tuple[str, int], target: tuple[str, int]) -> None:
    """Until the input ends."""
    delays = Delays(target)
    commands = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    server = await asyncio.start_server(delays.connected, *listen)
    print(server.sockets[0].getsockname()[1], flush=True)
    async for line in commands:
        delays.there_s, delays.back_s = map(float, line.split())
        print("done", flush=True)


def main() -> None:
    listen, target = (word.rpartition(":") for word in sys.argv[1:])
    asyncio.run(serve((listen[0], int(listen[2])), (target[0], int(target[2]))))


if __name__ == "__main__":
    main()
