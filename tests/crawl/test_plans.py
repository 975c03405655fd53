"""What the flags of a crawl mean, in whole crawls of a small world: resuming, widening, updating, collecting."""

from __future__ import annotations

import contextlib
import gzip
import json
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.crawl.running import COVERED, Emulator, audit, crawl, crawling, dataset, emulator
from tests.waiting import until

pytestmark = pytest.mark.slow

WITHIN_S = 100
SHOWN = ("public", "protected")
"""States whose profiles users/lookup shows."""


@pytest.fixture(scope="module")
def world() -> Iterator[Emulator]:
    with emulator("--users", "60", "--seed", "7") as service:
        yield service


class Place:
    """One crawl's directory and target file, and its service."""

    def __init__(self, folder: Path, service: Emulator) -> None:
        self.folder, self.service, self.targets = folder / "data", service, folder / "targets.txt"
        self.targets.write_text("12\n")

    def run(self, *options: str, targets: bool = True) -> str:
        words = [str(self.targets)] if targets else []
        return crawl(self.folder, *words, *options, "--base-url", self.service.url, "--workers", "2", within_s=WITHIN_S)

    def files(self, ending: str) -> set[str]:
        return {name[:-4] for name in dataset(self.folder) if name.endswith(ending)}

    def truth(self, account: str) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = self.service.truth(f"account/{account}")
        except urllib.error.HTTPError:
            return {"state": "deleted"}
        return answer

    def reachable(self) -> set[str]:
        """Accounts that a crawl without a limit comes to: followers of followers, as profiles show them."""
        reached, edge = {"12"}, ["12"]
        while edge:
            account = edge.pop()
            about = self.truth(account)
            if about["state"] != "public":
                continue
            for follower in map(str, about["followers"]):
                if follower not in reached and self.truth(follower)["state"] in SHOWN:
                    reached.add(follower)
                    edge.append(follower)
        return reached

    def clean(self) -> dict[str, Any]:
        result = audit(self.folder)
        assert result["clean"], result
        return result


@pytest.fixture
def place(tmp_path: Path, world: Emulator) -> Place:
    return Place(tmp_path, world)


def test_default_collects_discoveries_in_a_file_for_the_next_crawl(place: Place) -> None:
    log = place.run("-F", "-A")
    found = re.search(r"frontier=(\S+)", log)
    assert found, log
    accounts = gzip.decompress(Path(found[1]).read_bytes()).decode().split()
    shown = [f for f in map(str, place.truth("12")["followers"]) if place.truth(f)["state"] in SHOWN]
    assert sorted(accounts) == sorted(shown)
    assert place.files(".fws") == {"12"}
    place.targets = Path(found[1])
    place.run("-F", "-A")
    assert place.clean()["accounts"] == 1 + len(accounts)


def test_the_same_stream_again_adds_nothing_twice(place: Place) -> None:
    place.run("-T", "-F", "-A", "--traversing", "BFS")
    before, result = dataset(place.folder), place.clean()
    asked = place.service.truth("requests")["total"]
    place.run("-T", "-F", "-A", "--traversing", "BFS")
    assert dataset(place.folder) == before
    assert place.clean() == result
    assert place.service.truth("requests")["total"] == asked


@pytest.mark.parametrize("traversing", ["BFS", "DFS"])
def test_a_crawl_without_limit_comes_to_every_account_that_can_be_reached(traversing: str, place: Place) -> None:
    place.run("-F", "-A", "--traversing", traversing)
    assert place.clean()["accounts"] == len(place.reachable())


def test_another_operation_is_given_to_every_known_account(place: Place) -> None:
    place.run("-F", "-A", "--traversing", "BFS")
    assert not place.files(".twt")
    place.run("-T", "-F", "-A", "--traversing", "BFS", targets=False)
    assert place.files(".twt") == place.files(".fws")
    place.clean()


def test_an_update_brings_only_what_is_newer_and_can_be_repeated(place: Place) -> None:
    hide(place.service, 5)
    try:
        place.run("-T")
        short = dataset(place.folder)["12.twt"]
        hide(place.service, 0)
        before = place.service.truth("requests")["total"]
        place.run("-U")
        whole = dataset(place.folder)["12.twt"]
        assert whole.endswith(short)
        ids = [str(json.loads(line)["id_str"]) for line in whole.splitlines()]
        assert ids == list(map(str, place.truth("12")["post_ids"]))
        assert place.service.truth("requests")["total"] - before <= 2
        place.run("-U", targets=False)
        assert dataset(place.folder)["12.twt"] == whole
        place.clean()
    finally:
        hide(place.service, 0)


def test_an_update_of_a_timeline_that_does_not_exist_yet_brings_all_of_it(place: Place) -> None:
    place.run("-U")
    assert len(dataset(place.folder)["12.twt"].splitlines()) == place.truth("12")["posts"]


