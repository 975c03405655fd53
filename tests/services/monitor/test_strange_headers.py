"""What other programs on the host, and strange clients, put into headers: nobody is kept out, and nothing fails."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from tests.services.http.serving import Answer, ask, request
from tests.services.monitor.running import TOKEN, Running, running

FOREIGN = [
    "a@b=c",
    "a,b=c",
    "b(c=2",
    'prefs={"a":1}',
    "a[b]=1",
    "x=\xe9",
    "x=\xc3\xa9",
    "x=a b",
    "novalue",
    'x="',
    "=",
    "",
    "tmatic-monitor-",
]


@pytest.fixture(scope="module")
def monitor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("output")) as served:
        yield served


def asked(monitor: Running, path: str = "/api/session", host: str = "", **headers: str) -> Answer:
    place = urlsplit(monitor.url)
    return ask(
        str(place.hostname), int(place.port or 0), request("GET", path, None, host=host or place.netloc, **headers)
    )


@pytest.fixture(scope="module")
def ours(monitor: Running) -> tuple[str, str]:
    """The cookie of who has signed in, and what a request with it is told."""
    place = urlsplit(monitor.url)
    body = b'{"token": "%s"}' % TOKEN.encode()
    raw = request("POST", "/api/session", body, host=place.netloc, Origin=monitor.url, Content_Type="application/json")
    answer = ask(str(place.hostname), int(place.port or 0), raw)
    return answer.headers["set-cookie"].partition(";")[0], answer.document["csrf"]


@pytest.mark.parametrize("foreign", FOREIGN)
def test_cookies_of_other_programs_neither_fail_nor_hide_ours(
    monitor: Running, ours: tuple[str, str], foreign: str
) -> None:
    assert asked(monitor, Cookie=foreign).document == {"csrf": ""}
    for cookies in (f"{foreign}; {ours[0]}", f"{ours[0]}; {foreign}", f"{foreign};{ours[0]};{foreign}"):
        assert asked(monitor, Cookie=cookies).document == {"csrf": ours[1]}, cookies


def test_a_cookie_of_our_name_from_elsewhere_does_not_hide_ours(monitor: Running, ours: tuple[str, str]) -> None:
    name = ours[0].partition("=")[0]
    assert asked(monitor, Cookie=f"{name}=other; {ours[0]}").document == {"csrf": ours[1]}
    assert asked(monitor, Cookie=f"x{ours[0]}; {ours[0]}x").document == {"csrf": ""}


@pytest.mark.parametrize("name", ["If_None_Match", "Accept_Encoding", "Last_Event_ID", "X_Tmatic_Csrf", "Origin"])
@pytest.mark.parametrize("path", ["/", "/assets/base.css", "/api/stream", "/api/session"])
def test_a_header_that_is_no_text_is_refused_in_words(monitor: Running, path: str, name: str) -> None:
    answer = asked(monitor, path, **{name: "\xff"})
    assert answer.status == 400
    assert "not UTF-8" in answer.document["error"]


def latin(longest: int) -> st.SearchStrategy[str]:
    """What may stand in a header, as far as the parser of heads lets it through."""
    return st.text(st.characters(max_codepoint=255, exclude_categories=["Cc"]), max_size=longest)


HOSTS = st.one_of(
    latin(20),
    st.sampled_from(["[127.0.0.1]", "[localhost]", "[::1]", "[::1%1]", "[::1%a/b]", "[::ffff:127.0.0.1]", "[::1]x"]),
).flatmap(lambda host: st.sampled_from(["", ":", ":80", ":99999", ":\xb2", "]:1", ":80@x"]).map(host.__add__))


@pytest.mark.slow
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    host=HOSTS | st.just(""),
    cookie=latin(60),
    headers=st.dictionaries(
        st.sampled_from(["Origin", "Accept_Encoding", "If_None_Match", "Sec_Fetch_Site", "Accept", "X_Forwarded_Host"]),
        latin(30),
        max_size=3,
    ),
    path=st.sampled_from(["/", "/inspect", "/assets/base.css", "/api/session", "/api/about", "/api/dead"]),
)
def test_no_header_is_a_fault_of_ours(
    monitor: Running, host: str, cookie: str, headers: dict[str, str], path: str
) -> None:
    answer = asked(monitor, path, host, Cookie=cookie, **headers)
    assert answer.status < 500, (host, cookie, headers)
