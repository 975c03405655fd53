"""The world from an edge list: exactly what the file says, and words about a file that says nothing."""

from __future__ import annotations

import gzip
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from protocol.errors import UsageError
from services.emulator.worlds.graph_file import GraphWorld
from services.emulator.worlds.world import AccountState, Style
from tests.checkout import ROOT

REAL_GRAPH = ROOT.parent / "shared" / "data" / "ego-twitter-relabelled.tsv.gz"
EVERYTHING = 1 << 30
Edge = tuple[int, int]


def newest_first(members: Sequence[int]) -> list[int]:
    return list(dict.fromkeys(reversed(members)))


def assert_equal(world: GraphWorld, edges: list[Edge]) -> None:
    followers, friends = defaultdict[int, list[int]](list), defaultdict[int, list[int]](list)
    for follower, followed in edges:
        followers[followed].append(follower)
        friends[follower].append(followed)
    assert world.ids(0, EVERYTHING) == sorted({one for edge in edges for one in edge})
    for user in world.ids(0, EVERYTHING):
        account = world.find(user)
        assert account is not None
        assert account.state is AccountState.PUBLIC
        assert world.followers(account, 0, EVERYTHING) == newest_first(followers[user])
        assert world.friends(account, 0, EVERYTHING) == newest_first(friends[user])
        assert world.follower_count(account) == len(set(followers[user]))
        assert world.friend_count(account) == len(set(friends[user]))


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(
    edges=st.lists(st.tuples(st.integers(0, 30), st.sampled_from([1, 2, 7, (1 << 63) - 1])), min_size=1, max_size=60),
    packed=st.booleans(),
    comment=st.booleans(),
    final_break=st.booleans(),
    marked=st.booleans(),
)
def test_the_world_equals_the_file(
    tmp_path_factory: pytest.TempPathFactory,
    edges: list[Edge],
    packed: bool,
    comment: bool,
    final_break: bool,
    marked: bool,
) -> None:
    text = "\n".join((["# follower\tfollowed"] if comment else []) + [f"{a}\t{b}" for a, b in edges])
    content = ("\ufeff" * marked + text + "\n" * final_break).encode()
    path = tmp_path_factory.mktemp("graph") / "edges.tsv"
    path.write_bytes(gzip.compress(content) if packed else content)
    assert_equal(GraphWorld(path, 1), edges)


@pytest.mark.slow
def test_the_real_graph_is_loaded_quickly_and_exactly() -> None:
    if not REAL_GRAPH.exists():
        pytest.skip(f"the real graph is not at {REAL_GRAPH}")
    begun = time.process_time()
    world = GraphWorld(REAL_GRAPH, 1)
    assert time.process_time() - begun < 15
    with gzip.open(REAL_GRAPH, "rt") as lines:
        pairs = [line.split() for line in lines if not line.startswith("#")]
    assert_equal(world, [(int(a), int(b)) for a, b in pairs])


def test_every_account_of_a_graph_has_a_timeline(tmp_path: Path) -> None:
    path = tmp_path / "edges.tsv"
    path.write_text("".join(f"{n}\t{n + 1}\n" for n in range(1, 100)))
    world = GraphWorld(path, 1)
    accounts = [account for account in map(world.find, world.ids(0, EVERYTHING)) if account is not None]
    assert sum(account.posts > 0 for account in accounts) > 80
    assert all(len(world.posts(account, 0, 5, Style())) == min(5, account.posts) for account in accounts)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("1\t2\n3\n", "line 2"),
        ("1\t2\n\n# note\n3\t4\t5\n", "line 4"),
        ("1\t2\n3\tx\n", "line 2"),
        ("1 2 3\n4\n", "line 1"),
        ("1\t2\n3\n4\t5\t6\n", "line 2"),
        ("1\t-2\n", "line 1"),
        (f"1\t{1 << 63}\n", "line 1"),
        ("", "no edges"),
        ("# only words\n", "no edges"),
        ("x" * 9000, "no edge list"),
    ],
)
def test_a_file_that_is_no_graph_is_refused_with_its_line(tmp_path: Path, content: str, words: str) -> None:
    path = tmp_path / "edges.tsv"
    path.write_text(content)
    with pytest.raises(UsageError, match=words):
        GraphWorld(path, 1)


def test_a_line_is_named_by_its_number_deep_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "edges.tsv"
    path.write_text("123456\t654321\n" * 200_000 + "oops\n")
    with pytest.raises(UsageError, match=r"line 200001: .*'oops'"):
        GraphWorld(path, 1)


def test_a_damaged_or_missing_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "edges.tsv.gz"
    with pytest.raises(UsageError, match="cannot read"):
        GraphWorld(path, 1)
    path.write_bytes(gzip.compress(b"1\t2\n" * 1000)[:-20])
    with pytest.raises(UsageError, match="cannot read"):
        GraphWorld(path, 1)
