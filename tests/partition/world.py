"""A small world of hosts whose network a test can break: one network namespace per host, all on one switch.

    with World("m0", "m1", "redis") as world:
        master = world.run("m0", ["tmatic-master", ...])
        world.cut("m0", "m1")            # silence both ways, for connections that are open too
        world.thin("m1", "redis", 0.3)   # 30% of the packets are lost at random, each way
        world.heal()

What it keeps to:

- Nothing leaves. The namespaces are joined to each other only, and have no route to anywhere else. Their addresses
  are of the loopback range, which is made to work between them: so a client of the test's that by mistake connects
  again from outside them (libraries do that on their own) is refused by its own machine and disturbs no stranger.
- A cut is silence: packets vanish in the switch, nobody is told. The hosts know each other's hardware addresses
  from the start, so a sender does not learn of the cut from an unanswered ARP query ("no route to host") either,
  which hosts in two data centres would not.
- A change holds from the moment that the call returns, whole: never is one half of it there without the other.
- Nothing stays, neither processes nor namespaces; after a crash, the next world sweeps.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.checkout import ROOT
from tests.partition import namespaces
from tests.partition.delay import DelayProxy

NETWORK = "127.83.0"
"""Of the loopback range, which no machine sends out: see the rules above."""
SWITCH = "switch"
"""The name of its namespace, and there of the bridge."""
MAX_HOSTS = 200
MAX_NAME_LENGTH = 15
"""Of a host, in characters: its port at the switch is named like it, and the kernel allows no more."""
PARTS = 10_000
"""A share of packets is counted in so many parts."""
TIMEOUT_S = 20.0


class World:
    """Hosts on one switch. Raises AssertionError, which says what is missing, where it cannot be built."""

    def __init__(self, *hosts: str) -> None:
        assert 0 < len(hosts) <= MAX_HOSTS, hosts
        assert len(set(hosts)) == len(hosts) and not {SWITCH, "lo"} & set(hosts), hosts
        assert all(name.isalnum() and len(name) <= MAX_NAME_LENGTH for name in hosts), hosts
        self.hosts = hosts
        self._prefix = namespaces.new_prefix()
        self._lost: dict[tuple[str, str], int] = {}
        """Of the packets from one host to another, how many in PARTS are lost."""
        self._processes: list[subprocess.Popen[bytes]] = []
        self._proxies: list[DelayProxy] = []

    def __enter__(self) -> Self:
        namespaces.require_tools()
        namespaces.sweep()
        try:
            self._build()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends every process of this world, with SIGKILL, and removes its namespaces."""
        for process in self._processes:
            # The number of one that was waited for may be another's by now; what it left is found by its namespace.
            if process.poll() is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait(TIMEOUT_S)
        for proxy in self._proxies:
            proxy.close()
        namespaces.remove(namespaces.existing(self._prefix))

    def address(self, host: str) -> str:
        """Of a host, as the others reach it; each has 127.0.0.1 for itself too."""
        return f"{NETWORK}.{self.hosts.index(host) + 1}"

    def run(self, host: str, command: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
        """Starts a process on a host; the options are those of Popen. It leads a session and group of its own,
        and when the world ends it is killed with all that it started.

        A program that is not there ends with status 127.
        """
        assert "start_new_session" not in options, "every process here has a session of its own"
        words = [*namespaces.entering(self._namespace(host)), *command]
        process: subprocess.Popen[bytes] = subprocess.Popen(words, start_new_session=True, **options)
        self._processes.append(process)
        return process

    def inside(self, host: str) -> AbstractContextManager[None]:
        """The test's own thread is on that host while the block lasts, and the sockets that it makes stay there.

        A client that connects again on its own must do that inside, too; one of ZeroMQ does, when the first socket of
        its context was made inside.
        """
        return namespaces.inside(self._namespace(host))

    def proxy(self, host: str, target: tuple[str, int], *, port: int = 0, delay_s: float = 0.0) -> DelayProxy:
        """A delay on the way to a port of a target host: connect to `proxy.address` of `host` instead.

        It connects from `host`, so cuts between that one and the target hold for it.
        """
        here, (there, there_port) = self.address(host), target
        command = DelayProxy.command(f"{here}:{port}", f"{self.address(there)}:{there_port}")
        process = self.run(host, command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        proxy = DelayProxy(process, here)
        self._proxies.append(proxy)
        proxy.delay(delay_s)
        return proxy

    def cut(self, a: str, b: str, *, one_way: bool = False) -> None:
        """Nothing goes from a to b, and unless it is one way nothing from b to a."""
        self.thin(a, b, 1.0, one_way=one_way)

    def cut_host(self, a: str) -> None:
        """Nothing goes to or from a host."""
        self._lose({pair: PARTS for b in self.hosts if b != a for pair in ((a, b), (b, a))})

    def thin(self, a: str, b: str, share: float, *, one_way: bool = False) -> None:
        """That share of the packets, from 0 to 1, is lost at random from a to b, and unless it is one way from b
        to a. It replaces an earlier cut or share of that way."""
        assert 0 <= share <= 1, share
        assert a != b, a
        ways = [(a, b)] if one_way else [(a, b), (b, a)]
        self._lose(dict.fromkeys(ways, round(share * PARTS)))

    def heal(self, a: str | None = None, b: str | None = None) -> None:
        """Everything goes again: everywhere, or to and from a, or between a and b.

        TCP tries again at its own pace: after n seconds of silence it may take as long again until it does.
        """
        chosen = {name for name in (a, b) if name is not None}
        assert chosen <= set(self.hosts), chosen
        self._lose({way: 0 for way in self._lost if chosen <= set(way)})

    def broken(self) -> dict[tuple[str, str], float]:
        """Every way, from one host to another, that loses packets, and the share that it loses."""
        return {way: lost / PARTS for way, lost in self._lost.items()}

    def _namespace(self, host: str) -> str:
        assert host in (*self.hosts, SWITCH), f"no host {host} in {self.hosts}"
        return self._prefix + host

    def _build(self) -> None:
        names = [self._namespace(host) for host in (SWITCH, *self.hosts)]
        namespaces.command("ip", "-batch", "-", lines=[f"netns add {name}" for name in names])
        links = [f"link add name {SWITCH} type bridge mcast_snooping 0", f"link set {SWITCH} up"]
        for host in self.hosts:
            ends = f"name {host} type veth peer name eth0 address {self._hardware(host)}"
            links += [f"link add {ends} netns {self._namespace(host)}", f"link set {host} master {SWITCH} up"]
        namespaces.command("ip", "-n", self._namespace(SWITCH), "-batch", "-", lines=links)
        for host in self.hosts:
            # One packet at a time and not bundles of 64 KiB, or a share of the packets would be something else.
            ours = [
                # With its usual address, 127.0.0.1/8, it would take in the whole network.
                "addr add 127.0.0.1/32 dev lo",
                "link set lo up",
                "link set eth0 up gso_max_segs 1",
                f"addr add {self.address(host)}/24 dev eth0",
            ]
            others = [
                f"neigh add {self.address(other)} lladdr {self._hardware(other)} dev eth0 nud permanent"
                for other in self.hosts
                if other != host
            ]
            with self.inside(host):
                Path("/proc/sys/net/ipv4/conf/all/route_localnet").write_text("1", encoding="utf-8")
                namespaces.command("ip", "-batch", "-", lines=ours + others)
        chain = "chain forward { type filter hook forward priority 0; policy accept; }"
        self._filter([f"table bridge world {{ {chain}; }}"])

    def _hardware(self, host: str) -> str:
        return f"02:00:00:00:00:{self.hosts.index(host) + 1:02x}"

    def _lose(self, parts: dict[tuple[str, str], int]) -> None:
        assert all(host in self.hosts for way in parts for host in way), f"{set(parts)} are not all of {self.hosts}"
        self._lost |= parts
        self._lost = {way: lost for way, lost in self._lost.items() if lost}
        rules = []
        for (a, b), lost in self._lost.items():
            by_chance = f"numgen random mod {PARTS} < {lost}" if lost < PARTS else ""
            rules.append(f'add rule bridge world forward iifname "{a}" oifname "{b}" {by_chance} drop')
        self._filter(["flush chain bridge world forward", *rules])

    def _filter(self, lines: list[str]) -> None:
        """Changes the rules of the switch, all at once."""
        namespaces.command(*namespaces.entering(self._namespace(SWITCH)), "nft", "-f", "-", lines=lines)
