"""What threads tell a loop wakes its poller, and nothing is lost."""

from __future__ import annotations

import select
import threading

import pytest

from protocol.mailbox import Mailbox


def is_readable(box: Mailbox[int], within_s: float = 0.0) -> bool:
    """Whether a poller would wake."""
    return bool(select.select([box], [], [], within_s)[0])


def test_it_is_readable_while_there_is_something_to_take() -> None:
    box: Mailbox[int] = Mailbox()
    assert not is_readable(box)
    for number in range(3):
        box.tell(number)
    for number in range(3):
        assert is_readable(box)
        assert box.take() == number
    assert not is_readable(box)
    with pytest.raises(IndexError):
        box.take()


def test_all_are_taken_at_once_and_the_next_wakes_again() -> None:
    box: Mailbox[int] = Mailbox()
    for number in range(3):
        box.tell(number)
    assert list(box.take_all()) == [0, 1, 2] and not is_readable(box)
    assert list(box.take_all()) == []
    box.tell(3)
    assert is_readable(box) and box.take() == 3


def test_a_byte_from_outside_wakes_it_until_all_is_taken() -> None:
    box: Mailbox[int] = Mailbox()
    box.writing.send(b"\0")
    assert is_readable(box)
    assert list(box.take_all()) == [] and not is_readable(box)


def test_more_wakes_than_the_descriptor_holds_block_nobody() -> None:
    box: Mailbox[int] = Mailbox()
    with pytest.raises(BlockingIOError):
        while True:
            box.writing.send(b"\0" * 4096)
    box.tell(1)
    assert is_readable(box) and list(box.take_all()) == [1] and not is_readable(box)


@pytest.mark.parametrize("at_once", [True, False])
def test_of_what_several_threads_tell_nothing_is_lost_and_each_keeps_its_order(at_once: bool) -> None:
    box: Mailbox[int] = Mailbox()

    def tell(first: int) -> None:
        for number in range(first, first + 500):
            box.tell(number)

    threads = [threading.Thread(target=tell, args=(first,)) for first in range(0, 2000, 500)]
    for thread in threads:
        thread.start()
    got: list[int] = []
    while len(got) < 2000:
        assert is_readable(box, 30.0)
        got += box.take_all() if at_once else [box.take()]
    for thread in threads:
        thread.join()
    assert sorted(got) == list(range(2000))
    assert all([n for n in got if n // 500 == of] == list(range(500 * of, 500 * of + 500)) for of in range(4))
