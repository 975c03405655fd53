"""The emulator on its socket: a real process, and clients that are in a hurry, slow, rude or gone."""

from __future__ import annotations

import http.client
import signal
import socket
import time
from collections.abc import Iterator

import pytest
import requests
from requests.adapters import HTTPAdapter

from services.emulator.server import MAX_BODY_BYTES, MAX_HEAD_BYTES
from tests.services.emulator.running import TIMEOUT_S, Running, emulator

pytestmark = pytest.mark.slow

HUB = 12


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    with emulator("--users", "500", "--seed", "3") as one:
        yield one


def talk(running: Running, sent: bytes, *, half_close: bool = False) -> bytes:
    """Everything that comes back until the emulator closes, or one second passes in silence."""
    with socket.create_connection(("127.0.0.1", running.port), timeout=1) as sock:
        sock.sendall(sent)
        if half_close:
            sock.shutdown(socket.SHUT_WR)
        got = b""
        while True:
            try:
                part = sock.recv(1 << 20)
            except (TimeoutError, ConnectionResetError):
                return got
            if not part:
                return got
            got += part


def test_pipelined_requests_are_answered_in_their_order(running: Running) -> None:
    users = running.truth("ids?count=200")["ids"]
    sent = b"".join(b"GET /_truth/account/%d HTTP/1.1\r\nHost: x\r\n\r\n" % user for user in users[:50])
    with socket.create_connection(("127.0.0.1", running.port), timeout=TIMEOUT_S) as sock:
        sock.sendall(sent)
        with sock.makefile("rb") as stream:
            for user in users[:50]:
                assert stream.readline() == b"HTTP/1.1 200 OK\r\n"
                headers = http.client.parse_headers(stream)
                assert b'{"id":%d,' % user in stream.read(int(str(headers["content-length"])))


def test_answers_keep_their_order_when_one_is_slow() -> None:
    with emulator("--users", "50", "--faults", "slow=0.5,slow_s=0.02") as running:
        users = running.truth("ids?count=40")["ids"]
        sent = b"".join(b"GET /1.1/followers/ids.json?user_id=%d HTTP/1.1\r\n\r\n" % user for user in users)
        answers = talk(running, sent + b"GET /_truth/requests HTTP/1.1\r\nConnection: close\r\n\r\n")
        assert answers.count(b"HTTP/1.1 ") == 41
        assert b'"total":40' in answers.rpartition(b"\r\n\r\n")[2]


def test_a_client_that_has_said_everything_is_still_answered(running: Running) -> None:
    got = talk(running, b"GET /1.1/users/show.json?user_id=12 HTTP/1.1\r\n\r\n", half_close=True)
    assert got.startswith(b"HTTP/1.1 200 OK\r\n")


def test_an_old_client_is_answered_and_let_go(running: Running) -> None:
    got = talk(running, b"GET / HTTP/1.0\r\n\r\n")
    assert b"connection: close" in got
    assert b"tmatic-emulator" in got


def test_noise_is_400(running: Running) -> None:
    for noise in (b"\x16\x03\x01\x02\x00\x01", b"GARBAGE\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n"):
        assert talk(running, noise).startswith(b"HTTP/1.1 400 ")


