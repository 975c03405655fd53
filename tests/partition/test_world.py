"""What the world of hosts promises to the tests that are built on it."""

from __future__ import annotations

import os
import select
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import zmq

from tests.checkout import ROOT
from tests.partition import namespaces
from tests.partition.delay import RESET, DelayProxy
from tests.partition.world import NETWORK, World
from tests.waiting import until

pytestmark = [pytest.mark.root, pytest.mark.serial]

TIMEOUT_S = 20.0
TCP_PORT, ZMQ_PORT, UDP_PORT = 7001, 7002, 7003
SO_RCVBUFFORCE = 33
"""Of Linux; Python has no name for it."""
MANY = 3000
BUFFER_BYTES = 8_000_000
"""Of a receiver, so that many datagrams fit at once and only the network loses any."""


@pytest.fixture(scope="module")
def built() -> Iterator[World]:
    """Echoes run on m1; tests speak from m0, with w0 as the third."""
    with World("m0", "m1", "w0") as world:
        for kind, port in (("tcp", TCP_PORT), ("zmq", ZMQ_PORT)):
            command = [sys.executable, "-m", "tests.partition.echo", kind, world.address("m1"), str(port)]
            process = world.run("m1", command, cwd=ROOT, stdout=subprocess.PIPE)
            assert process.stdout is not None
            with process.stdout:
                assert process.stdout.readline() == b"ready\n"
        yield world


@pytest.fixture
def world(built: World) -> Iterator[World]:
    yield built
    built.heal()


def connected(world: World, host: str, address: tuple[str, int]) -> socket.socket:
    with world.inside(host):
        return socket.create_connection(address, TIMEOUT_S)


def echoed(line: socket.socket, words: bytes) -> bytes:
    line.sendall(words)
    return received(line, len(words))


def received(line: socket.socket, size: int) -> bytes:
    return line.recv(size, socket.MSG_WAITALL)


def silent(*lines: socket.socket) -> bool:
    """Whether nothing comes, not even an end, for longer than anything takes here that is not held up."""
    return not select.select(lines, [], [], 0.2)[0]


def sent_again(line: socket.socket) -> int:
    """How often the kernel has sent a segment of this connection again: `tcpi_total_retrans` of tcp_info."""
    (times,) = struct.unpack_from("I", line.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104), 100)
    return int(times)


class Datagrams:
    """A port on each of two hosts, to count what passes between them."""

    def __init__(self, world: World, *hosts: str) -> None:
        self.world = world
        self.ports: dict[str, socket.socket] = {}
        for host in hosts:
            with world.inside(host):
                self.ports[host] = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.ports[host].setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER_BYTES)
            self.ports[host].bind((world.address(host), UDP_PORT))
            self.ports[host].settimeout(TIMEOUT_S)

    def send(self, a: str, b: str, words: bytes) -> None:
        self.ports[a].sendto(words, (self.world.address(b), UDP_PORT))

    def passed(self, a: str, b: str, count: int) -> int:
        """How many of that many arrive. What arrives does so in order, so with a last one that arrives for
        certain the others have arrived or never will; it heals the network for that one."""
        arrived = 0
        for _ in range(count):
            self.send(a, b, b"counted")
        broken = self.world.broken()
        self.world.heal()
        self.send(a, b, b"last")
        while self.ports[b].recv(100) != b"last":
            arrived += 1
        for (c, d), share in broken.items():
            self.world.thin(c, d, share, one_way=True)
        return arrived


@pytest.fixture
def datagrams(world: World) -> Iterator[Datagrams]:
    pair = Datagrams(world, "m0", "m1")
    yield pair
    for port in pair.ports.values():
        port.close()


def test_a_cut_silences_a_connection_that_is_open_and_a_heal_brings_everything(world: World) -> None:
    with closing(connected(world, "m0", (world.address("m1"), TCP_PORT))) as line:
        assert echoed(line, b"before") == b"before"
        world.cut("m0", "m1")
        line.sendall(b"meanwhile")
        until(lambda: sent_again(line) >= 2, TIMEOUT_S)
        assert silent(line)
        world.heal("m0", "m1")
        assert received(line, len(b"meanwhile")) == b"meanwhile"


