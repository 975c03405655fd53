"""What can be seen to be wrong is found out before anything is made or started, and said in one sentence."""

from __future__ import annotations

import lzma
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from master.crawl.ports import take
from master.startup import preflight
from protocol.errors import UsageError
from protocol.settings.settings import Settings
from tests.crawl.running import COVERED

pytestmark = pytest.mark.slow

CRAWL, MASTER, REHEARSE = "master.commands.crawl", "master.commands.master", "master.commands.rehearse"
WITHIN_S = 60


def said(folder: Path, module: str, words: Sequence[str], **environment: str) -> tuple[int, str]:
    """The exit code of a command in a folder, and what it says on standard error."""
    done = subprocess.run(
        [sys.executable, "-m", module, *words],
        cwd=folder,
        env=COVERED | environment,
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stderr


def targets(folder: Path) -> None:
    (folder / "good.txt").write_text("12\n")
    (folder / "empty.txt").write_text("")
    (folder / "packed.xz").write_bytes(lzma.compress(b"12\n"))


@pytest.mark.parametrize(
    ("module", "words", "sentence"),
    [
        (CRAWL, ["", "-T"], "TARGETS is empty: name a file of ids"),
        (CRAWL, ["-T"], "data holds no crawl named main, and a new one needs targets: name a file of ids by TARGETS"),
        (CRAWL, ["-U"], "data holds no crawl named main"),
        (CRAWL, ["empty.txt", "-T"], "empty.txt names no account: it is empty"),
        (CRAWL, ["packed.xz", "-T"], "packed.xz names no account: it is compressed by xz"),
        (CRAWL, ["good.txt"], "say what to do with each account: at least one of -T, -F, -A, or -U alone"),
        (CRAWL, ["good.txt", "-T", "-U"], "-U stands alone"),
        (CRAWL, ["nowhere.txt", "-T"], "nowhere.txt cannot be read"),
        (CRAWL, ["good.txt", "-T", "--seeds", "nowhere.txt"], "nowhere.txt cannot be read"),
        (CRAWL, ["good.txt", "-T", "--follow-rule", "lang =="], "--follow-rule 'lang ==' is not an expression"),
        (CRAWL, ["good.txt", "-T", "--ca-file", "empty.txt"], "--ca-file empty.txt is empty: name a file of PEM"),
        (CRAWL, ["good.txt", "-T", "--proxy", "socks5://h:1080"], "--proxy must be a list of URLs http://HOST:PORT"),
        (CRAWL, ["good.txt", "-T", "--proxy", "http://a:b@h:1"], "others on this machine can read command lines"),
        (CRAWL, ["good.txt", "-T", "--emulator", "--proxy", "http://h:1"], "--emulator and --proxy exclude each other"),
        (CRAWL, ["good.txt", "-T", "--bearer-token-file", "empty.txt"], "what empty.txt holds is empty"),
        (CRAWL, ["good.txt", "-T", "--base-url", "https://h/?key=1"], "no user, password, ? or # has a place in it"),
        (CRAWL, ["good.txt", "-T", "--emulator", "--emulator-options", "'"], "cannot be split into words"),
        (CRAWL, ["good.txt", "-T", "--emulator", "--emulator-options", "--nonsense"], "the emulator did not start"),
        (CRAWL, ["good.txt", "-T", "--host", "192.0.2.1"], "--host 192.0.2.1, port 8000 cannot be listened on: Cannot"),
        (CRAWL, ["good.txt", "-T", "--ha", "--port", "65535"], "--port 65535 is the last there is"),
        (MASTER, ["-T"], "data holds no crawl named main, and a new one needs targets: name a file of ids by --stream"),
        (MASTER, ["-U"], "data holds no crawl named main"),
        (MASTER, ["--stream", "good.txt"], "say what to do with each account"),
        (MASTER, ["-T", "-U", "--stream", "good.txt"], "-U stands alone"),
        (MASTER, ["-T", "--stream", "packed.xz"], "packed.xz names no account: it is compressed by xz"),
        (REHEARSE, ["--kill", "master@1s", "--emulator-options", "'"], "cannot be split into words"),
        (REHEARSE, ["--kill", "master@1s", "--follow-rule", "1 +"], "--follow-rule '1 +' is not an expression"),
        (REHEARSE, ["packed.xz", "--kill", "master@1s"], "packed.xz names no account: it is compressed by xz"),
    ],
)
def test_a_misuse_is_refused_before_anything_is_made(
    module: str, words: list[str], sentence: str, tmp_path: Path
) -> None:
    targets(tmp_path)
    there = sorted(tmp_path.iterdir())
    code, told = said(tmp_path, module, [*words, "--output", "data"])
    assert code == 2, told
    assert sentence in told.splitlines()[-1]
    assert sorted(tmp_path.iterdir()) == there


def test_a_port_that_somebody_listens_on_is_passed_over_and_no_other_trouble_is_taken_for_that() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = int(taken.getsockname()[1])
        assert take("127.0.0.1", port, 1).first != port
    assert take("*", 0, 1).first
    with pytest.raises(UsageError, match=r"--host nowhere\.invalid, port 8000 cannot be listened on"):
        take("nowhere.invalid", 8000, 1)


def test_a_rule_that_does_not_come_in_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "endless.py").write_text("import time\ntime.sleep(60)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(preflight, "RULE_READ_S", 1.0)
    with pytest.raises(UsageError, match="endless:rule cannot be imported: it takes over 1 s"):
        preflight.check_rule(Settings(follow_rule="endless:rule"))
