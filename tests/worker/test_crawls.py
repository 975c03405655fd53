"""Workers as processes, with a real master and a real ledger, against an emulated service that has its bad days."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from pathlib import Path

import pytest
import requests

from protocol.jobs import CHAIN_ORDER, Operation, Outcome
from storage.dataset.files.dataset import FileDataset
from storage.dataset.interface import RecordKind
from tests.services.emulator.running import Running, emulator
from tests.waiting import until
from tests.worker.running import Crawl, Process, crawl, ids_of

WORLD = ("--users", "300", "--seed", "5")
FAULTS = "http500=0.05,http503=0.02,reset=0.03,truncate=0.03,slow=0.05,slow_s=0.1,repeat_cursor=0.02,short_page=0.2"
SMALL_PAGES = ("--page-cap", "50")  # for lists and timelines; lookups are in hundreds all the same
PATIENT = ("--faults", "slow=1,slow_s=0.02")
QUICK_RETRY = ("--retry-base-s", "0.2")
WITHIN_S = 60.0

pytestmark = pytest.mark.slow


def check_exact(world: Running, running: Crawl, users: Sequence[int], *, swept: bool = True) -> None:
    """Timelines, lists and profiles are the world's, each record once, in its order.

    `swept`: nothing is left of segments. A killed process leaves those of which the ledger never heard.
    """
    dataset = FileDataset(running.data)
    described: dict[int, bool] = {}

    def has_profile(user: int) -> bool:
        if user not in described:
            describe = f"/1.1/users/show.json?user_id={user}"
            status = until(lambda: sound_status(world, describe), WITHIN_S, expecting=requests.RequestException)
            described[user] = status == 200
        return described[user]

    for user in users:
        truth = world.truth(f"account/{user}")
        posts, list_of, profiles = (
            list(dataset.lines(str(user), kind))
            for kind in (RecordKind.TIMELINE, RecordKind.FOLLOWERS, RecordKind.PROFILES)
        )
        public = truth["state"] == "public"
        wanted = [str(one) for one in truth["post_ids"]] if public else []
        assert [_id(line) for line in posts] == wanted, user
        followers = truth["followers"] if public else []
        assert [int(line) for line in list_of] == followers, user
        assert [int(_id(line)) for line in profiles] == [one for one in followers if has_profile(one)], user
        for operation in CHAIN_ORDER:
            receipt = dataset.receipt(str(user), operation)
            assert receipt is not None, (user, operation)
            if not public:
                outcome = Outcome.NO_LIST if operation is Operation.ANALYSE else None
                assert receipt.outcome is (outcome or receipt.outcome)
                assert receipt.outcome is not Outcome.COMPLETE
            else:
                assert receipt.outcome is Outcome.COMPLETE
    assert not (swept and list(dataset.segments()))


def sound_status(world: Running, path: str) -> int:
    """The status of an answer that no fault was in, 0 for any other."""
    status = world.get(path).status_code
    return status if status < 500 else 0


def _id(line: bytes) -> str:
    return line.partition(b'"id_str":"')[2].partition(b'"')[0].decode()


def finish(running: Crawl, master: Process, *workers: Process) -> None:
    """Wait until the crawl is over, and everyone left by itself."""
    assert master.wait() == 0, master.said()
    for worker in workers:
        assert worker.wait(WITHIN_S) == 0, worker.said()


def asked(world: Running) -> int:
    return int(world.truth("requests")["total"])


@pytest.mark.slow
def test_a_crawl_under_faults_comes_back_exact(tmp_path: Path) -> None:
    with emulator(*WORLD, *SMALL_PAGES, "--faults", FAULTS) as world, crawl(tmp_path, world) as running:
        users = ids_of(world)[:40]
        master = running.master("-T", "-F", "-A", *QUICK_RETRY, users=users)
        finish(running, master, *(running.worker(name) for name in ("w1", "w2")))
        check_exact(world, running, users)


def test_limits_are_kept_and_calls_leave_from_the_addresses(tmp_path: Path) -> None:
    addresses = [f"127.0.0.{n}" for n in range(2, 6)]
    bound = [word for address in addresses for word in ("--bind-ip", address)]
    with (
        emulator(*WORLD, *SMALL_PAGES, "--limits", "T=40,F=15,A=40/1s") as world,
        crawl(tmp_path, world) as running,
    ):
        users = ids_of(world)[:40]
        master = running.master("-T", "-F", "-A", users=users)
        finish(running, master, running.worker("w1", *bound))
        check_exact(world, running, users)
        told = world.truth("requests")
        assert told["beyond_budget"] == 0
        used = set(told["by_caller"]["followers/ids"]) - {"address:127.0.0.1"}  # the test's own
        assert len(used) > 1
        assert used <= {f"address:{one}" for one in addresses}


def test_a_worker_that_is_told_to_stop_gives_back_what_it_has(tmp_path: Path) -> None:
    with emulator(*WORLD, *SMALL_PAGES, *PATIENT) as world, crawl(tmp_path, world) as running:
        users = ids_of(world)[:15]
        master = running.master("-T", "-F", "-A", users=users)
        first = running.worker("w1")
        until(lambda: asked(world) > 60, WITHIN_S)
        first.interrupt()
        assert first.wait(30.0) == 0
        assert "jobs_not_given_back=0" in first.said()
        finish(running, master, running.worker("w2", "--concurrency", "20"))
        check_exact(world, running, users)
        assert world.truth("requests")["answered_again"] == 0


def test_a_second_signal_stops_at_once_and_loses_nothing(tmp_path: Path) -> None:
    with emulator(*WORLD, *SMALL_PAGES, "--faults", "slow=1,slow_s=1.5") as world, crawl(tmp_path, world) as running:
        users = ids_of(world)[:8]
        master = running.master("-T", users=users)
        worker = running.worker()
        until(lambda: asked(world) >= 8, WITHIN_S)
        worker.interrupt()
        until(lambda: "told to stop" in worker.said(), WITHIN_S)
        worker.process.send_signal(signal.SIGINT)
        assert worker.wait(10.0) == 130
        assert master.process.poll() is None
        world.process.kill()  # what is left is another test's


@pytest.mark.slow
def test_a_killed_worker_costs_at_most_a_page_of_each_job(tmp_path: Path) -> None:
    with emulator(*WORLD, *SMALL_PAGES, *PATIENT) as world, crawl(tmp_path, world) as running:
        users = ids_of(world)[:15]
        master = running.master("-T", "-F", "-A", "--worker-timeout-s", "4", users=users)
        first = running.worker("w1", "--concurrency", "8")
        until(lambda: asked(world) > 60, WITHIN_S)
        first.process.kill()
        first.wait()
        finish(running, master, running.worker("w1", "--concurrency", "20"))
        check_exact(world, running, users, swept=False)
        assert world.truth("requests")["answered_again"] <= 8


@pytest.mark.slow
def test_a_worker_outlives_its_master_and_goes_on_with_the_next(tmp_path: Path) -> None:
    with emulator(*WORLD, *SMALL_PAGES, *PATIENT) as world, crawl(tmp_path, world) as running:
        users = ids_of(world)[:15]
        first = running.master("-T", "-F", "-A", users=users)
        worker = running.worker("w1")
        until(lambda: asked(world) > 60, WITHIN_S)
        first.process.kill()
        first.wait()
        second = running.master("-T", "-F", "-A", users=users)
        finish(running, second, worker)
        check_exact(world, running, users, swept=False)
        assert world.truth("requests")["answered_again"] <= 8


def test_an_update_brings_only_what_is_newer(tmp_path: Path) -> None:
    with emulator(*WORLD, "--withhold", "7") as world, crawl(tmp_path, world) as running:
        users = [user for user in ids_of(world)[:40] if world.truth(f"account/{user}")["state"] == "public"][:10]
        finish(running, running.master("-T", users=users), running.worker())
        before = asked(world)
        assert before
        assert requests.post(f"{world.url}/_truth/withhold?newest=0", timeout=WITHIN_S).status_code == 200
        finish(running, running.master("-U", users=users), running.worker())
        dataset = FileDataset(running.data)
        for user in users:
            truth = [str(one) for one in world.truth(f"account/{user}")["post_ids"]]
            assert [_id(line) for line in dataset.lines(str(user), RecordKind.TIMELINE)] == truth
            receipt = dataset.receipt(str(user), Operation.UPDATE)
            assert receipt is not None
            assert receipt.received == min(7, len(truth))
        assert asked(world) - before == 2 * len(users) - sum(
            not world.truth(f"account/{user}")["post_ids"] for user in users
        )


def test_a_name_that_is_in_use_is_refused_in_words(tmp_path: Path) -> None:
    with emulator(*WORLD, *SMALL_PAGES, "--faults", "slow=1,slow_s=1") as world, crawl(tmp_path, world) as running:
        running.master("-T", users=ids_of(world)[:40])
        first = running.worker("w1")
        until(lambda: "a master leads" in first.said(), WITHIN_S)
        second = running.worker("w1")
        assert second.wait(WITHIN_S) == 1
        assert "w1" in second.said().splitlines()[-1]
        assert "Traceback" not in second.said()
        assert first.process.poll() is None


@pytest.mark.parametrize(
    ("name", "flags", "words"),
    [
        ("a b", (), "NAME must be"),
        ("w", ("--follow-rule", "lang =="), "--follow-rule"),
        ("w", ("--bind-ip", "9.9.9.9"), "9.9.9.9"),
        ("w", ("--concurrency", "0"), "--concurrency"),
        ("w", ("--master", "nowhere"), "--master"),
    ],
)
def test_a_wrong_flag_is_one_sentence_and_exit_2(tmp_path: Path, name: str, flags: tuple[str, ...], words: str) -> None:
    running = Crawl(tmp_path, "http://127.0.0.1:9", port=9)
    worker = running.worker(name, *flags)
    assert worker.wait(WITHIN_S) == 2
    said = worker.said().strip()
    assert words in said
    assert "\n" not in said
