"""The one lock on files, and that one that fails says whose it is."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from protocol.errors import DatasetError, LedgerError, TmaticError
from services.indexer.engines.local_store import Lock
from services.indexer.index import IndexingError
from services.lookup.store import Store
from services.monitor.store import MonitorStore
from services.stats.recording.recording import Recording
from storage.locks import locked, take


def test_who_comes_second_gets_none_until_the_first_lets_go(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    first = locked(path, "the test")
    assert first is not None and locked(path, "the test") is None and locked(path, "the test", shared=True) is None
    first.close()
    second = locked(path, "the test")
    assert second is not None
    second.close()


def test_an_inherited_copy_keeps_the_lock(tmp_path: Path) -> None:
    lock = locked(tmp_path / "lock", "the test")
    assert lock is not None
    copy = os.dup(lock.fileno())
    lock.close()
    assert locked(tmp_path / "lock", "the test") is None
    os.close(copy)
    again = locked(tmp_path / "lock", "the test")
    assert again is not None
    again.close()


def test_of_those_who_share_the_last_one_gets_it_alone(tmp_path: Path) -> None:
    first, second = (locked(tmp_path / "lock", "the test", shared=True) for _ in range(2))
    assert first is not None and second is not None
    assert not take(first.fileno())
    first.close()
    assert take(second.fileno())
    second.close()


def test_a_lock_that_fails_says_whose_it_is_in_its_users_error(tmp_path: Path) -> None:
    path = tmp_path / "gone" / "owner.lock"
    with pytest.raises(LedgerError) as told:
        locked(path, "the ledger", failure=LedgerError)
    assert str(told.value) == f"cannot lock {path} for the ledger: No such file or directory: is its directory gone?"
    with pytest.raises(DatasetError, match="for the test"):
        locked(tmp_path, "the test")


@pytest.mark.parametrize(
    ("hold", "lock", "raised", "words"),
    [
        (Lock, "writer.lock", IndexingError, "for the index"),
        (lambda path: Store(path / "file"), "file.lock", DatasetError, "for the lookup's database"),
        (lambda path: MonitorStore(path / "file"), "file.lock", DatasetError, "for the monitor's file"),
        (lambda path: Recording(path / "file"), "file", DatasetError, "cannot open"),
    ],
)
def test_each_service_names_its_own(
    tmp_path: Path, hold: Callable[[Path], object], lock: str, raised: type[TmaticError], words: str
) -> None:
    (tmp_path / lock).mkdir()
    with pytest.raises(raised, match=words) as told:
        hold(tmp_path)
    assert "ledger" not in str(told.value)
