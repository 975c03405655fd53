"""Every benchmark looks for what it needs before it begins, and says in a sentence what to do when it is not there."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.checkout import ROOT

BENCHMARKS = ROOT / "benchmarks"
PARTS = {"bench_dramatiq", "crowd", "dispatch_limit", "needs", "noop_worker", "tweepy_pages"}
"""What benchmarks call, and nobody else does."""

TIMEOUT_S = 60
LACKING = """
import collections, runpy, shutil, sys
hidden, space, script = sys.argv[1], sys.argv[2], sys.argv[3]
if space == "full":
    shutil.disk_usage = lambda folder: collections.namedtuple("usage", "total used free")(1, 1, 0)
if hidden:
    sys.modules[hidden] = None
sys.argv = [script]
runpy.run_path(script, run_name="__main__")
"""


def call(name: str, *, hidden: str = "", full: bool = False, path: str = "") -> subprocess.CompletedProcess[str]:
    """A benchmark where something is not there."""
    command = [sys.executable, "-c", LACKING, hidden, "full" if full else "", str(BENCHMARKS / f"{name}.py")]
    environment = {**os.environ, "PATH": path}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S)


def refused(called: subprocess.CompletedProcess[str], name: str) -> str:
    """The sentence, when it is one and nothing was begun before it."""
    assert (called.returncode, called.stdout, called.stderr.count("\n")) == (1, "", 1), called.stderr[-2_000:]
    assert called.stderr.startswith(f"{name}.py: this benchmark needs ")
    return called.stderr


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(path.stem for path in BENCHMARKS.glob("*.py") if path.stem not in PARTS))
def test_a_benchmark_that_has_no_room_says_so_before_it_begins(name: str) -> None:
    assert "MiB free" in refused(call(name, full=True), name)


@pytest.mark.slow
def test_a_benchmark_without_its_program_says_what_to_install() -> None:
    assert "redis-server: apt-get install redis-server" in refused(call("failover"), "failover")


@pytest.mark.slow
@pytest.mark.parametrize(("name", "module"), [("dispatch", "dramatiq"), ("pages", "tweepy")])
def test_a_benchmark_without_a_package_of_its_children_says_what_to_install(name: str, module: str) -> None:
    assert f"{module}: scripts/setup --dev" in refused(call(name, hidden=module), name)


@pytest.mark.slow
def test_all_that_is_missing_is_told_at_once() -> None:
    said = refused(call("failover", full=True), "failover")
    assert "redis-server" in said
    assert "MiB free" in said
