"""What `tmatic-stats collect` makes of a crawl: each result once, and totals that are the dataset's."""

from __future__ import annotations

import re
import time
from collections import Counter
from pathlib import Path
from urllib.parse import unquote

import pytest
from hypothesis import given, settings, strategies as st

from protocol.errors import UsageError
from protocol.jobs import Operation, Outcome
from services.stats.collecting import GATHER_S, UNHEARD, Collecting
from services.stats.metrics import MAX_PART_LENGTH, TABLE, part, samples, shown
from services.stats.recording.points import Oddities, Point, points_of
from services.stats.recording.recording import Recording
from services.stats.scrape import _label
from services.subscriber.consumer import Event, Position
from storage.dataset.files.dataset import FileDataset
from storage.dataset.receipts import ReceiptDraft
from tests.services.stats.crawls import NAMES, Crawl
from tests.storage.dataset.pages import followers, posts

NOW = 1_790_000_000


def read(path: Path) -> list[Point]:
    return list(points_of(path, Oddities()))


def results(path: Path) -> Counter[str]:
    """The sum of the records of results, by operation."""
    found: Counter[str] = Counter()
    for point in read(path):
        if point.name.startswith("stats.ops."):
            found[point.name.split(".")[2]] += int(point.value)
    return found


def collector(recording: Recording, crawl: Crawl) -> Collecting:
    return Collecting(recording, FileDataset(recording.path.parent / "data"), "main", clock=crawl.clock)


def test_a_second_of_a_crawl_becomes_the_originals_lines_and_ours(tmp_path: Path) -> None:
    crawl, path = Crawl(now=NOW), tmp_path / "crawl.gz"
    with Recording(path) as recording:
        consumer = collector(recording, crawl)
        consumer.apply([crawl.result("T", "7", 200, "worker-012")], crawl.position())
        consumer.apply([crawl.event("job.failed", ["F", "8", 1, "no", "w"])], crawl.position())
        for name in ("m0", "m1"):
            consumer.apply([crawl.event("master.leads", [name, 1, "why"])], crawl.position())
        consumer.hear("stats.gauges", crawl.document())
        consumer.flush()
    lines = {point.name: point.line().decode() for point in read(path)}
    for line in (
        f"stats.ops.timeline.worker-012 200 {NOW}\n",
        f"timeline.total_included 200 {NOW}\n",
        f"timeline.total_fetched 0 {NOW}\n",
        f"stats.pages.timeline 5 {NOW}\n",
        f"follower.total_fetched 0 {NOW}\n",
        f"analyzer.total_included 44 {NOW}\n",
        f"update.total_included 0 {NOW}\n",
        f"stats.worker.ongoing.analyzer 2 {NOW}\n",
        f"stats.worker.completed.update 0 {NOW}\n",
        f"stats.rate.records 1234.1 {NOW}\n",
        f"stats.jobs.failed.follower 1 {NOW}\n",
        f"stats.leader.takeovers 1 {NOW}\n",
        f"stats.lag.lookup 12 {NOW}\n",
        f"stats.budget.twitter~7C10~2E0~2E0~2E1~7Cstatuses~2Fuser_timeline.resets_in 33.3 {NOW}\n",
        f"stats.workers.active 1 {NOW}\n",
    ):
        assert lines[line.split()[0]] == line
    assert "stats.budget.twitter~7Capp~7Cunknown.limit" not in lines
    assert len(lines) == len(read(path))


