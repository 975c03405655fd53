"""The pictures of the manual: `python -m tests.services.monitor.pictures docs/images`.

They show a crawl that is made up, and are made smaller by `pngquant` where it is installed.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.services.monitor import synthetic
from tests.services.monitor.browsing import chromium
from tests.services.monitor.running import Running, running
from tests.services.monitor.synthetic import ScriptedMaster, ScriptedSearch

WORKERS = 240
HISTORY_S = 420
LARGEST = 300_000
"""Bytes of a picture."""

SHOTS = (
    ("monitor-light-1440", "/", 1440, 1180, "light", ""),
    ("monitor-dark-1440", "/", 1440, 1180, "dark", ""),
    ("monitor-light-390", "/", 390, 844, "light", ""),
    ("monitor-dark-390", "/", 390, 844, "dark", "#frontier"),
    ("monitor-workers-light-1440", "/", 1440, 900, "light", "#workers"),
    ("monitor-workers-dark-390", "/", 390, 844, "dark", "#workers"),
    ("monitor-log-dark-1440", "/", 1440, 1080, "dark", "#log"),
    ("inspect-light-1440", "/inspect", 1440, 1100, "light", ""),
    ("inspect-dark-390", "/inspect", 390, 844, "dark", "#map-title"),
    ("account-dark-1440", f"/user/{synthetic.USERS[2]}", 1440, 900, "dark", ""),
)


class Clock:
    """The time in the pictures: a second a document."""

    def __init__(self) -> None:
        self.second = -HISTORY_S
        self._began = time.time()

    def now(self) -> float:
        return self._began + self.second

    def tick(self, served: Running) -> None:
        """One second more of the crawl."""
        self.second += 1
        served.feed.hear("stats.gauges", synthetic.document(WORKERS, self.second, hostile=False))


def feed(served: Running, clock: Clock) -> None:
    """The last minutes of a crawl, as if they had been watched."""
    while clock.second < 0:
        clock.tick(served)
    for line in synthetic.lines(4_000, hostile=False):
        served.feed.hear("log.master", line)
    served.feed.apply(synthetic.events("404 Not Found: the account is gone"), synthetic.POSITION)


def shoot(browser: Any, served: Running, clock: Clock, target: Path) -> None:
    """All pictures, while the crawl goes on."""
    for name, path, width, height, scheme, place in SHOTS:
        size = {"width": width, "height": height}
        scale = 1 if width > 1000 else 2
        context = browser.new_context(viewport=size, color_scheme=scheme, device_scale_factor=scale, locale="en-GB")
        page = context.new_page()
        page.goto(served.url + path)
        for _ in range(4):
            clock.tick(served)
            page.wait_for_timeout(900)
        if place:
            page.evaluate("document.documentElement.style.scrollBehavior = 'auto'")
            page.evaluate("place => document.querySelector(place).scrollIntoView()", place)
            page.wait_for_timeout(300)
        page.screenshot(path=str(target / f"{name}.png"))
        context.close()


def main() -> None:
    """Make them all."""
    target = Path(sys.argv[1])
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder)
        synthetic.dataset(output, hostile="")
        master, search = ScriptedMaster(hostile=False), ScriptedSearch(hostile=False)
        with (
            running(output, master=master, search=search, clock=clock.now, monotonic=clock.now) as served,
            chromium() as browser,
        ):
            feed(served, clock)
            shoot(browser, served, clock, target)
    pngquant = shutil.which("pngquant")
    for name, *_ in SHOTS:
        picture = target / f"{name}.png"
        if pngquant:
            how = ["--force", "--skip-if-larger", "--ext", ".png", "--speed", "1"]
            subprocess.run([pngquant, *how, picture], check=False)
        print(f"{picture}: {picture.stat().st_size:,} bytes")
        assert picture.stat().st_size < LARGEST, f"{picture} is too large"


if __name__ == "__main__":
    main()