def test_seeds_are_never_discovered(place: Place) -> None:
    known = [str(follower) for follower in place.truth("12")["followers"][:10]]
    seeds = place.folder.with_name("seeds.txt")
    seeds.write_text("\n".join(known))
    place.run("-F", "-A", "--traversing", "BFS", "--depth", "2", "--seeds", str(seeds))
    assert not place.files(".fws") & set(known)
    place.clean()


def test_max_users_is_kept(place: Place) -> None:
    place.run("-F", "-A", "--traversing", "BFS", "--max-users", "7")
    assert place.clean()["accounts"] == 7


def test_what_cannot_be_combined_is_refused_with_words_and_exit_code_2(place: Place) -> None:
    place.run("-F", "-A", "--traversing", "BFS", "--depth", "2")
    for flags, words in (
        (["-F", "-A", "--traversing", "DFS"], "was begun with --traversing BFS --depth 2"),
        (["-F", "-U"], "-U stands alone"),
        (["-F", "--stream", "/nowhere.txt"], "cannot be read"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "master.commands.master", *flags, "--output", str(place.folder), "--port", "0"],
            capture_output=True,
            text=True,
            env=COVERED,
            timeout=60,
        )
        assert done.returncode == 2, done.stderr
        assert words in done.stderr


def test_bad_lines_of_a_stream_are_named_and_the_rest_goes_on(place: Place) -> None:
    place.targets.write_text("# targets\n12\nnobody\n\n-5\n12 # again\n99999999999999999999\n")
    options = [str(place.targets), "-F", "--base-url", place.service.url, "--workers", "2"]
    with crawling(place.folder, *options) as process:
        assert process.wait(WITHIN_S) == 2
    log = place.folder.with_suffix(".log").read_text()
    assert "all is done" in log and "has lines that are no ids, named above; the rest is crawled" in log
    for line in (3, 5, 7):
        assert f"line={line} " in log
    assert place.files(".fws") == {"12"}


def test_a_crawl_that_is_stopped_goes_on_where_it_was(place: Place) -> None:
    options = [str(place.targets), "-T", "-F", "-A", "--traversing", "BFS", "--base-url", place.service.url]
    with crawling(place.folder, *options, "--workers", "2") as process:
        until(lambda: len(list(place.folder.glob("*/*.twt"))) > 5, WITHIN_S)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
    place.run("-T", "-F", "-A", "--traversing", "BFS")
    assert place.clean()["accounts"] == len(place.reachable())


def hide(service: Emulator, newest: int) -> None:
    """The newest posts of everyone are not there yet."""
    asked = urllib.request.Request(f"{service.url}/_truth/withhold?newest={newest}", method="POST")
    urllib.request.urlopen(asked, timeout=10).close()


def test_new_targets_and_a_new_operation_at_once_give_each_account_each_operation_once(place: Place) -> None:
    place.run("-T")
    place.targets.write_text("12\n" + "\n".join(str(name) for name in place.truth("12")["followers"][:5]))
    place.run("-T", "-F")
    assert place.clean()["accounts"] == 6


def test_a_worker_with_another_directory_is_refused(place: Place) -> None:
    command = [sys.executable, "-m", "worker.command", "stray", "--output", str(place.folder.with_name("elsewhere"))]
    with master_at(place, "-T") as port:
        command += ["--master", f"127.0.0.1:{port}", "--base-url", place.service.url]
        done = subprocess.run(command, capture_output=True, text=True, env=COVERED, timeout=60)
    assert done.returncode == 1
    assert "give both the same --output" in done.stderr.splitlines()[-1]


def test_a_ledger_of_another_dataset_is_refused(place: Place, redis_server: str) -> None:
    options = ["-F", "--redis", redis_server, "--durability", "memory"]
    place.run(*options)
    other = ["--output", str(place.folder.with_name("other")), "--port", "0", "--stream", str(place.targets)]
    done = subprocess.run(
        [sys.executable, "-m", "master.commands.master", *options, *other],
        capture_output=True,
        text=True,
        env=COVERED,
        timeout=60,
    )
    assert done.returncode == 2
    assert "has served another dataset" in done.stderr


@contextlib.contextmanager
def master_at(place: Place, *options: str) -> Iterator[int]:
    """A master alone, and its port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    command = [sys.executable, "-m", "master.commands.master", *options, "--stream", str(place.targets)]
    log = place.folder.with_suffix(".log")
    with log.open("ab") as words:
        process = subprocess.Popen(
            [*command, "--output", str(place.folder), "--port", str(port)], stderr=words, env=COVERED
        )
    try:
        until(lambda: "took the lead" in log.read_text(), WITHIN_S)
        yield port
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
