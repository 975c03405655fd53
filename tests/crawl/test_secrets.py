"""What a crawl is told in confidence is not for others on the machine to read."""

from __future__ import annotations

from pathlib import Path

import pytest

from protocol.settings.configuration import as_environment, configured
from protocol.settings.settings import Settings
from tests.crawl.running import children, crawling, emulator
from tests.storage.ledger.servers import own_redis
from tests.waiting import until
from tests.worker.proxying import proxying


def test_a_process_that_is_told_its_settings_reads_the_same(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("secret\n")
    for one in (
        Settings(),
        Settings(redis="redis://:secret@h:1/0", bind_ip=("127.0.0.2", "127.0.0.3"), use_compression=False, depth=3),
        Settings(bearer_token="secret", master=("a:1", "b:2"), grace_s=0.25, ha="1"),
        Settings(bearer_token="secret", bearer_token_file=token, key=tmp_path / "w1.key"),
        Settings(proxy=("http://me:s%2Ccret@p:1", "h=http://p:2"), ca_file=("~/ca.pem", "h=/x/y.pem")),
    ):
        told = as_environment(one, {"TMATIC_DEPTH": "9", "TMATIC_JT_PORT": "1", "PATH": "/bin"})
        assert configured(environment=told) == one
        assert told["PATH"] == "/bin"


@pytest.mark.slow
def test_no_password_stands_in_a_command_line(tmp_path: Path) -> None:
    folder = tmp_path / "redis"
    folder.mkdir()
    (tmp_path / "targets.txt").write_text("12\n")
    with own_redis(folder) as server, emulator("--users", "300", "--seed", "7") as service, proxying() as proxy:
        proxy.wants = "me:open-sesame"
        with server.client() as client:
            client.config_set("requirepass", "open-sesame")
        words = [str(tmp_path / "targets.txt"), "-T", "-F", "-A", "--traversing", "BFS", "--base-url", service.url]
        url = f"unix://:open-sesame@{folder / 'redis.sock'}"
        way = {"TMATIC_REDIS": url, "TMATIC_PROXY": f"http://me:open-sesame@{proxy.place}"}
        with crawling(tmp_path / "data", *words, "--ha", **way) as process:
            until(lambda: len(children(process)["worker"]) == 4 and any((tmp_path / "data").glob("*/*.twt")), 60)
            for kind in ("master", "worker"):
                for pid in children(process)[kind]:
                    assert b"open-sesame" not in Path(f"/proc/{pid}/cmdline").read_bytes(), kind
        assert "open-sesame" not in (tmp_path / "data.log").read_text()
        assert proxy.asked, "what was got came through the proxy"
        assert process.returncode == 143 or process.returncode == 130
