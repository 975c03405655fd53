"""Who may act, what a stream says, and what strange requests get."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
import requests
from hypothesis import HealthCheck, given, settings, strategies as st

from services.http import Names
from services.monitor.guard import MAX_SESSIONS, AccessGuard
from services.monitor.master import AskedMaster
from services.monitor.pages import ASSETS
from tests.services.monitor import synthetic
from tests.services.monitor.running import TOKEN, Running, running
from tests.services.monitor.synthetic import ScriptedMaster, ScriptedSearch

WAIT_S = 60.0


@pytest.fixture(scope="module")
def monitor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    output = tmp_path_factory.mktemp("output")
    synthetic.dataset(output)
    with running(output, search=ScriptedSearch()) as served:
        served.feed.apply(synthetic.events(), synthetic.POSITION)
        served.feed.hear("stats.gauges", synthetic.document(20))
        for line in synthetic.lines(50):
            served.feed.hear("log.master", line)
        yield served


def signed_in(monitor: Running) -> requests.Session:
    session = requests.Session()
    session.headers["Origin"] = monitor.url
    answer = session.post(f"{monitor.url}/api/session", json={"token": TOKEN}, timeout=WAIT_S)
    assert answer.status_code == 200
    session.headers["X-Tmatic-Csrf"] = answer.json()["csrf"]
    return session


def letters(monitor: Running) -> list[list[str]]:
    rows = requests.get(f"{monitor.url}/api/dead", timeout=WAIT_S).json()["rows"]
    return [[row["operation"], row["user"]] for row in rows]


def test_whoever_has_the_token_may_requeue_and_drop(monitor: Running) -> None:
    session = signed_in(monitor)
    first, second = letters(monitor)[:2]
    answer = session.post(f"{monitor.url}/api/dead/requeue", json={"jobs": [first]}, timeout=WAIT_S)
    assert answer.json()["results"] == [{"operation": first[0], "user": first[1], "why_not": ""}]
    assert session.post(f"{monitor.url}/api/dead/drop", json={"jobs": [second]}, timeout=WAIT_S).status_code == 200
    assert isinstance(monitor.master, ScriptedMaster)
    assert monitor.master.requeued[-1] == tuple(first)
    assert monitor.master.dropped[-1] == tuple(second)
    again = session.post(f"{monitor.url}/api/dead/drop", json={"jobs": [second]}, timeout=WAIT_S)
    assert "no dead letter" in again.json()["results"][0]["why_not"]


@pytest.mark.slow
def test_an_action_without_a_master_is_told_once_and_changes_nothing(tmp_path: Path) -> None:
    with running(tmp_path, master=AskedMaster(["127.0.0.1:1"])) as served:
        jobs = [["T", str(user)] for user in range(200)]
        answer = signed_in(served).post(f"{served.url}/api/dead/drop", json={"jobs": jobs}, timeout=WAIT_S)
        assert answer.status_code == 503
        assert "no master answers" in answer.json()["error"]


@pytest.mark.parametrize("missing", ["cookie", "Origin", "X-Tmatic-Csrf", "foreign origin", "foreign site"])
def test_an_action_needs_the_cookie_the_secret_and_our_own_page(monitor: Running, missing: str) -> None:
    session = signed_in(monitor)
    job = letters(monitor)[0]
    headers: dict[str, str] = {}
    if missing == "cookie":
        session.cookies.clear()
    elif missing == "foreign origin":
        headers["Origin"] = "http://evil.example"
    elif missing == "foreign site":
        headers["Sec-Fetch-Site"] = "cross-site"
    else:
        del session.headers[missing]
    answer = session.post(f"{monitor.url}/api/dead/drop", json={"jobs": [job]}, headers=headers, timeout=WAIT_S)
    assert answer.status_code == 403
    assert answer.json()["error"]
    assert job in letters(monitor)


def test_a_form_of_another_page_cannot_be_an_action(monitor: Running) -> None:
    session = signed_in(monitor)
    answer = session.post(f"{monitor.url}/api/dead/drop", data={"jobs": "[]"}, timeout=WAIT_S)
    assert answer.status_code == 415


def test_a_wrong_token_is_no_token(monitor: Running) -> None:
    for token in ("", "x", TOKEN + "x", 5, None, ["x"]):
        headers = {"Origin": monitor.url}
        answer = requests.post(f"{monitor.url}/api/session", json={"token": token}, headers=headers, timeout=WAIT_S)
        assert answer.status_code == 403
        assert "Set-Cookie" not in answer.headers


def test_the_cookie_is_for_this_site_and_no_script(monitor: Running) -> None:
    headers = {"Origin": monitor.url}
    answer = requests.post(f"{monitor.url}/api/session", json={"token": TOKEN}, headers=headers, timeout=WAIT_S)
    cookie = answer.headers["Set-Cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert TOKEN not in cookie


def test_who_signs_out_is_out(monitor: Running) -> None:
    session = signed_in(monitor)
    kept = dict(session.cookies)
    assert session.delete(f"{monitor.url}/api/session", timeout=WAIT_S).status_code == 200
    assert requests.get(f"{monitor.url}/api/session", cookies=kept, timeout=WAIT_S).json() == {"csrf": ""}


def test_sessions_are_bounded_and_the_used_ones_stay() -> None:
    guard = AccessGuard(Names("127.0.0.1"), TOKEN)
    first = guard.sign_in(TOKEN)
    assert first is not None
    for _ in range(MAX_SESSIONS + 5):
        assert guard.session(first.identifier) == first
        assert guard.sign_in(TOKEN)
    assert guard.session("") is None


def test_each_start_has_a_token_of_its_own() -> None:
    assert AccessGuard(Names("127.0.0.1")).open_to_all
    assert not AccessGuard(Names("127.0.0.1"), proxied=True).open_to_all, "a proxy brings strangers in over loopback"
    assert len({AccessGuard(Names("127.0.0.1")).token for _ in range(5)}) == 5
    assert len(AccessGuard(Names("127.0.0.1")).token) >= 24


def test_beyond_this_machine_looking_needs_the_token_too(tmp_path: Path) -> None:
    with running(tmp_path, guard=AccessGuard(Names("0.0.0.0"), TOKEN), search=ScriptedSearch()) as served:
        for path in ("/api/stream", "/api/course", "/api/dead", "/api/search", "/api/user?id=1", "/api/post?id=1"):
            assert requests.get(served.url + path, timeout=WAIT_S).status_code == 401, path
        assert requests.get(f"{served.url}/", timeout=WAIT_S).status_code == 200
        assert signed_in(served).get(f"{served.url}/api/course", timeout=WAIT_S).status_code == 200


def test_every_page_forbids_what_it_does_not_need(monitor: Running) -> None:
    for path in ("/", "/inspect", "/user/1", "/assets/overview.js", "/nothing"):
        headers = requests.get(monitor.url + path, timeout=WAIT_S).headers
        assert "default-src 'self'" in headers["Content-Security-Policy"], path
        assert "unsafe" not in headers["Content-Security-Policy"], path
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"


def test_images_of_graphite_are_allowed_where_there_is_one(tmp_path: Path) -> None:
    with running(tmp_path, graphite_url="http://graphite.example:8080/") as served:
        policy = requests.get(f"{served.url}/", timeout=WAIT_S).headers["Content-Security-Policy"]
        assert "img-src 'self' http://graphite.example:8080;" in policy
        about = requests.get(f"{served.url}/api/about", timeout=WAIT_S).json()
        assert about["graphite"] == "http://graphite.example:8080"


def test_the_policy_names_the_host_of_graphite_and_no_password(tmp_path: Path) -> None:
    for url, source in (
        ("https://u:secret@[::1]:8/g", "https://[::1]:8"),
        ("http://nét.example", "http://xn--nt-bja.example"),
    ):
        with running(tmp_path, graphite_url=url) as served:
            policy = requests.get(f"{served.url}/", timeout=WAIT_S).headers["Content-Security-Policy"]
            assert f"img-src 'self' {source};" in policy


def test_pages_hold_no_script_and_no_style_of_their_own() -> None:
    for page in ASSETS.glob("*.html"):
        text = page.read_text()
        assert "<style" not in text
        assert "style=" not in text
        assert "onclick" not in text
        assert "</script>" not in text.replace('.js"></script>', "")
        assert "//" not in text.replace("<!doctype", "").replace("http-equiv", "")
    for script in ASSETS.glob("*.js"):
        text = script.read_text()
        for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"):
            assert word not in text, f"{script.name}: {word}"


def test_an_asset_that_is_known_is_not_sent_again(monitor: Running) -> None:
    first = requests.get(f"{monitor.url}/assets/base.css", timeout=WAIT_S)
    again = requests.get(
        f"{monitor.url}/assets/base.css", headers={"If-None-Match": first.headers["ETag"]}, timeout=WAIT_S
    )
    assert first.status_code == 200
    assert again.status_code == 304


@pytest.mark.parametrize(
    "path",
    [
        "/assets/../pages.py",
        "/assets/%2e%2e/pages.py",
        "/assets/..%2fpages.py",
        "/assets//etc/passwd",
        "/assets/vendor",
        "/assets/",
        "/assets/%00",
        "/assets/%ff",
        "/user",
    ],
)
def test_nothing_outside_the_assets_is_served(monitor: Running, path: str) -> None:
    place = urlsplit(monitor.url)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=WAIT_S)
    connection.request("GET", path)
    assert connection.getresponse().status in (400, 404)
    connection.close()


# ---------------------------------------------------------------------------------------------------- strange requests

PATHS = st.sampled_from(
    [
        "/",
        "/inspect",
        "/user/",
        "/assets/",
        "/api/about",
        "/api/course",
        "/api/dead",
        "/api/search",
        "/api/post",
        "/api/user",
        "/api/user/timeline",
        "/api/user/followers",
        "/api/session",
        "/api/dead/requeue",
        "/api/dead/drop",
    ]
)
NAMES = st.sampled_from(
    ["id", "user", "first", "count", "q", "author", "hashtag", "language", "since", "until", "located", "sort", "x"]
)
VALUES = st.text(max_size=40) | st.integers().map(str) | st.floats().map(str) | st.just(synthetic.USERS[2])
TOKENS = st.text(max_size=30).map(lambda text: json.dumps({"token": text}).encode())
BODIES = st.none() | st.binary(max_size=60) | TOKENS


@pytest.mark.slow
@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    method=st.sampled_from(["GET", "HEAD", "POST", "DELETE", "PUT", "OPTIONS"]),
    path=PATHS,
    rest=st.binary(max_size=12),
    asked=st.dictionaries(NAMES, VALUES, max_size=4),
    body=BODIES,
)
def test_no_request_is_a_fault_of_ours(
    monitor: Running, method: str, path: str, rest: bytes, asked: dict[str, str], body: bytes | None
) -> None:
    query = "&".join(f"{name}={quote(value.encode('utf-8', 'replace'))}" for name, value in asked.items())
    place = urlsplit(monitor.url)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=WAIT_S)
    try:
        address = f"{path}{quote(rest) if path.endswith('/') else ''}?{query}"
        connection.request(method, address, body=body, headers={"Content-Type": "application/json"})
        answer = connection.getresponse()
        assert answer.status < 500, f"{method} {address}: {answer.status} {answer.read()[:200]!r}"
        answer.read()
    finally:
        connection.close()


def test_an_account_is_told_with_its_way_its_receipts_and_its_profile(monitor: Running) -> None:
    card = requests.get(f"{monitor.url}/api/user", params={"id": synthetic.USERS[2]}, timeout=WAIT_S).json()
    assert [step["user"] for step in card["path"]] == [synthetic.TARGET, synthetic.USERS[1], synthetic.USERS[2]]
    assert card["profile"]["screen_name"] == "anna_rossi"
    assert card["receipts"]["T"]["expected"] == 130
    assert card["kinds"] == ["timeline", "followers"]
    assert card["led_to"] == [synthetic.USERS[3]]
    gone = requests.get(f"{monitor.url}/api/user", params={"id": synthetic.USERS[4]}, timeout=WAIT_S).json()
    assert gone["receipts"]["T"]["outcome"] == "protected"
    assert requests.get(f"{monitor.url}/api/user?id=404", timeout=WAIT_S).status_code == 404


def test_a_timeline_is_paged_to_its_end(monitor: Running) -> None:
    asked = {"id": synthetic.USERS[2], "first": "100", "count": "20"}
    page = requests.get(f"{monitor.url}/api/user/timeline", params=asked, timeout=WAIT_S).json()
    assert len(page["rows"]) == 20
    assert page["more"] is True
    last = requests.get(f"{monitor.url}/api/user/timeline", params=asked | {"first": "120"}, timeout=WAIT_S).json()
    assert len(last["rows"]) == 10
    assert last["more"] is False
    too_far = requests.get(f"{monitor.url}/api/user/timeline", params=asked | {"count": "5000"}, timeout=WAIT_S)
    assert too_far.status_code == 400


def test_a_post_is_shown_in_full_from_the_timeline(monitor: Running) -> None:
    asked = {"id": str(10**17 + 999), "user": synthetic.USERS[2]}
    answer = requests.get(f"{monitor.url}/api/post", params=asked, timeout=WAIT_S).json()
    assert answer["post"]["text"] == synthetic.HOSTILE
    assert json.loads(answer["line"]) == answer["post"]


def test_without_an_index_the_page_says_what_to_start(tmp_path: Path) -> None:
    with running(tmp_path) as served:
        answer = requests.get(f"{served.url}/api/search?q=x", timeout=WAIT_S)
        assert answer.status_code == 503
        assert "tmatic-indexer" in answer.json()["error"]
