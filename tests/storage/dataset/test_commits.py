"""A merge is all or nothing at every system call, and two writers never undo one another."""

from __future__ import annotations

import itertools
import os
import random
import shutil
import tempfile
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

from protocol.errors import DatasetError
from protocol.jobs import Operation, Segment
from storage.dataset.files.dataset import FileDataset
from storage.dataset.interface import Page, RecordKind
from storage.dataset.receipts import Receipt
from storage.dataset.verify import verify
from tests.storage.dataset.pages import USER, draft, posts, stored_ids, zcat

T, U = Operation.TIMELINE, Operation.UPDATE
Merge = Generator[str, None, Receipt]

ACTS = ("open", "write", "fsync", "link", "unlink", "rename", "mkdir", "pwrite", "fdatasync", "ftruncate")
"""The system calls that change something. A process dies before the n-th of them."""

DEAD = 77


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory in memory without syncing: for claims about order, thousands of times over."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    base = Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=base) as path:
        yield Path(path)


def dying_before(act: int, work: Callable[[], object]) -> bool:
    """Do the work in another process that is gone before its n-th act. False when it came to its end."""
    child = os.fork()
    if not child:
        done = itertools.count(1)

        def counted(call: Callable[..., Any]) -> Callable[..., Any]:
            def acting(*args: Any, **named: Any) -> Any:
                if next(done) == act:
                    os._exit(DEAD)
                return call(*args, **named)

            return acting

        for name in ACTS:
            setattr(os, name, counted(getattr(os, name)))
        try:
            work()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == DEAD


@pytest.mark.slow
@pytest.mark.parametrize("first", [True, False], ids=["the first merge of a file", "a merge onto a file"])
def test_a_process_may_die_before_any_system_call(tmp_path: Path, first: bool) -> None:
    before = [] if first else ["5", "4"]
    for act in itertools.count(1):
        home = tmp_path / f"home{act}"
        dataset = FileDataset(home)
        dataset.recover()
        if not first:
            dataset.merge(USER, T, (), posts([5, 4]), draft("first"))
            dataset.merge(USER, U, (), posts([5]), draft("second"))
        length = dataset.append(USER, U, "lease", 0, posts([9, 8]))
        dataset.close("lease")

        def merge() -> Receipt:
            segments = [Segment("lease", length)]  # noqa: B023
            return FileDataset(home).merge(USER, U, segments, posts([7]), draft("lease"))  # noqa: B023

        died = dying_before(act, merge)
        for _ in range(2):
            assert stored_ids(dataset) in (before, ["9", "8", "7", *before])
            assert not [problem for problem in verify(dataset).problems if "no receipt" not in problem.what]
            dataset.recover()
        again = merge()
        assert stored_ids(dataset) == ["9", "8", "7", *before]
        assert zcat(dataset.path(USER, RecordKind.TIMELINE)) == list(dataset.lines(USER, RecordKind.TIMELINE))
        assert again == merge() == dataset.receipt(USER, U)
        assert (again.received, again.total) == (3, 3 + len(before))
        dataset.recover()
        assert verify(dataset).problems == []
        assert dataset.leftovers() == []
        shutil.rmtree(home)
        if not died:
            assert act > 15
            return


def start(dataset: FileDataset, token: str, page: Page) -> Merge:
    return dataset.merging(USER, T if token == "a" else U, (), page, draft(token))


def run(merges: dict[str, Merge], schedule: Iterator[str]) -> None:
    """Let the merges take their steps in this order, until all have ended."""
    for name in schedule:
        if name in merges:
            try:
                next(merges[name])
            except StopIteration:
                del merges[name]
        if not merges:
            return


def prepare(home: Path, history: int) -> FileDataset:
    dataset = FileDataset(home)
    for n in range(history):
        dataset.merge(USER, U, (), posts([n]), draft(f"h{n}"))
    return dataset


def assert_whole(dataset: FileDataset, ids: list[int]) -> None:
    dataset.recover()
    assert stored_ids(dataset) == [str(n) for n in sorted(ids, reverse=True)]
    report = verify(dataset)
    assert (report.problems, report.leftovers) == ([], [])


@pytest.mark.slow
def test_two_writers_lose_nothing_in_any_order_of_their_steps(quick: Path) -> None:
    steps = 7
    for number, chosen in enumerate(itertools.combinations(range(2 * steps), steps)):
        home = quick / str(number)
        dataset = prepare(home, 1)
        order = ["a" if at in chosen else "b" for at in range(2 * steps)]
        merges = {"a": start(dataset, "a", posts([101, 100])), "b": start(dataset, "b", posts([103, 102]))}
        run(merges, itertools.chain(order, itertools.cycle("ab")))
        assert_whole(dataset, [0, 100, 101, 102, 103])
        receipts = [dataset.receipt(USER, operation) for operation in (T, U)]
        assert [receipt and receipt.tokens for receipt in receipts] == [("a",), ("b",)]
        shutil.rmtree(home)


