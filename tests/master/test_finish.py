"""The end of a crawl, also when the ledger's server fails while the manifest is written or the master stays."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import zmq

from master.events.log_reader import LogReader
from master.events.publisher import LogTail, Publisher
from master.frontier.seed_files import SeedLines
from master.frontier.traversal import Traversing
from master.leadership.ledger_calls import Ending
from master.leadership.takeover import Takeover, TakeoverRequest
from master.loop import MasterLoop
from master.member import Member
from master.process import terms_of
from master.startup.open_crawl import open_crawl
from protocol.admin_client import ask_masters
from protocol.errors import LedgerError
from protocol.jobs import Operation
from protocol.settings.settings import Settings
from protocol.transport.gatekeeper import Gatekeeper
from protocol.transport.sockets import publisher, router
from tests.checkout import ROOT
from tests.crawl.running import COVERED
from tests.ports import free_port
from tests.waiting import until


def test_a_ledger_that_fails_while_a_crawl_is_finished_ends_no_master_and_hides_no_news(
    tmp_path: Path, valkey: str, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "targets").write_text("")
    settings = Settings(output_directory=tmp_path / "data", redis=valkey, durability="everysec")
    request = TakeoverRequest(frozenset({Operation.TIMELINE}), Traversing.DEFAULT, 0, SeedLines(tmp_path / "targets"))
    tries: list[str] = []

    def finish(loop: MasterLoop) -> None:
        tries.append("try")
        if len(tries) == 1:
            assert loop.dispatch is not None
            loop.dispatch.breakers.notices += [f"way {number} answers again" for number in range(30)]
        if len(tries) < 3:
            raise LedgerError("the ledger's server does not answer")

    opened, policy = open_crawl(settings, None), terms_of(settings)
    leading = Takeover(opened, request, "here:0", policy)
    member = Member(policy, leading.dispatch, leading.close, lambda: "incarnation")
    with zmq.Context() as context:
        socket, _ = router(context, "127.0.0.1", 0)
        published = Publisher(publisher(context, "127.0.0.1", 0)[0], LogTail())
        reader = LogReader(opened.reading)
        loop = MasterLoop(
            socket, member, leading, gatekeeper=Gatekeeper(None), publisher=published, reader=reader, finish=finish
        )
        try:
            assert loop.run() is Ending.DONE
        finally:
            loop.close()
            published.close()
            socket.close(0)
    assert len(tries) == 3
    assert caplog.text.count("written when it is well again") == 1
    assert caplog.text.count("answers again") == 30
    assert opened.ledger.observe().ended == "done"


@pytest.mark.slow
def test_a_master_that_is_done_and_stays_says_so(tmp_path: Path) -> None:
    (tmp_path / "targets").write_text("12\n")
    port, folder = free_port(), tmp_path / "data"
    words = ["-T", "--stay", "--stream", str(tmp_path / "targets"), "--output", str(folder), "--port", str(port)]
    with (tmp_path / "log").open("wb") as log:
        staying = subprocess.Popen([sys.executable, "-m", "master.commands.master", *words], stderr=log, env=COVERED)
    worker = [sys.executable, "-m", "benchmarks.noop_worker", "w1", f"127.0.0.1:{port}"]
    working = subprocess.Popen(worker, cwd=ROOT, env=COVERED)

    def state() -> str:
        return str(ask_masters([f"127.0.0.1:{port}"], "status").get(f"127.0.0.1:{port}", {}).get("state"))

    try:
        until(lambda: state() == "done, staying", 20)
    finally:
        staying.terminate()
        assert staying.wait(20) == 0
        working.terminate()
        working.wait(20)
