"""The tools of a pair whose masters are on two machines: the one here tells where the other one is."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from master.admin import locate_masters
from master.commands import master

HERE, THERE = "10.0.0.1:8000", "10.0.0.2:8001"


class Pair:
    """Answers as two masters do, each at its address; `promote` moves the lead at once."""

    def __init__(self, leader: str) -> None:
        self.leader = leader
        self.silent = False
        self.asked: list[tuple[str, str]] = []

    def ask(self, addresses: Sequence[str], question: str, **_: Any) -> dict[str, dict[str, Any]]:
        found = [address for address in addresses if address in (HERE, THERE)]
        self.asked += [(address, question) for address in found]
        if question == "promote" and found:
            self.leader = THERE if self.leader == HERE else HERE
        return {address: self._state(address) for address in found}

    def _state(self, address: str) -> dict[str, Any]:
        number, peer = (0, THERE) if address == HERE else (1, HERE)
        role = "leading" if address == self.leader else "standby"
        said = {"number": number, "address": address, "peer": peer, "peer_silent": self.silent}
        return {"crawl": "main", "role": role, "epoch": 2, "pair": said, "dropped": {"unknown type": number + 1}}


def run(monkeypatch: pytest.MonkeyPatch, folder: Path, pair: Pair, *words: str) -> str:
    monkeypatch.setattr(locate_masters, "ask_masters", pair.ask)
    told = [*words, "--output", str(folder), "--host", "10.0.0.1", "--insecure"]
    done = CliRunner().invoke(master.tmatic_master, told, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_the_lead_goes_to_another_machine_and_comes_back(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pair = Pair(HERE)
    assert f"the master at {THERE} leads" in run(monkeypatch, tmp_path, pair, "promote")
    assert f"the master at {HERE} leads" in run(monkeypatch, tmp_path, pair, "promote", "--ha", "0")
    assert [address for address, question in pair.asked if question == "promote"] == [HERE, THERE]


@pytest.mark.parametrize(("leader", "number"), [(HERE, "0"), (THERE, "1")])
def test_who_leads_already_is_not_disturbed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, leader: str, number: str
) -> None:
    pair = Pair(leader)
    assert f"the master at {leader} leads already" in run(monkeypatch, tmp_path, pair, "promote", "--ha", number)
    assert pair.leader == leader


def test_the_state_of_a_crawl_is_that_of_its_leader(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    state = json.loads(run(monkeypatch, tmp_path, Pair(THERE), "status", "--json"))
    assert state["pair"]["address"] == THERE


def test_the_standby_on_the_other_machine_is_asked_what_it_dropped_unless_it_is_silent(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pair = Pair(HERE)
    state = json.loads(run(monkeypatch, tmp_path, pair, "status", "--json"))
    assert state["dropped_by"] == {HERE: {"unknown type": 1}, THERE: {"unknown type": 2}}
    pair.silent, pair.asked = True, []
    state = json.loads(run(monkeypatch, tmp_path, pair, "status", "--json"))
    assert state["dropped_by"] == {HERE: {"unknown type": 1}}
    assert THERE not in [address for address, _ in pair.asked]