def test_four_writers_that_may_die_lose_nothing(quick: Path) -> None:
    for seed in range(150):
        chance = random.Random(seed)
        home = quick / str(seed)
        dataset = prepare(home, chance.randrange(4))
        kept = [int(identifier) for identifier in stored_ids(dataset)]
        pages = {name: posts([100 + n]) for n, name in enumerate("abcd")}
        merges = {name: start(dataset, name, page) for name, page in pages.items()}
        while merges:
            name = chance.choice(sorted(merges))
            if chance.random() < 0.05:
                merges[name] = start(dataset, name, pages[name])  # it died where it stood, and is tried again
            left = {name: merges.pop(name)}
            run(left, iter([name]))
            merges.update(left)
            if chance.random() < 0.1:
                dataset.recover()
        assert_whole(dataset, [*kept, 100, 101, 102, 103])
        shutil.rmtree(home)


@pytest.mark.parametrize("stop", ["write", "offer", "look", "place", "prune"])
def test_a_writer_that_comes_late_never_replaces_newer_content(tmp_path: Path, stop: str) -> None:
    dataset = prepare(tmp_path, 1)
    late = start(dataset, "a", posts([50]))
    while next(late) != stop:
        pass
    for n in range(5):
        dataset.merge(USER, U, (), posts([100 + n]), draft(f"n{n}"))
    run({"a": late}, itertools.repeat("a"))
    assert_whole(dataset, [0, 50, 100, 101, 102, 103, 104])


def test_a_link_whose_answer_was_lost_is_recognised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = os.link

    def linked_twice(source: Path, target: Path) -> None:
        link(source, target)
        link(source, target)

    monkeypatch.setattr(os, "link", linked_twice)
    dataset = FileDataset(tmp_path)
    assert dataset.merge(USER, T, (), posts([1]), draft("a")).generation == 1


def test_a_merge_that_never_comes_to_its_turn_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(source: Path, target: Path) -> NoReturn:
        raise FileExistsError(17, "exists")

    monkeypatch.setattr(os, "link", refused)
    dataset = FileDataset(tmp_path)
    with pytest.raises(DatasetError, match="never came to its turn"):
        dataset.merge(USER, T, (), posts([1]), draft("a"))
    assert dataset.leftovers() == []


@pytest.mark.parametrize("times", [1, 1_000], ids=["once", "always"])
def test_a_disk_that_fails_behind_the_commit_does_not_undo_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    """The link is there, its directory cannot be synced: the data it names must stay."""
    dataset = prepare(tmp_path, 1)
    fsync = os.fsync
    failures = iter(range(times))

    def failing(handle: int) -> None:
        if "/receipts/" in os.readlink(f"/proc/self/fd/{handle}") and next(failures, None) is not None:
            raise OSError(5, "Input/output error")
        fsync(handle)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", failing)
        with pytest.raises(DatasetError, match="input/output error"):
            dataset.merge(USER, U, (), posts([7]), draft("lease"))
    assert_whole(dataset, [0, 7])


def test_everything_is_durable_before_it_is_relied_upon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Data and their name before the link, the link before the rename, the rename before the end."""
    trace: list[str] = []
    home = str(tmp_path)

    def traced(name: str) -> None:
        call = getattr(os, name)

        def recorded(first: Any, *rest: Any) -> Any:
            what = os.readlink(f"/proc/self/fd/{first}") if isinstance(first, int) else str(first)
            folder, _, file = what.removeprefix(f"{home}/").removeprefix(".tmatic/").partition("/")
            trace.append(f"{name} {folder}" + ("/*" if "." in file else ""))
            return call(first, *rest)

        monkeypatch.setattr(os, name, recorded)

    prepare(tmp_path, 1)
    for name in ("fsync", "link", "rename"):
        traced(name)
    FileDataset(tmp_path).merge(USER, U, (), posts([7]), draft("lease"))
    trace.remove("rename pending/*")  # the one of the generation before, which had been done
    assert trace == [
        "fsync pending/*",
        "fsync pending",
        "fsync pending/*",
        "link pending/*",
        "fsync receipts",
        "rename pending/*",
        "fsync 22",
    ]
