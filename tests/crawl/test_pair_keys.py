"""Keys from end to end: who has none that counts gets nothing, and those that have one go on, also after a takeover."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.crawl.running import COVERED, Emulator, audit, crawl, dataset, emulator
from tests.partition.delay import DelayProxy
from tests.ports import free_ports
from tests.waiting import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

WORLD = ("--users", "60", "--seed", "7")
WITHIN_S = 60.0
SLOW_S = 0.1
"""The service's delay, each way, until a test lets the crawl finish."""
MASTER = [sys.executable, "-m", "master.commands.master"]


class Guarded:
    """A crawl of a pair of masters that listen with keys. Every process logs to a file of its name."""

    def __init__(self, folder: Path, service: Emulator) -> None:
        self.folder, self.service = folder, service
        self.keys, self.data, self.port = folder / "keys", folder / "data", free_ports()
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        target = service.url.removeprefix("http://")
        proxy = subprocess.Popen(
            DelayProxy.command("127.0.0.1:0", target), stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=COVERED
        )
        self.delay = DelayProxy(proxy, "127.0.0.1")
        self.delay.delay(SLOW_S)
        (folder / "targets").write_text("12\n")

    def key(self, name: str, folder: Path | None = None) -> Path:
        """Made by `tmatic-master keys new`."""
        keys = folder or self.keys
        self.tool("keys", "new", name, "--keys-directory", str(keys))
        return keys / f"{name}.key"

    def tool(self, *words: str) -> str:
        done = subprocess.run([*MASTER, *words], capture_output=True, text=True, env=COVERED, timeout=WITHIN_S)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def status(self) -> dict[str, Any]:
        place = ["--output", str(self.data), "--port", str(self.port), "--keys-directory", str(self.keys)]
        state: dict[str, Any] = json.loads(self.tool("status", "--json", *place))
        return state

    def workers(self) -> dict[str, int]:
        """The workers that the leader knows, and how many jobs each has in hand."""
        return {worker["name"]: len(worker["jobs"]) for worker in self.status()["workers"]}

    def master(self, number: int) -> None:
        words = ["-T", "-F", "-A", "--stream", str(self.folder / "targets"), "--traversing", "BFS", "--grace-s", "1"]
        words += ["--ha", str(number), "--port", str(self.port), "--keys-directory", str(self.keys)]
        words += ["--heartbeat-s", "0.2", "--worker-timeout-s", "4", "--output", str(self.data)]
        self._run(f"master{number}", [*MASTER, *words])

    def worker(self, name: str, key: Path | None) -> None:
        words = [name, "--output", str(self.data), "--port", str(self.port), "--concurrency", "2"]
        words += ["--base-url", "http://{}:{}".format(*self.delay.address), *(["--key", str(key)] if key else [])]
        self._run(name, [sys.executable, "-m", "worker.command", *words])

    def _run(self, name: str, command: list[str]) -> None:
        with (self.folder / f"{name}.log").open("wb") as words:
            self.processes[name] = subprocess.Popen(command, stdout=words, stderr=words, env=COVERED)

    def kill(self, name: str) -> None:
        self.processes[name].kill()
        self.processes[name].wait(WITHIN_S)

    def said(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def until_said(self, name: str, words: str) -> None:
        until(lambda: words in self.said(name), WITHIN_S)

    def finish(self, *names: str) -> None:
        """These end by themselves, and well."""
        self.delay.delay(0)
        for name in names:
            try:
                code = self.processes[name].wait(WITHIN_S)
            except subprocess.TimeoutExpired:
                raise AssertionError(f"{name} is still running: {self.said(name)[-3000:]}") from None
            assert code == 0, f"{name} ended with {code}: {self.said(name)[-3000:]}"

    def check(self, calm: dict[str, bytes]) -> None:
        result = audit(self.data)
        assert (result["lost_count"], result["doubled_count"], result["differences"]) == (0, 0, [])
        assert dataset(self.data) == calm

    def close(self) -> None:
        # Workers first, and masters in good order: the embedded server below them ends with the last one.
        for name, process in self.processes.items():
            if process.poll() is None and name.startswith("master"):
                process.terminate()
            elif process.poll() is None:
                process.kill()
        for process in self.processes.values():
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.delay.close()


@pytest.fixture
def service() -> Iterator[Emulator]:
    with emulator(*WORLD) as service:
        yield service


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The dataset of a crawl on one machine that nothing disturbs."""
    folder = tmp_path_factory.mktemp("calm")
    (folder / "targets").write_text("12\n")
    with emulator(*WORLD) as service:
        words = [str(folder / "targets"), "-T", "-F", "-A", "--traversing", "BFS", "--base-url", service.url]
        crawl(folder / "data", *words, within_s=WITHIN_S)
    return dataset(folder / "data")


@pytest.fixture
def guarded(tmp_path: Path, service: Emulator) -> Iterator[Guarded]:
    guarded = Guarded(tmp_path, service)
    try:
        yield guarded
    finally:
        guarded.close()


def test_strangers_get_nothing_and_one_that_is_revoked_no_more(guarded: Guarded, calm: dict[str, bytes]) -> None:
    good, revoked = guarded.key("good"), guarded.key("revoked")
    foreign = guarded.key("foreign", guarded.folder / "elsewhere")
    unknown = guarded.folder / "unknown.key"
    ours, theirs = (
        next(row for row in path.read_text().splitlines() if row.startswith("master")) for path in (good, foreign)
    )
    unknown.write_text(foreign.read_text().replace(theirs, ours))  # it knows the masters, and they do not know it
    unknown.chmod(0o600)
    guarded.master(0)
    guarded.worker("revoked", revoked)
    guarded.until_said("revoked", "a master leads")
    until(lambda: guarded.workers().get("revoked", 0) > 0, WITHIN_S)
    for name, key in (("keyless", None), ("foreign", foreign), ("unknown", unknown)):
        guarded.worker(name, key)
    guarded.until_said("keyless", "wants a key: `tmatic-master keys new NAME` makes one")
    guarded.until_said("foreign", "does not answer to this key")
    guarded.until_said("unknown", "does not answer to this key")
    assert set(guarded.workers()) == {"revoked"}
    guarded.tool("keys", "revoke", "revoked", "--keys-directory", str(guarded.keys))
    guarded.until_said("master0", "a key was revoked")
    until(lambda: not guarded.workers(), WITHIN_S)
    guarded.worker("good", good)
    guarded.finish("master0", "good")
    for name in ("keyless", "foreign", "unknown"):
        assert guarded.processes[name].poll() is None
        assert "a master leads" not in guarded.said(name)
        assert guarded.said(name).count("WARNING") <= 2, guarded.said(name)  # each reason once
    guarded.check(calm)


def test_a_pair_with_keys_takes_over(guarded: Guarded, calm: dict[str, bytes]) -> None:
    keys = {name: guarded.key(name) for name in ("w1", "w2")}
    guarded.master(0)
    guarded.until_said("master0", "took the lead")
    guarded.master(1)
    for name, key in keys.items():
        guarded.worker(name, key)
    until(lambda: sum(guarded.workers().values()) > 2, WITHIN_S)
    guarded.until_said("master1", "listening")
    guarded.kill("master0")
    guarded.until_said("master1", "took the lead")
    assert guarded.status()["pair"]["number"] == 1
    guarded.finish("master1", *keys)
    assert guarded.service.truth("requests")["answered_again"] == 0
    guarded.check(calm)


@pytest.mark.parametrize("peer", [(), ("--ha", "0", "--peer", "203.0.113.1:8001")], ids=["alone", "paired"])
def test_without_keys_a_master_listens_to_this_machine_alone(tmp_path: Path, peer: tuple[str, ...]) -> None:
    host = "127.0.0.1" if peer else "0.0.0.0"
    (tmp_path / "targets").write_text("12\n")
    new = ["-T", "--stream", str(tmp_path / "targets"), "--output", str(tmp_path / "data")]
    command = [*MASTER, *new, "--host", host, "--port", "0", *peer]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=COVERED, timeout=WITHIN_S)
    assert done.returncode == 2
    assert "make keys with `tmatic-master keys new NAME`, one for each worker, or go without them by --insecure" in (
        done.stderr
    )
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "data").exists()
