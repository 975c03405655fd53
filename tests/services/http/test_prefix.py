"""A service under a path of a proxy, whether that takes the path off or hands it on."""

from __future__ import annotations

from pathlib import Path

import pytest

from protocol.errors import UsageError
from services.listening import base_path, host_name
from services.lookup.routes import routes
from services.lookup.store import Store
from tests.services.http.serving import ask, place_of, request, served
from tests.services.monitor import synthetic
from tests.services.monitor.running import TOKEN, running

BASES = ["/crawl", "/lab/crawls", "/lookup", "/api", "/user", "/assets"]
"""The last ones are beginnings of routes as well."""


@pytest.mark.parametrize("base", BASES)
def test_every_route_of_the_lookup_is_there_with_the_path_and_without(tmp_path: Path, base: str) -> None:
    store = Store(tmp_path / "lookup.db")
    try:
        with served(lambda: routes(store, lambda: None), base_path=base) as (host, port, server):
            assert server.url.endswith(f":{port}{base}")
            for path in ("/", "/style.css", "/openapi.json"):
                whole, bare = (ask(host, port, request("GET", before + path)) for before in (base, ""))
                assert whole.status == bare.status == 200 and whole.body == bare.body
            for path in ("/lookup/id/12", "/lookup/name/x"):
                for before in (base, ""):
                    assert ask(host, port, request("GET", before + path)).body == b"null", before + path
            page = ask(host, port, request("GET", f"{base}/")).body.decode()
            for link in ('href="{}/style.css"', 'action="{}/"', 'src="{}/icon.svg"', "GET {}/lookup/id/ID"):
                assert link.format(base) in page
            for strange in (f"{base}x/style.css", "/x/style.css", f"{base}{base}{base}/style.css"):
                assert ask(host, port, request("GET", strange)).status == 404
            begun = ask(host, port, request("GET", f"{base}?q=%22"))
            assert (begun.status, begun.headers["location"]) == (308, f"{base}/?q=%22")
    finally:
        store.close()


@pytest.mark.parametrize("base", BASES)
def test_every_page_of_the_monitor_is_there_with_the_path_and_without(tmp_path: Path, base: str) -> None:
    with running(tmp_path, base_path=base) as monitor:
        host, port = place_of(monitor.url)

        def got(path: str) -> tuple[int, bytes]:
            answer = ask(host, port, request("GET", path))
            return answer.status, answer.body

        for path in ("/", "/inspect", "/user/12", "/assets/base.css", "/api/about"):
            assert got(base + path) == got(path) and got(path)[0] == 200, path
        for page in ("/", "/inspect", "/user/12"):
            html = got(base + page)[1].decode()
            assert f'="{base}/assets/base.css"' in html
            assert html.count('="/') == html.count(f'="{base}/'), "an address without the path"


def test_a_page_that_was_kept_without_the_path_is_not_taken_for_one_with_it(tmp_path: Path) -> None:
    with running(tmp_path) as plain:
        host, port = place_of(plain.url)
        kept = ask(host, port, request("GET", "/")).headers["etag"]
    with running(tmp_path, base_path="/crawl") as moved:
        host, port = place_of(moved.url)
        assert ask(host, port, request("GET", "/crawl/", If_None_Match=kept)).status == 200
        again = ask(host, port, request("GET", "/crawl/")).headers["etag"]
        assert ask(host, port, request("GET", "/crawl/", If_None_Match=again)).status == 304


@pytest.mark.parametrize(
    ("origin", "host", "secure"),
    [
        ("https://crawl.example.org", "crawl.example.org", True),
        ("http://crawl.example.org:81", "crawl.example.org:81", False),
        ("http://127.0.0.1:9898", "127.0.0.1:9898", False),
    ],
)
def test_the_cookie_is_for_the_path_alone_and_for_https_where_that_is_outside(
    tmp_path: Path, origin: str, host: str, secure: bool
) -> None:
    with running(tmp_path, names=["crawl.example.org"], base_path="/crawl") as monitor:
        place, port = place_of(monitor.url)
        body = f'{{"token": "{TOKEN}"}}'.encode()

        def signed_in(origin: str, **headers: str) -> dict[str, str]:
            raw = request(
                "POST", "/crawl/api/session", body, host=host, Origin=origin, Content_Type="application/json", **headers
            )
            return ask(place, port, raw).headers

        cookie = signed_in(origin)["set-cookie"].lower()
        assert "path=/crawl/;" in f"{cookie};" and "httponly" in cookie and "samesite=strict" in cookie
        assert ("secure" in cookie) is secure
        for strange in ("https://evil.example", f"https://{host}.evil.example", "null"):
            forged = signed_in(strange, X_Forwarded_Proto="https", X_Forwarded_Host="evil.example")
            assert "set-cookie" not in forged


def test_behind_a_name_looking_needs_the_token_too(tmp_path: Path) -> None:
    synthetic.dataset(tmp_path)
    with running(tmp_path, names=["crawl.example.org"]) as monitor:
        host, port = place_of(monitor.url)
        for name in ("crawl.example.org", "127.0.0.1"):  # who comes through a proxy may say either
            assert ask(host, port, request("GET", "/api/course", host=name)).status == 401
        assert ask(host, port, request("GET", "/", host="crawl.example.org")).status == 200
        assert ask(host, port, request("GET", "/", host="evil.example")).status == 403


@pytest.mark.parametrize(
    "text", ["crawl", "/a b", "/../x", "/a/./b", "//evil.example", "/a//b", "https://x", "/é", "/a?b"]
)
def test_a_base_path_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--base-path must be"):
        base_path(text)


def test_a_base_path_may_end_in_a_slash() -> None:
    assert [base_path(text) for text in ("", "/", "/crawl/", "/a.b/c-d_~")] == ["", "", "/crawl", "/a.b/c-d_~"]


@pytest.mark.parametrize("text", ["https://x.org", "x.org:80", "x.org/y", "", "[x.org]", "[::1", "a b", "[::1]:80"])
def test_a_name_that_is_no_host_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--name must be"):
        host_name(text)


def test_a_name_is_a_host_with_or_without_brackets() -> None:
    assert [host_name(text) for text in ("X.org.", "192.0.2.7", "::1", "[::1]")] == ["x.org", "192.0.2.7", "::1", "::1"]