@settings(max_examples=25, deadline=None)
@given(
    batches=st.lists(st.integers(1, 5), min_size=1, max_size=8),
    deaths=st.lists(st.integers(0, 400), max_size=6),
    seed=st.integers(0, 99),
)
def test_killed_anywhere_each_result_is_there_once(
    tmp_path_factory: pytest.TempPathFactory, batches: list[int], deaths: list[int], seed: int
) -> None:
    """A kill is a file that is cut somewhere behind what was durable: at each death up to so many bytes are lost."""
    crawl = Crawl(now=NOW, seed=seed)
    path = tmp_path_factory.mktemp("kills") / "crawl.gz"
    events = [crawl.result("TFA"[n % 3], str(n), n + 1) for n in range(sum(batches))]
    fates = iter(deaths)
    done = False
    while not done:
        recording = Recording(path)
        consumer = collector(recording, crawl)
        position = consumer.position()
        at = position.sequence if position else 0
        fate = next(fates, None)
        for size in batches:
            part_of = [event for event in events if event.sequence > at][:size]
            if not part_of:
                break
            at = part_of[-1].sequence
            crawl.now += 1
            consumer.hear("stats.gauges", crawl.document())
            consumer.apply(part_of, Position("00112233aabbccdd", "beef", at))
            if fate is not None:
                break
        done = at == len(events)
        recording.close()
        if fate is not None:
            with path.open("r+b") as file:
                file.truncate(max(0, path.stat().st_size - fate))
            done = False
    assert results(path) == {
        name: count
        for letter, name in NAMES.items()
        if (count := sum(event.record[3] for event in events if event.record[0] == letter))
    }
    with Recording(path) as recording:
        assert recording.counts.records[Operation.TIMELINE] == results(path)["timeline"]


def stored(dataset: FileDataset, letter: str, user: str, count: int) -> None:
    """A job that is done and merged, with so many records."""
    finished = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(NOW))
    page = (followers if letter == "F" else posts)(range(1, count + 1))
    dataset.merge(user, Operation(letter), (), page, ReceiptDraft("main", tokens=(f"t-{user}",), finished=finished))


def test_started_late_it_has_what_the_dataset_has_and_counts_nothing_twice(tmp_path: Path) -> None:
    crawl, path = Crawl(now=NOW), tmp_path / "crawl.gz"
    dataset = FileDataset(tmp_path / "data")
    for user in range(5):
        stored(dataset, "T", str(user), 10 + user)
        stored(dataset, "F", str(user), 3)
    stored(dataset, "U", "77", 4)
    dataset.merge("1", Operation.FOLLOWER, (), followers(range(50)), ReceiptDraft("another", tokens=("x",)))
    with Recording(path) as recording:
        consumer = collector(recording, crawl)
        crawl.sequence = 9
        consumer.resynchronise(crawl.position())
    assert results(path) == {"timeline": 60, "follower": 12, "update": 4}
    assert {point.name.split(".")[3] for point in read(path)} == {UNHEARD}
    with Recording(path) as recording:
        consumer = collector(recording, crawl)
        assert consumer.position() == crawl.position()
        # These were in the dataset before they were announced; user 9 was not.
        consumer.apply([crawl.result("T", "4", 14), crawl.result("F", "4", 3)], crawl.position())
        consumer.apply([crawl.result("U", "77", 4), crawl.result("T", "9", 100)], crawl.position())
        # Fallen behind once more, and nothing is new.
        stored(dataset, "T", "9", 100)
        consumer.resynchronise(crawl.position())
    assert results(path) == {"timeline": 160, "follower": 12, "update": 4}
    with Recording(path) as recording:
        assert recording.counts.results[Operation.TIMELINE] == 6
        # The account is updated again, and that is another result.
        collector(recording, crawl).apply([crawl.result("U", "77", 2, token="t-2")], crawl.position())
    assert results(path)["update"] == 6


def test_a_history_that_was_rolled_back_and_done_again_changes_no_total(tmp_path: Path) -> None:
    crawl, path = Crawl(now=NOW), tmp_path / "crawl.gz"
    dataset = FileDataset(tmp_path / "data")
    with Recording(path) as recording:
        consumer = collector(recording, crawl)
        for user in ("1", "2"):
            stored(dataset, "T", user, 10)
            consumer.apply([crawl.result("T", user, 10)], crawl.position())
        crawl.sequence = 1
        consumer.resynchronise(crawl.position())
        consumer.apply([crawl.result("T", "2", 10)], crawl.position())
    assert results(path) == {"timeline": 20}


