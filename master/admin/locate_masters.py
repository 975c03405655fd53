"""Which masters of a crawl run, and where: on the ports of the settings, or at the leader's address in the ledger.

A second crawl on a machine does not have the default port. Its ledger knows its leader, and whether it is alive: the
beat moves. So a tool that queries the wrong port does not mistake a running crawl for one at rest.
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
"""A master whose beat stands still for that long is gone; candidates for the lead judge it in the same way."""
BEAT_LOOK_S = 0.05

States = dict[str, dict[str, Any]]


def beating(ledger: Ledger) -> Lead | None:
    """The lead in the ledger, if the leader is alive; None when nobody leads. Raises LedgerError."""
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
    """The address of the leader, else of any master."""
    return min(states, key=lambda address: states[address].get("role") != "leading", default=None)


class Masters:
    """The masters of the crawl of the settings, for one tool. They are queried again where they were found."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._places = list(local_pair(settings.host, settings.port))
        self._others: dict[str, Any] = {}
        self.unreached: Lead | None = None
        """The leader of this crawl in the ledger that does not answer."""

    def ask(self, addresses: list[str], question: str) -> States:
        """The answers of the masters at these addresses."""
        keys = keys_for(self._settings)
        return ask_masters(addresses, question, certificate=keys.master() if keys is not None else None)

    def answering(self, places: list[str] | None = None) -> States:
        """The masters of this crawl that answer, by address: those in the settings, and the other one of a pair where
        these report it, unless one leads already. Masters of other crawls are ignored."""
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
        """These, and the standby that their leader hears: it is not awaited where a leader answers."""
        leader = leader_of(states)
        pair = states[leader].get("pair") if leader is not None else None
        if pair is None or pair["peer_silent"] or pair["peer"] in states:
            return states
        return states | self.ask([pair["peer"]], "status")

    def found(self, ledger: Ledger) -> States:
        """The masters of this crawl that answer; where none does, the leader in the ledger is queried at the address in
        its name, if that is on this machine. A leader that does not answer there is `unreached`."""
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
        """The address of the leader, else of any master that answers, and all that do. Raises LedgerError with
        `what_for` when no master runs, and with the leader's name when it is not reached."""
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
        """The addresses that were queried, for messages."""
        return " and ".join(self._places)

    @property
    def unreached_words(self) -> str:
        """The message that the leader is not reached, and what to do; "" when there is none."""
        if self.unreached is None:
            return ""
        name = self.unreached.name
        return f"this crawl is led by {name}, which does not answer at {self.asked_at}: name it by --host and --port"
