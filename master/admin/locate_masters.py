"""Which masters of a crawl run, and where: on the ports that the settings name, or where the ledger says who leads.

A second crawl on a machine has another port than the usual one. Its ledger knows who leads it, and whether that one is
alive: the beat moves. So a tool that asks at the wrong port does not take a crawl that runs for one that rests.
"""

from __future__ import annotations

import platform
import time
from typing import Any

import click

from master.admin.reading import reading
from protocol.admin_client import ask_masters
from protocol.errors import LedgerError, UsageError
from protocol.numbers import MAX_PORT, whole_number
from protocol.settings.settings import Settings
from protocol.transport.endpoints import local_pair, reached
from protocol.transport.exposure import keys_for
from storage.dataset.open import open_dataset
from storage.ledger.ledger import Lead, Ledger

BEAT_WATCHED_S = 1.0
"""A beat that stands still so long is that of a master that is gone, for whoever may take the lead too."""
BEAT_LOOK_S = 0.05

States = dict[str, dict[str, Any]]


def beating(ledger: Ledger) -> Lead | None:
    """Who leads, as the ledger says, if that one is alive; None when nobody does. Raises LedgerError."""
    seen = ledger.observe()
    deadline = time.monotonic() + BEAT_WATCHED_S
    while seen.incarnation and time.monotonic() < deadline:
        time.sleep(BEAT_LOOK_S)
        now = ledger.observe()
        if now.incarnation and (now.incarnation, now.beat) != (seen.incarnation, seen.beat):
            return now
        if not now.incarnation:
            return None
    return None


def leader_of(states: States) -> str | None:
    """The address of the one that leads, else of any."""
    return min(states, key=lambda address: states[address].get("role") != "leading", default=None)


class Masters:
    """The masters of the crawl that the settings name, for one tool. Where they were found they are asked again."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._places = list(local_pair(settings.host, settings.port))
        self._others: dict[str, Any] = {}
        self.unreached: Lead | None = None
        """Who leads this crawl, as the ledger says, and does not answer."""

    def ask(self, addresses: list[str], question: str) -> States:
        """What those at these addresses answer."""
        keys = keys_for(self._settings)
        return ask_masters(addresses, question, certificate=keys.master() if keys is not None else None)

    def answering(self, places: list[str] | None = None) -> States:
        """The masters of this crawl that answer, by address: where the settings say, and the other one of a pair where
        these say, unless one leads already. Another crawl's are left alone."""
        states = self.ask(places or self._places, "status")
        if all(state.get("role") != "leading" for state in states.values()):
            peers = {state["pair"]["peer"] for state in states.values() if "pair" in state} - states.keys()
            states |= self.ask(sorted(peers), "status")
        ours = open_dataset(self._settings).ledger_id(self._settings.crawl)
        found = {}
        for address, state in states.items():
            if state.get("crawl") == self._settings.crawl and (state.get("ledger") or ours) == ours:
                found[address] = state
            else:
                self._others[address] = state.get("crawl")
        if found:
            peers = {state["pair"]["peer"] for state in found.values() if "pair" in state}
            self._places = sorted({*found, *peers})
        return found

    def with_standby(self, states: States) -> States:
        """These, and the standby that the leader among them hears: nobody waits for that one where a leader answers."""
        leader = leader_of(states)
        pair = states[leader].get("pair") if leader is not None else None
        if pair is None or pair["peer_silent"] or pair["peer"] in states:
            return states
        return states | self.ask([pair["peer"]], "status")

    def found(self, ledger: Ledger) -> States:
        """The masters of this crawl that answer; where none does, the one that leads by the ledger is asked where its
        name says that it is, if that is this machine. One that does not answer there is `unreached`."""
        if states := self.answering():
            return states
        lead = beating(ledger)
        host, _, port = lead.name.rpartition(":") if lead is not None else ("", "", "")
        number = whole_number(port, MAX_PORT)
        if host == (platform.node() or "master") and number is not None:
            place = reached(self._settings.host, number)
            if states := self.answering([place]):
                return states
            self._places = list(dict.fromkeys([*self._places, place]))
        self.unreached = lead
        for address, crawl in self._others.items():
            click.echo(f"the master at {address} is of another crawl, {crawl!r}, and not asked", err=True)
        return {}

    def leader(self, what_for: str) -> tuple[str, States]:
        """The address of the one that leads, else of any that answers, and all that do. Raises LedgerError with
        `what_for` when nobody runs, and with who leads when that one is not reached."""
        states = self.answering()
        if not states:
            try:
                with reading(self._settings) as opened:
                    states = self.found(opened.ledger)
            except UsageError as error:
                raise LedgerError(f"no master answers at {self.asked_at}, and {error}") from error
        leader = leader_of(states)
        if leader is None:
            raise LedgerError(self.unreached_words or f"no master answers at {self.asked_at}: {what_for}")
        return leader, states

    @property
    def asked_at(self) -> str:
        """Where masters were asked, for people."""
        return " and ".join(self._places)

    @property
    def unreached_words(self) -> str:
        """That somebody leads who is not reached, and what to do; "" when nobody does."""
        if self.unreached is None:
            return ""
        name = self.unreached.name
        return f"this crawl is led by {name}, which does not answer at {self.asked_at}: name it by --host and --port"
