"""What the monitor asks of others: a master over its socket, and the index in its own words."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import zmq
from hypothesis import given, strategies as st

from protocol import messages as wire
from protocol.errors import LedgerError, TmaticError, UsageError
from protocol.settings.settings import Settings
from services.indexer.query import parse
from services.indexer.search import Search as Index
from services.monitor.index import MAX_BARS, IndexSearch, bars, query_of
from services.monitor.master import AskedMaster, job_name
from services.monitor.search import Question, question_of

LETTER = {"operation": "T", "user": "7", "tries": 5, "words": "gone", "cursor": "9", "records": 3}


@pytest.fixture
def master() -> Iterator[tuple[str, list[str]]]:
    """The address of something that answers as a master that leads, and what it was asked."""
    asked: list[str] = []
    context = zmq.Context()
    router = context.socket(zmq.ROUTER)
    port = router.bind_to_random_port("tcp://127.0.0.1")

    def answer() -> None:
        while True:
            who, *frames = router.recv_multipart()
            message = wire.decode(frames)
            assert isinstance(message, wire.Status)
            if message.question == "end":
                router.close(0)
                return
            asked.append(message.question)
            said: wire.Message = wire.Report(json.dumps({"role": "leading"}))
            if message.question.startswith("dead "):
                said = wire.Report(json.dumps({"dead": 1, "first": 0, "letters": [LETTER]}))
            elif message.question.endswith("T:404"):
                said = wire.Refused("command", "there is no such dead letter")
            elif message.question.endswith("T:silence"):
                continue
            router.send_multipart([who, *wire.encode(said)])

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    yield f"127.0.0.1:{port}", asked
    dealer = context.socket(zmq.DEALER)
    dealer.connect(f"tcp://127.0.0.1:{port}")
    dealer.send_multipart(wire.encode(wire.Status("end")))
    thread.join(5)
    dealer.close(0)
    context.term()


def test_dead_letters_are_asked_of_whoever_leads(master: tuple[str, list[str]]) -> None:
    address, asked = master
    found = AskedMaster([address]).dead(0, 50)
    assert found == [{"operation": "T", "user": "7", "tries": 5, "words": "gone", "cursor": "9"}]
    assert asked == ["where", "dead 0 50"]


def test_requeue_and_drop_name_the_job_and_a_no_is_told(master: tuple[str, list[str]]) -> None:
    address, asked = master
    assert AskedMaster([address]).requeue([("F", "22013880")]) == [""]
    told = AskedMaster([address]).drop([("T", "7"), ("T", "404"), ("X", "1"), ("A", "8")])
    assert asked == ["where", "requeue F:22013880", "where", "drop T:7", "drop T:404", "drop A:8"]
    assert [told[0], told[3]] == ["", ""]
    assert "no such dead letter" in told[1]
    assert "a job is an operation" in told[2]


@pytest.mark.slow
def test_no_master_is_said_in_words() -> None:
    with pytest.raises(LedgerError, match="no master answers"):
        AskedMaster(["127.0.0.1:1"]).dead(0, 10)
    with pytest.raises(LedgerError, match="no master answers"):
        AskedMaster(["127.0.0.1:1"]).drop([("T", "7")] * 200)


def test_a_master_that_falls_silent_is_asked_once_and_not_for_every_job(
    master: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.monitor.master.ANSWER_S", 0.5)
    address, asked = master
    told = AskedMaster([address]).drop([("T", "7"), ("T", "silence"), *[("A", str(user)) for user in range(198)]])
    assert asked == ["where", "drop T:7", "drop T:silence"]
    assert told[0] == ""
    assert len(told) == 200
    assert len(set(told[1:])) == 1
    assert "did not answer" in told[1]


@pytest.mark.parametrize("job", [("X", "1"), ("T", ""), ("", "1"), ("T", "a\nb"), ("T", "x" * 256)])
def test_what_is_no_job_never_reaches_a_master(job: tuple[str, str]) -> None:
    with pytest.raises(UsageError):
        job_name(*job)


@given(
    st.builds(
        Question,
        words=st.sampled_from(["", "rain", '"early train"', "#mare", "near:45,9,50"]),
        author=st.text(max_size=12).map(str.strip),
        hashtag=st.text(max_size=12).map(str.strip),
        language=st.text(max_size=4).map(str.strip),
        since=st.none() | st.floats(min_value=0, max_value=1e11),
        until=st.none() | st.floats(min_value=0, max_value=1e11),
        located=st.booleans(),
        oldest_first=st.booleans(),
    )
)
def test_every_form_is_a_query_or_a_sentence(question: Question) -> None:
    try:
        parse(query_of(question))
    except UsageError as error:
        assert str(error)


def test_the_form_says_what_it_means() -> None:
    question = Question(words="rain", author="ada", language="it", since=0, until=86_400, located=True)
    wanted = 'screen_name:"ada" lang:"it" from:1970/01/01T00:00:00 to:1970/01/01T23:59:59 has:location rain'
    assert query_of(question) == wanted
    assert query_of(replace(question, author="12")).startswith('user:"12"')


def test_a_quote_that_is_not_closed_leaves_the_filters_alone() -> None:
    filters = Question(author="ada", language="it", located=True)
    whole = parse(query_of(replace(filters, words='"rain snow')))
    assert set(parse(query_of(filters)).clauses) < set(whole.clauses)


@pytest.mark.parametrize(
    "asked",
    [
        {"count": "101"},
        {"first": "9999", "count": "20"},
        {"first": "-1"},
        {"since": "soon"},
        {"until": "nan"},
        {"sort": "best"},
        {"q": "x" * 501},
    ],
)
def test_a_form_that_asks_for_too_much_is_refused(asked: dict[str, str]) -> None:
    with pytest.raises(UsageError):
        question_of(asked)


@given(st.dictionaries(st.integers(0, 20_000), st.integers(1, 50), min_size=1, max_size=200))
def test_bars_count_every_post_once_and_are_few(days: dict[int, int]) -> None:
    counted = [(day * 86_400, posts) for day, posts in sorted(days.items())]
    found = bars(counted, 86_400)
    assert sum(posts for _, posts in found) == sum(days.values())
    assert len(found) <= MAX_BARS + 1
    widths = {later[0] - earlier[0] for earlier, later in pairwise(found)}
    assert len(widths) <= 1


def test_an_index_that_is_not_there_is_said_in_words(tmp_path: Path) -> None:
    settings = Settings(output_directory=tmp_path, index_directory=tmp_path / "index")
    with pytest.raises(TmaticError):
        IndexSearch(Index(settings)).search(Question())