def test_an_analysis_that_comes_again_with_its_list_is_counted_though_its_first_end_was_in_the_dataset(
    tmp_path: Path,
) -> None:
    crawl, path = Crawl(now=NOW), tmp_path / "crawl.gz"
    dataset = FileDataset(tmp_path / "data")
    dataset.record_outcome("1", Operation.ANALYSE, ReceiptDraft("main", Outcome.NO_LIST, tokens=("t-1",)))
    with Recording(path) as recording:
        consumer = collector(recording, crawl)
        consumer.resynchronise(crawl.position())
        consumer.apply([crawl.event("job.done", ["A", "1", "no-list", 0, 0, "", "w", "t-1"])], crawl.position())
        consumer.apply([crawl.result("F", "1", 3), crawl.result("A", "1", 2, token="t-2")], crawl.position())
        assert recording.counts.records[Operation.ANALYSE] == 2
        assert recording.counts.results[Operation.ANALYSE] == 1
    assert results(path) == {"follower": 3, "analyzer": 2}


def recorded_under_one_ledger(path: Path, crawl: Crawl, dataset: FileDataset) -> None:
    with Recording(path) as recording:
        consumer = collector(recording, crawl)
        for user in ("1", "2"):
            stored(dataset, "T", user, 10)
            consumer.apply([crawl.result("T", user, 10, token=f"beef:{user}")], crawl.position())


def receipt_of_a_lease(dataset: FileDataset, user: str, token: str) -> None:
    dataset.merge(user, Operation.TIMELINE, (), posts(range(1, 11)), ReceiptDraft("main", tokens=(token,)))


OTHER = Position("ffeeddccbbaa9988", "cafe", 3)


@pytest.mark.parametrize("results", [1, 2, 50])
def test_a_recording_of_another_crawl_is_refused_and_stays_as_it_is(tmp_path: Path, results: int) -> None:
    crawl, path = Crawl(now=NOW), tmp_path / "crawl.gz"
    recorded_under_one_ledger(path, crawl, FileDataset(tmp_path / "first"))
    before = path.read_bytes()
    dataset = FileDataset(tmp_path / "data")
    for user in range(1, 1 + results):
        receipt_of_a_lease(dataset, str(user), f"cafe:{user}")
    with Recording(path) as recording:
        consumer = collector(recording, crawl)
        consumer.hear("stats.gauges", {**crawl.document(), "ledger": OTHER.ledger})
        words = (
            f"crawl.gz records another crawl .ledger 00112233aabbccdd, and this one is {OTHER.ledger}.: name another"
        )
        with pytest.raises(UsageError, match=words):
            consumer.resynchronise(OTHER)
        consumer.flush()
    assert path.read_bytes() == before


@pytest.mark.parametrize("late", [False, True])
def test_a_recording_goes_on_when_its_crawl_is_given_another_ledger(tmp_path: Path, late: bool) -> None:
    crawl, path = Crawl(now=NOW), tmp_path / "crawl.gz"
    dataset = FileDataset(tmp_path / "data")
    for user in ("1", "2"):
        receipt_of_a_lease(dataset, user, f"beef:{user}")
    with Recording(path) as recording:
        consumer = collector(recording, crawl)
        if late:
            consumer.resynchronise(crawl.position())
        else:
            consumer.apply([crawl.result("T", user, 10, token=f"beef:{user}") for user in "12"], crawl.position())
    receipt_of_a_lease(dataset, "3", "cafe:3")
    with Recording(path) as recording:
        consumer = collector(recording, crawl)
        consumer.resynchronise(OTHER)
        again = [Event(n, "job.done", ["T", str(n), "complete", 10, 0, "", "w", f"cafe:{n}"]) for n in (1, 2, 3)]
        consumer.apply(again, Position(OTHER.ledger, OTHER.incarnation, 9))
        consumer.hear("stats.gauges", {**crawl.document(), "ledger": OTHER.ledger})
        consumer.flush()
        assert recording.counts.results[Operation.TIMELINE] == 3
    assert results(path) == {"timeline": 30}
    assert any(point.name == "stats.accounts" for point in read(path))


def test_gauges_share_a_commit_and_wait_no_longer_than_told(tmp_path: Path) -> None:
    crawl = Crawl(now=NOW)
    with Recording(tmp_path / "crawl.gz") as recording:
        ends: list[int] = []
        consumer = Collecting(recording, FileDataset(tmp_path / "data"), "main", grown=ends.append, clock=crawl.clock)
        for _ in range(GATHER_S):
            crawl.now += 1
            consumer.hear("stats.gauges", crawl.document())
            consumer.hear("stats.gauges", crawl.document())
        assert ends == []
        crawl.now += 1
        consumer.tick()
        assert ends == [recording.end]
        times = [point.at for point in read(recording.path) if point.name == "stats.accounts"]
        assert times == list(range(NOW + 1, NOW + 1 + GATHER_S))
        crawl.now += 1
        consumer.hear("stats.gauges", crawl.document())
        crawl.now -= 86_400  # The clock is set back.
        consumer.tick()
        assert len(ends) == 2


