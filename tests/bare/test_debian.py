"""On a bare Debian the product runs as it comes from a checkout: the demo, a pair of masters, and the quick tests."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from tests.bare.debian import NAMES, Bare, bare, checkout, python_of
from tests.bare.wheels import DEVELOPMENT, RUNTIME, offline, wheels

SOURCES, WHEELS, HOME = "/sources", "/wheels", "twittomatic"
CHECKOUT = f"cp -r {SOURCES} {HOME} && cd {HOME}"
PAIR = """
echo 12 >targets.txt
.venv/bin/tmatic-crawl targets.txt -T -F -A --traversing BFS --depth 2 --output pair --port 0 --ha \
    --emulator --emulator-options '--users 100 --seed 7 --page-cap 100'
.venv/bin/tmatic-master audit --output pair
"""
LEAVING = """
setsid sleep 600 >/dev/null 2>&1 &
until [ "$(tr '\\0' ' ' <"/proc/$!/cmdline")" = "sleep 600 " ]; do :; done
"""
AGREES = "lost: 0, doubled: 0, differences: 0"
QUICK_S = 60.0
"""How long the quick tests may take, without what is installed before them."""


def system(codename: str, folder: Path, lock: str = RUNTIME, *, online: bool = False) -> Bare:
    base = bare(codename)
    mounts = {SOURCES: checkout(folder / "sources"), WHEELS: wheels(python_of(base), lock)}
    return Bare(codename, base, mounts, online)


def demo_and_pair(there: Bare, *, root: bool) -> None:
    ended = there.run(f"{CHECKOUT}\nscripts/demo\n{PAIR}", offline(Path(WHEELS)), root=root)
    assert ended.returncode == 0, ended.stdout[-3_000:]
    assert ended.stdout.count(AGREES) == 2, ended.stdout[-3_000:]
    without = re.findall(r"does without mimalloc.*needs (\S+),.*apt-get install (\w+)", ended.stdout)
    assert set(without) == {("libatomic.so.1", "libatomic1")}, ended.stdout[-3_000:]


@pytest.mark.root
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_demo_and_a_pair_end_well_on_a_bare_debian_and_leave_no_process(tmp_path: Path) -> None:
    demo_and_pair(system("bookworm", tmp_path), root=True)


@pytest.mark.root
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_process_that_is_left_on_a_bare_debian_is_noticed(tmp_path: Path) -> None:
    ended = Bare("bookworm", bare("bookworm")).run(LEAVING)
    assert (ended.returncode, "sleep 600" in ended.stdout) == (99, True), ended.stdout


@pytest.mark.soak
@pytest.mark.root
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("root", [True, False], ids=["root", "user"])
@pytest.mark.parametrize("codename", NAMES)
def test_a_bare_debian_runs_the_demo_a_pair_and_the_quick_tests(codename: str, root: bool, tmp_path: Path) -> None:
    began = time.monotonic()
    demo_and_pair(system(codename, tmp_path / "demo"), root=root)
    demo_s = time.monotonic() - began
    there = system(codename, tmp_path / "tests", DEVELOPMENT, online=root)
    ended = there.run(f"{CHECKOUT}\nscripts/test --quick", offline(Path(WHEELS)), root=root, timeout_s=1800)
    print(ended.stdout[-6_000:])
    assert ended.returncode == 0, ended.stdout[-6_000:]
    (took_s,) = re.findall(r"passed.* in ([\d.]+)s", ended.stdout)
    print(f"{NAMES[codename]}, {'root' if root else 'user'}: demo and pair {demo_s:.0f} s, quick tests {took_s} s")
    assert float(took_s) < QUICK_S