def test_a_message_of_zeromq_waits_for_the_heal(world: World) -> None:
    # The threads of a context are where its first socket was made.
    with world.inside("m0"):
        context = zmq.Context()
        line = context.socket(zmq.DEALER)
    with context, line:
        line.setsockopt(zmq.RCVTIMEO, int(TIMEOUT_S * 1000))
        line.connect(f"tcp://{world.address('m1')}:{ZMQ_PORT}")
        line.send(b"before")
        assert line.recv() == b"before"
        world.cut("m0", "m1")
        line.send(b"meanwhile")
        assert not line.poll(300)
        world.heal()
        assert line.recv() == b"meanwhile"


def test_a_new_connection_over_a_cut_is_neither_made_nor_refused(world: World) -> None:
    world.cut("m0", "m1")
    with world.inside("m0"), closing(socket.socket()) as line:
        line.settimeout(0.2)
        with pytest.raises(TimeoutError):
            line.connect((world.address("m1"), TCP_PORT))


def test_a_cut_is_both_ways(world: World, datagrams: Datagrams) -> None:
    world.cut("m0", "m1")
    assert datagrams.passed("m0", "m1", MANY) == 0
    assert datagrams.passed("m1", "m0", MANY) == 0


def test_a_cut_one_way_is_one_way(world: World, datagrams: Datagrams) -> None:
    world.cut("m0", "m1", one_way=True)
    assert datagrams.passed("m0", "m1", MANY) == 0
    assert datagrams.passed("m1", "m0", MANY) == MANY


def test_a_thin_way_loses_about_its_share_and_the_other_way_its_own(world: World, datagrams: Datagrams) -> None:
    world.thin("m0", "m1", 0.3)
    world.thin("m1", "m0", 0.05, one_way=True)
    there = datagrams.passed("m0", "m1", MANY) / MANY
    back = datagrams.passed("m1", "m0", MANY) / MANY
    # Six standard deviations: off by chance once in many millions of runs.
    assert abs(there - 0.7) < 6 * (0.3 * 0.7 / MANY) ** 0.5
    assert abs(back - 0.95) < 6 * (0.05 * 0.95 / MANY) ** 0.5


def test_a_heal_of_two_hosts_leaves_the_other_cuts(world: World, datagrams: Datagrams) -> None:
    address = (world.address("m1"), TCP_PORT)
    world.cut_host("m1")
    assert datagrams.passed("m0", "m1", 1) == datagrams.passed("m1", "m0", 1) == 0
    world.heal("m0", "m1")
    assert datagrams.passed("m0", "m1", 1) == datagrams.passed("m1", "m0", 1) == 1
    assert set(world.broken()) == {("w0", "m1"), ("m1", "w0")}
    with world.inside("w0"), pytest.raises(TimeoutError):
        socket.create_connection(address, 0.2)
    world.heal("w0")
    with closing(connected(world, "w0", address)) as line:
        assert echoed(line, b"again") == b"again"


def test_a_host_has_a_loopback_of_its_own_and_no_way_out(world: World) -> None:
    with world.inside("m0"), closing(socket.create_server(("127.0.0.1", 0))) as mine:
        address = mine.getsockname()
        socket.create_connection(address, TIMEOUT_S).close()
    with world.inside("w0"), pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, TIMEOUT_S)
    process = world.run("m0", ["ip", "-brief", "route", "show", "table", "all", "type", "unicast"], stdout=-1)
    routes = process.communicate(timeout=TIMEOUT_S)[0].decode().splitlines()
    assert [line.split()[0] for line in routes if ":" not in line.split()[0]] == [f"{NETWORK}.0/24"]
    assert not [line for line in routes if line.startswith("default")]


def test_from_outside_its_addresses_lead_nowhere(world: World) -> None:
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((world.address("m1"), TCP_PORT), TIMEOUT_S)


@pytest.fixture
def proxy(world: World) -> Iterator[DelayProxy]:
    with closing(world.proxy("w0", ("m1", TCP_PORT))) as proxy:
        yield proxy


def test_a_proxy_delays_each_way_by_what_it_was_told(world: World) -> None:
    def took_s(giver: socket.socket, taker: socket.socket) -> float:
        """The shortest of a few: what else goes on here can only make it longer."""
        taken = []
        for _ in range(4):
            start = time.monotonic()
            giver.sendall(b"bytes")
            assert received(taker, 5) == b"bytes"
            taken.append(time.monotonic() - start)
        return min(taken)

    with world.inside("m1"):
        listener = socket.create_server((world.address("m1"), 0))
    target = ("m1", listener.getsockname()[1])
    with (
        listener,
        closing(world.proxy("w0", target, delay_s=0.02)) as proxy,
        connected(world, "m0", proxy.address) as near,
        listener.accept()[0] as far,
    ):
        assert 0.02 <= took_s(near, far) < 0.04
        assert 0.02 <= took_s(far, near) < 0.04
        proxy.delay(0.1, 0)
        assert 0.1 <= took_s(near, far) < 0.12
        assert took_s(far, near) < 0.02
        proxy.delay(0)
        assert took_s(near, far) < 0.02