def test_a_position_is_kept_though_nothing_happened(tmp_path: Path) -> None:
    crawl = Crawl(now=NOW)
    with Recording(tmp_path / "crawl.gz") as recording:
        consumer = collector(recording, crawl)
        crawl.sequence = 17
        consumer.apply([], crawl.position())
        end = recording.end
        consumer.apply([], crawl.position())
        assert recording.end == end
    with Recording(tmp_path / "crawl.gz") as recording:
        assert recording.position == crawl.position()


STRANGE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.just(10**400) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=80, deadline=None)
@given(
    topic=st.sampled_from(["job.done", "job.failed", "master.leads", "master.repaired", "job.x"]),
    record=st.lists(STRANGE, max_size=8),
)
def test_a_strange_event_ends_nothing(
    tmp_path_factory: pytest.TempPathFactory, topic: str, record: list[object]
) -> None:
    crawl = Crawl(now=NOW)
    with Recording(tmp_path_factory.mktemp("strange") / "crawl.gz") as recording:
        collector(recording, crawl).apply([Event(1, topic, record)], Position("c", "i", 1))
        assert recording.position == Position("c", "i", 1)


@settings(max_examples=150, deadline=None)
@given(
    key=st.sampled_from([*Crawl(now=0).document()]), value=STRANGE, deeper=st.dictionaries(st.text(max_size=5), STRANGE)
)
def test_a_strange_document_makes_no_strange_line(key: str, value: object, deeper: dict[str, object]) -> None:
    document = {**Crawl(now=0).document(), key: value, "budgets": deeper}
    for sample in samples(document):
        line = f"{sample.name} {shown(sample.value)} {NOW}"
        assert re.fullmatch(r"[A-Za-z0-9_.~-]+ -?[0-9.e+-]+ [0-9]+", line), line


ANY_NAME = st.one_of(
    st.text(max_size=300),
    st.text("w1._~-2E%/ é\udc80", max_size=8),
    st.text("w1._~-", min_size=150, max_size=300),
)


@given(ANY_NAME)
def test_any_name_is_one_part_of_a_name_in_graphite_and_is_read_back(name: str) -> None:
    said = part(name)
    assert re.fullmatch(r"[A-Za-z0-9_~-]+", said) and len(said) <= MAX_PART_LENGTH
    if "~-" not in said:
        assert (said == "~") == (name == "")
        assert name == "" or unquote(said.replace("~", "%"), errors="surrogatepass") == name


@given(st.lists(ANY_NAME, unique=True, max_size=50))
def test_two_names_never_become_one(names: list[str]) -> None:
    assert len({part(name) for name in names}) == len({_label(name) for name in names}) == len(names)


@pytest.mark.parametrize(
    ("one", "other"),
    [("w.1", "w_1"), ("w/1", "w.1"), ("", "_"), ("w~2E1", "w.1"), ("x" * 500, "x" * 501), ("é" * 99, "é" * 98 + "è")],
)
def test_names_that_were_alike_before_are_told_apart(one: str, other: str) -> None:
    assert part(one) != part(other)
    assert _label(one) != _label(other)


def test_names_that_graphite_can_have_stay_as_they_are() -> None:
    assert part("worker-012") == "worker-012" and part("w_1") == "w_1"
    assert part("host.example 1/2") == "host~2Eexample~201~2F2"
    assert _label("host.example 1/2") == "host.example 1/2"
    assert len(part("x" * 500)) == MAX_PART_LENGTH and len(part("." * 500)) <= MAX_PART_LENGTH
    assert (shown(3), shown(3.0), shown(0.1), shown(1e22)) == ("3", "3", "0.1", "10000000000000000000000")


def test_every_metric_of_the_table_says_what_it_is() -> None:
    for row in TABLE:
        assert row.help.endswith(".")
        assert re.fullmatch(r"tmatic_[a-z_]+", row.scraped)
