"""The monitor behind a real nginx and a real Caddy, in Chromium: each page, live events and an action, under a path."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from tests.services.monitor import synthetic
from tests.services.monitor.browsing import needs_chromium, tab
from tests.services.monitor.proxies import NAME, Proxy, caddy, needs_caddy, needs_nginx, nginx, recipe
from tests.services.monitor.running import TOKEN, Running, fill, running
from tests.services.monitor.synthetic import ScriptedMaster, ScriptedSearch

pytestmark = [pytest.mark.slow]
BASE = "/crawl"
WAIT_S = 60.0
OVER_HTTP = "The Cross-Origin-Opener-Policy header has been ignored"
"""What the browser notes of every page that comes by http from another machine."""
TAKEN_OFF = """
location /crawl/ {{
    proxy_pass {url}/;
    proxy_set_header Host $http_host;
}}
"""


@pytest.fixture
def monitor(tmp_path: Path) -> Iterator[Running]:
    synthetic.dataset(tmp_path)
    with running(tmp_path, search=ScriptedSearch(), names=[NAME], base_path=BASE) as served:
        fill(served, lines=100, workers=20, seconds=3)
        yield served


def bare(monitor: Running) -> str:
    return monitor.url.removesuffix(BASE)


def go_everywhere(browser: Any, proxy: Proxy, monitor: Running, width: int) -> None:
    """Sign in by the link, see an event that comes later, act, search, read an account; no request fails or leaves the
    path."""
    master, wrongs = monitor.master, []
    assert isinstance(master, ScriptedMaster)
    with tab(browser, proxy.url + BASE, width) as opened:
        page = opened.page

        def look(response: Any) -> None:
            if response.status >= 400 or not urlsplit(response.url).path.startswith(f"{BASE}/"):
                wrongs.append(f"{response.status} {response.url}")

        page.on("response", look)
        opened.open(f"/#token={TOKEN}")
        page.wait_for_selector("[aria-label='Signed in: sign out']")
        page.wait_for_selector("text=autumn is running")
        page.wait_for_selector(".uplot canvas")
        page.wait_for_selector(".live[data-state=live]")
        monitor.feed.hear("log.master", {"at": 1.0, "level": "info", "message": "it came later", "fields": {}})
        page.wait_for_selector(".log-line >> text=it came later")
        page.get_by_role("button", name="Requeue Timelines").first.click()
        page.locator("dialog").get_by_role("button", name="Requeue").click()
        page.wait_for_selector("text=1 job requeued")
        assert master.requeued[-1:] == [("T", synthetic.USERS[50])]

        page.get_by_role("link", name="Inspect").click()
        page.wait_for_selector("text=640 posts")
        page.wait_for_selector("#map canvas")
        page.fill("#q", "snow")
        page.keyboard.press("Enter")
        page.wait_for_selector("text=127 posts")
        opened.open(f"/user/{synthetic.USERS[2]}")
        page.wait_for_selector("text=found in 2 steps from a target")
        page.locator("#kinds").get_by_role("button", name="Found through it").click()
        page.locator("#rows").get_by_role("link", name=synthetic.USERS[3]).click()
        page.wait_for_selector("text=found in 3 steps from a target")
        page.reload()
        page.wait_for_selector("[aria-label='Signed in: sign out']")
        page.get_by_role("link", name="Overview").click()
        page.wait_for_selector("text=autumn is running")
        page.get_by_role("button", name="Signed in: sign out").click()
        page.wait_for_selector("[aria-label='Sign in']")
        opened.axe()
        if proxy.url.startswith("http:"):
            opened.wrongs[:] = [one for one in opened.wrongs if OVER_HTTP not in one]
    assert not wrongs, "\n".join(wrongs)


@needs_chromium
@needs_nginx
def test_everything_works_behind_nginx_with_https_and_the_path_handed_on(
    browser: Any, monitor: Running, tmp_path: Path
) -> None:
    with nginx(tmp_path, recipe("nginx", bare(monitor)), https=True) as proxy:
        go_everywhere(browser, proxy, monitor, 1440)


@needs_chromium
@needs_nginx
def test_everything_works_behind_nginx_with_http_and_the_path_taken_off(
    browser: Any, monitor: Running, tmp_path: Path
) -> None:
    with nginx(tmp_path, TAKEN_OFF.format(url=bare(monitor))) as proxy:
        go_everywhere(browser, proxy, monitor, 390)


@pytest.mark.soak
@needs_chromium
@needs_caddy
@pytest.mark.parametrize("https", [True, False])
def test_everything_works_behind_caddy(browser: Any, monitor: Running, tmp_path: Path, https: bool) -> None:
    with caddy(tmp_path, recipe("caddy", bare(monitor)), https=https) as proxy:
        go_everywhere(browser, proxy, monitor, 390 if https else 1440)


@needs_nginx
def test_behind_nginx_only_a_page_of_the_name_acts_and_no_other_name_is_answered(
    monitor: Running, tmp_path: Path
) -> None:
    with nginx(tmp_path, recipe("nginx", bare(monitor))) as proxy:
        here = f"http://127.0.0.1:{proxy.port}{BASE}"

        def signed_in(host: str, origin: str) -> requests.Response:
            headers = {"Host": host, "Origin": origin}
            return requests.post(f"{here}/api/session", json={"token": TOKEN}, headers=headers, timeout=WAIT_S)

        own = urlsplit(proxy.url).netloc
        assert signed_in(own, proxy.url).status_code == 200
        assert signed_in(own, f"https://{own}").status_code == 200, "another proxy before it may speak https"
        for host, origin in ((own, "https://evil.example"), (own, f"http://{NAME}"), ("evil.example", proxy.url)):
            refused = signed_in(host, origin)
            assert refused.status_code == 403 and not refused.cookies
        assert requests.get(f"{here}/api/course", headers={"Host": own}, timeout=WAIT_S).status_code == 401


@needs_nginx
def test_events_come_through_nginx_as_soon_as_they_are_told(monitor: Running, tmp_path: Path) -> None:
    with nginx(tmp_path, recipe("nginx", bare(monitor))) as proxy:
        session = requests.Session()
        session.headers["Host"] = urlsplit(proxy.url).netloc
        here = f"http://127.0.0.1:{proxy.port}{BASE}"
        signed = session.post(
            f"{here}/api/session", json={"token": TOKEN}, headers={"Origin": proxy.url}, timeout=WAIT_S
        )
        cookie = signed.headers["Set-Cookie"].partition(";")[0]
        headers = {"Cookie": cookie, "Accept-Encoding": "identity"}
        with session.get(f"{here}/api/stream", headers=headers, stream=True, timeout=WAIT_S) as stream:
            lines = stream.iter_lines()
            assert stream.headers["Content-Type"].startswith("text/event-stream")
            next(line for line in lines if line == b"event: beat")  # a small one, which nginx could have held back
            monitor.feed.hear("log.master", {"at": 1.0, "level": "info", "message": "it came later", "fields": {}})
            assert next(line for line in lines if b"it came later" in line)