def test_what_is_too_large_is_refused(running: Running) -> None:
    line = b"X-Long: " + b"a" * 8000 + b"\r\n"
    head = b"GET / HTTP/1.1\r\n"
    with socket.create_connection(("127.0.0.1", running.port), timeout=TIMEOUT_S) as sock:
        sock.sendall(head)
        for _ in range(MAX_HEAD_BYTES // len(line) + 2):
            sock.sendall(line)
            time.sleep(0.001)
        assert sock.recv(100).startswith(b"HTTP/1.1 431 ")
    body = b"a" * (MAX_BODY_BYTES + 1)
    with socket.create_connection(("127.0.0.1", running.port), timeout=TIMEOUT_S) as sock:
        sock.sendall(b"POST /1.1/users/lookup.json HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        assert sock.recv(100).startswith(b"HTTP/1.1 413 ")
    many = "&".join(f"a{n}=1" for n in range(2000))
    assert running.get(f"/1.1/users/show.json?{many}").status_code == 400


def test_lookup_takes_its_ids_from_query_or_form(running: Running) -> None:
    users = running.truth("ids?count=100")["ids"]
    ids = ",".join(map(str, users))
    url = f"{running.url}/1.1/users/lookup.json"
    by_query = requests.get(url, params={"user_id": ids}, timeout=TIMEOUT_S).json()
    by_form = requests.post(url, data={"user_id": ids}, timeout=TIMEOUT_S).json()
    expecting = requests.post(url, data={"user_id": ids}, headers={"Expect": "100-continue"}, timeout=TIMEOUT_S).json()
    assert by_query == by_form == expecting
    assert len(by_query) > 80


def test_head_has_the_length_and_no_body(running: Running) -> None:
    path = f"/1.1/users/show.json?user_id={HUB}"
    with requests.Session() as session:
        head = session.head(f"{running.url}{path}", timeout=TIMEOUT_S)
        full = session.get(f"{running.url}{path}", timeout=TIMEOUT_S)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(full.content))


def test_every_answer_of_the_api_tells_the_window_and_the_time(running: Running) -> None:
    for path in ("users/show.json?user_id=12", "users/show.json?user_id=5", "users/lookup.json"):
        headers = running.get(f"/1.1/{path}").headers
        assert {"x-rate-limit-limit", "x-rate-limit-remaining", "x-rate-limit-reset", "date"} <= set(headers)


class FromAddress(HTTPAdapter):
    """Calls from one address of this machine."""

    def __init__(self, address: str) -> None:
        self._address = address
        super().__init__()

    def init_poolmanager(self, *args: object, **options: object) -> None:
        super().init_poolmanager(*args, source_address=(self._address, 0), **options)  # type: ignore[arg-type]


def test_each_address_of_the_machine_has_its_own_window() -> None:
    with emulator("--users", "100", "--limits", "F=2/15m") as running:
        for last in range(1, 5):
            with requests.Session() as session:
                session.mount("http://", FromAddress(f"127.0.0.{last}"))
                url = f"{running.url}/1.1/followers/ids.json?user_id={HUB}"
                codes = [session.get(url, timeout=TIMEOUT_S).status_code for _ in range(3)]
            assert codes == [200, 200, 429]
        counts = running.truth("requests")
        assert counts["beyond_budget"] == 4
        assert counts["by_caller"]["followers/ids"] == {f"address:127.0.0.{last}": 3 for last in range(1, 5)}


@pytest.mark.slow
def test_a_short_window_refuses_nobody_who_waits_for_its_reset() -> None:
    with emulator("--users", "100", "--limits", "F=3/300ms") as running, requests.Session() as session:
        for _ in range(12):
            got = session.get(f"{running.url}/1.1/followers/ids.json?user_id={HUB}", timeout=TIMEOUT_S)
            assert got.status_code == 200
            if got.headers["x-rate-limit-remaining"] == "0":
                time.sleep(max(0.0, int(got.headers["x-rate-limit-reset"]) - time.time()))
        assert running.truth("requests")["beyond_budget"] == 0


def test_a_truncated_answer_ends_before_its_length() -> None:
    with emulator("--users", "100", "--faults", "truncate=1") as running:
        client = http.client.HTTPConnection("127.0.0.1", running.port, timeout=TIMEOUT_S)
        client.request("GET", f"/1.1/users/show.json?user_id={HUB}")
        with pytest.raises(http.client.IncompleteRead):
            client.getresponse().read()
        client.close()


def test_a_reset_is_a_reset() -> None:
    with emulator("--users", "100", "--faults", "reset=1") as running:
        client = http.client.HTTPConnection("127.0.0.1", running.port, timeout=TIMEOUT_S)
        client.request("GET", f"/1.1/users/show.json?user_id={HUB}")
        with pytest.raises(ConnectionResetError):
            client.getresponse().read()
        client.close()


def test_two_processes_meet_the_same_faults() -> None:
    def run() -> list[tuple[int, str]]:
        seen: list[tuple[int, str]] = []
        faults = "http500=0.2,http503=0.1,reset=0.1,truncate=0.1,short_page=0.3,repeat_cursor=0.1"
        with emulator("--users", "100", "--seed", "8", "--faults", faults) as running:
            for user in running.truth("ids?count=40")["ids"] * 2:
                try:
                    got = running.get(f"/1.1/followers/ids.json?user_id={user}&count=10")
                    seen.append((got.status_code, got.text))
                except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError):
                    seen.append((0, "broken off"))
        return seen

    first = run()
    assert first == run()
    assert {status for status, _ in first} >= {0, 200, 500, 503}


def test_a_client_that_does_not_read_holds_up_nobody(running: Running) -> None:
    writer = max(running.truth("ids?count=300")["ids"], key=lambda user: running.truth(f"account/{user}")["posts"])
    ask = b"GET /1.1/statuses/user_timeline.json?count=200&user_id=%d HTTP/1.1\r\n\r\n" % writer
    with socket.create_connection(("127.0.0.1", running.port), timeout=TIMEOUT_S) as deaf:
        deaf.sendall(ask * 400)
        before = time.monotonic()
        assert running.get("/").status_code == 200
        assert time.monotonic() - before < 5


def test_the_truth_can_be_reset_and_posts_released() -> None:
    with emulator("--users", "100", "--withhold", "3") as running:
        url = f"{running.url}/_truth"
        ids = running.truth(f"account/{HUB}")["post_ids"]
        path = f"/1.1/statuses/user_timeline.json?user_id={HUB}&count=200"
        assert [post["id"] for post in running.get(path).json()] == ids[3:203]
        assert requests.post(f"{url}/withhold?newest=0", timeout=TIMEOUT_S).json() == {"withheld": 0}
        assert [post["id"] for post in running.get(path).json()] == ids[:200]
        assert running.truth("requests")["total"] == 2
        assert len(running.truth("identities?at_least=2")) == 1
        assert requests.post(f"{url}/reset", timeout=TIMEOUT_S).status_code == 200
        assert running.truth("requests")["total"] == 0
        assert running.get("/_truth/nix").status_code == 404


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_the_answer_under_way_end(number: signal.Signals) -> None:
    with emulator("--users", "100", "--faults", "slow=1,slow_s=0.5") as running:
        with socket.create_connection(("127.0.0.1", running.port), timeout=TIMEOUT_S) as sock:
            sock.sendall(b"GET /1.1/users/show.json?user_id=%d HTTP/1.1\r\n\r\n" % HUB)
            deadline = time.monotonic() + TIMEOUT_S
            while not running.truth("requests")["total"] and time.monotonic() < deadline:
                pass
            running.process.send_signal(number)
            assert sock.recv(100).startswith(b"HTTP/1.1 200 OK")
        assert running.process.wait(TIMEOUT_S) == 0
        assert running.process.stderr is not None
        assert running.process.stderr.read() == ""
