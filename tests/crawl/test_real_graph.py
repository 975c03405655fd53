"""Bar 1: a real follow graph comes back exact, also under faults, limits and from eight addresses."""

from __future__ import annotations

import gzip
from collections import defaultdict
from pathlib import Path

import pytest

from tests.crawl.running import FAULTS, GRAPH, audit, crawl, dataset, emulator

TARGET = 36445
EIGHT = tuple(f"127.0.0.{number}" for number in range(2, 10))

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not GRAPH.exists(), reason=f"the real graph is not here: {GRAPH.name}"),
]


def followers_by_account() -> dict[int, list[int]]:
    """Who follows whom, newest first as the emulator has it: the reverse of the file's order."""
    followers: dict[int, list[int]] = defaultdict(list)
    with gzip.open(GRAPH, "rt") as file:
        for line in file:
            if line.startswith("#"):
                continue
            follower, followed = map(int, line.split("\t"))
            followers[followed].append(follower)
    return {account: list(dict.fromkeys(reversed(names))) for account, names in followers.items()}


def within(followers: dict[int, list[int]], steps: int) -> set[int]:
    reached = edge = {TARGET}
    for _ in range(steps - 1):
        edge = {name for account in edge for name in followers.get(account, ())} - reached
        reached = reached | edge
    return reached


def check_exact(folder: Path, depth: int) -> None:
    followers = followers_by_account()
    accounts = within(followers, depth)
    files = dataset(folder)
    lists = {int(name[:-4]): list(map(int, text.split())) for name, text in files.items() if name.endswith(".fws")}
    assert lists.keys() == accounts
    wrong = [account for account in accounts if lists[account] != followers.get(account, [])]
    assert not wrong, f"{len(wrong)} lists differ, first {wrong[:3]}"
    profiles = {int(name[:-4]): text.count(b"\n") for name, text in files.items() if name.endswith(".inf")}
    assert {a: n for a, n in profiles.items() if n} == {a: len(followers[a]) for a in accounts if followers.get(a)}
    result = audit(folder)
    assert (result["lost_count"], result["doubled_count"], result["differences"]) == (0, 0, [])
    assert result["accounts"] == len(accounts)


def options(tmp_path: Path, url: str, depth: int) -> list[str]:
    targets = tmp_path / "targets.txt"
    targets.write_text(f"{TARGET}\n")
    return [str(targets), "-F", "-A", "--traversing", "BFS", "--depth", str(depth), "--base-url", url]


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_a_real_graph_comes_back_exact(tmp_path: Path) -> None:
    with emulator("--graph", str(GRAPH), "--page-cap", "500") as service:
        crawl(tmp_path / "data", *options(tmp_path, service.url, 2), within_s=500)
    check_exact(tmp_path / "data", 2)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_real_graph_comes_back_exact_under_faults_and_limits_from_eight_addresses(tmp_path: Path) -> None:
    world = ["--graph", str(GRAPH), "--page-cap", "500", "--faults", FAULTS, "--limits", "real/900"]
    addresses = [word for address in EIGHT for word in ("--bind-ip", address)]
    with emulator(*world) as service:
        crawl(tmp_path / "data", *options(tmp_path, service.url, 2), *addresses, within_s=800)
        asked = service.truth("requests")
    assert asked["beyond_budget"] == 0, "a request was sent that no budget held"
    check_exact(tmp_path / "data", 2)


@pytest.mark.soak
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("hard", [False, True])
def test_soak_a_real_graph_comes_back_exact_to_depth_3(hard: bool, tmp_path: Path) -> None:
    world = ["--graph", str(GRAPH), "--page-cap", "500"]
    world += ["--faults", FAULTS, "--limits", "real/900"] if hard else []
    addresses = [word for address in EIGHT for word in ("--bind-ip", address)] if hard else []
    with emulator(*world) as service:
        crawl(tmp_path / "data", *options(tmp_path, service.url, 3), *addresses, within_s=7000)
    check_exact(tmp_path / "data", 3)
