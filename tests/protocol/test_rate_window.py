"""What is known of a window: each word of the service counts for what it can mean, and for no more."""

from __future__ import annotations

from protocol.rate_window import Window
from protocol.records import BudgetReport


def word(remaining: int, name: int, lasts_s: float, limit: int = 15) -> BudgetReport:
    return BudgetReport("who", "endpoint", limit, remaining, name, int(lasts_s * 1000))


def window(remaining: int = 5) -> Window:
    """One that is called 1000, and over at 10."""
    made = Window()
    made.hear(0.0, word(remaining, 1000, 10))
    return made


def known(one: Window, now: float) -> tuple[int | None, float | None, bool]:
    """What is left, until when, and whether it rests."""
    one.pass_time(now)
    return one.remaining, one.ends_at, one.resting(now)


def test_words_of_one_name_give_the_lower_count_and_the_earlier_end() -> None:
    one = window()
    one.hear(1.0, word(7, 1000, 10))
    assert known(one, 1.0) == (5, 10.0, False)
    one.hear(2.0, word(3, 1000, 7))
    assert known(one, 2.0) == (3, 9.0, False)
    assert known(one, 9.0) == (15, None, False)


def test_the_later_of_two_ends_that_jitter_holds_whoever_speaks_last() -> None:
    one = window()
    one.hear(1.0, word(7, 1001, 10))
    one.hear(1.0, word(4, 1000, 9))
    one.hear(1.0, word(3, 1000, 9))
    assert known(one, 1.0) == (3, 11.0, False)


def test_a_later_name_is_a_later_window_only_where_it_also_ends_later() -> None:
    one = window()
    one.hear(1.0, word(9, 4600, 9))
    assert known(one, 1.0) == (5, 10.0, False), "the clock was set forward"
    one.hear(9.0, word(14, 4610, 10))
    assert known(one, 9.0) == (14, 19.0, False)


def test_a_name_that_jitters_does_not_make_a_later_window_of_one_whose_end_is_told_too_late() -> None:
    one = window()
    one.hear(1.0, word(9, 1001, 13))
    assert known(one, 1.0) == (5, 14.0, False)


def test_an_earlier_name_counts_where_it_ends_with_the_window_that_runs_or_later() -> None:
    one = window()
    one.hear(1.0, word(4, 400, 9))
    assert known(one, 1.0) == (4, 10.0, False)
    one.hear(2.0, word(9, 410, 12))
    assert known(one, 2.0) == (4, 14.0, False)


def test_a_word_that_ends_well_before_the_window_that_runs_rests_until_then() -> None:
    for name in (400, 4600):
        one = window()
        one.hear(1.0, word(0, name, 3))
        assert known(one, 3.9) == (5, 10.0, True)
        assert known(one, 4.0) == (5, 10.0, False)


def test_the_last_name_again_is_a_window_of_its_own_where_it_ends_later() -> None:
    one = window()
    assert known(one, 10.0) == (15, None, False)
    one.hear(10.5, word(3, 1000, 1))
    assert known(one, 10.5) == (15, None, True)
    one.hear(12.0, word(2, 1000, 10))
    assert known(one, 12.0) == (2, 22.0, False)


def test_any_other_name_is_a_new_window_once_one_is_over_however_short_it_is() -> None:
    for name in (400, 1002):
        one = window()
        one.hear(10.0, word(6, name, 2))
        assert known(one, 10.0) == (6, 12.0, False)


def test_an_answer_that_took_long_moves_no_end_and_begins_no_window() -> None:
    one = window()
    one.hear(8.0, word(4, 1000, 10), latency=8.0)
    assert known(one, 8.0) == (4, 10.0, False)
    one.hear(8.0, word(9, 4600, 10), latency=8.0)
    assert known(one, 8.0)[0] == 4
    one = window()
    one.hear(13.0, word(0, 1000, 10), latency=13.0)
    assert known(one, 13.0) == (15, None, True)


def test_no_more_is_left_than_the_limit() -> None:
    assert window(99).remaining == 15


def test_a_rest_is_over_when_the_longest_is_and_the_reset_tells_of_both() -> None:
    def resets_at() -> float | None:
        return one.resets_at

    one = Window()
    assert resets_at() is None
    one.rest(3.0)
    one.rest(2.0)
    assert (one.resting(2.9), one.resting(3.0), resets_at()) == (True, False, 3.0)
    one.hear(1.0, word(5, 1000, 10))
    assert resets_at() == 11.0
    one.rest(20.0)
    assert resets_at() == 20.0
    one.pass_time(20.0)
    assert resets_at() is None


def test_words_of_a_window_whose_place_a_later_one_took_bring_no_rest() -> None:
    """A service that was started again begins all windows anew; what was heard before is told for a while yet."""
    one = window(7)
    assert one.hear(5.0, word(9, 1005, 10)), "it began anew"
    one.hear(6.0, word(6, 1000, 4))
    assert known(one, 6.0) == (6, 15.0, False)
    one.hear(7.0, word(6, 960, 4))
    assert known(one, 7.0) == (6, 15.0, True), "nobody knows that one"


def test_words_of_the_window_before_a_restart_of_two_seconds_bring_no_rest() -> None:
    """Too short a time to tell a later window from a reset that jitters: the name changes, and the former one is told
    for a while yet, by whoever has not heard the later one."""
    one = window(7)
    end = one.ends_at
    assert end is not None
    one.hear(5.0, word(7, 1002, end + 2.4 - 5.0))
    one.hear(6.0, word(7, 1000, end - 6.0))
    assert not one.resting(6.0)