def test_a_proxy_changes_no_byte_and_passes_the_end_on(world: World, proxy: DelayProxy) -> None:
    proxy.delay(0.02)
    sent = os.urandom(3_000_000)
    with closing(connected(world, "m0", proxy.address)) as line:

        def send() -> None:
            line.sendall(sent)
            line.shutdown(socket.SHUT_WR)

        sender = threading.Thread(target=send)
        sender.start()
        came = b"".join(iter(lambda: line.recv(65536), b""))
        sender.join(TIMEOUT_S)
    assert came == sent


def test_a_proxy_passes_a_reset_on_and_what_nobody_listens_for(world: World) -> None:
    with world.inside("m1"):
        listener = socket.create_server((world.address("m1"), 0))
    with closing(world.proxy("w0", ("m1", listener.getsockname()[1]))) as proxy:
        with listener, connected(world, "m0", proxy.address) as near:
            far, _ = listener.accept()
            far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            far.close()
            with pytest.raises(ConnectionResetError):
                near.recv(1)
        with connected(world, "m0", proxy.address) as near, pytest.raises(ConnectionResetError):
            near.recv(1)


def test_a_stalled_proxy_closes_nothing_and_forwards_nothing_until_it_resumes(world: World, proxy: DelayProxy) -> None:
    with closing(connected(world, "m0", proxy.address)) as line:
        assert echoed(line, b"before") == b"before"
        proxy.stall()
        line.sendall(b"meanwhile")
        with closing(connected(world, "m0", proxy.address)) as later:
            later.sendall(b"later")
            assert silent(line, later)
            proxy.resume()
            assert received(line, len(b"meanwhile")) == b"meanwhile"
            assert received(later, len(b"later")) == b"later"


def test_a_cut_holds_for_what_goes_through_a_proxy(world: World, proxy: DelayProxy) -> None:
    with closing(connected(world, "m0", proxy.address)) as line:
        assert echoed(line, b"before") == b"before"
        world.cut("m0", "m1")
        assert echoed(line, b"another way") == b"another way"
        world.cut("w0", "m1")
        line.sendall(b"meanwhile")
        assert silent(line)
        world.heal()
        assert received(line, len(b"meanwhile")) == b"meanwhile"


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_world_that_ends_leaves_no_process_and_no_namespace() -> None:
    before = namespaces.existing()
    # One grandchild stays in the group, one leaves it.
    script = "sleep 1000 & echo $!; setsid sleep 1000 & echo $!; echo $$; wait"
    with World("m0", "m1") as world:
        assert len(namespaces.existing()) == len(before) + 3
        process = world.run("m0", ["sh", "-c", script], stdout=subprocess.PIPE)
        assert process.stdout is not None
        with process.stdout:
            pids = [int(process.stdout.readline()) for _ in range(3)]
        assert pids[2] == process.pid
        assert all(map(alive, pids))
    assert not any(map(alive, pids))
    assert namespaces.existing() == before


def test_a_world_whose_owner_was_killed_is_swept_by_the_next_and_others_are_not(world: World) -> None:
    script = """if True:
        from tests.partition.world import World
        with World("m0") as world:
            print(world.run("m0", ["sleep", "1000"]).pid, flush=True)
            input()
        """
    owner = subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with owner:
        assert owner.stdout is not None
        orphan = int(owner.stdout.readline())
        owner.kill()
    left = namespaces.existing(f"{namespaces.PREFIX}-{owner.pid}-")
    assert len(left) == 2 and alive(orphan)
    with World("m0"):
        assert not alive(orphan)
        assert not set(left) & set(namespaces.existing())
    with closing(connected(world, "m0", (world.address("m1"), TCP_PORT))) as line:
        assert echoed(line, b"still there") == b"still there"


def test_without_root_or_the_tools_it_says_in_a_sentence_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(shutil, "which", lambda name: None if name == "nft" else name)
    with pytest.raises(AssertionError) as refused, World("m0"):
        pass
    assert str(refused.value).startswith(
        "the tests of network partitions need root and the Debian packages iproute2 nftables, and this machine has "
        "no nft and does not run as root: as root, apt-get install"
    )
