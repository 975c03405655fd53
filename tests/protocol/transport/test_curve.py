"""Real sockets with keys: whoever has none, an unknown or a revoked one gets nothing; everybody else is served."""

from __future__ import annotations

import contextlib
import logging
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from protocol import messages as wire
from protocol.transport import sockets
from protocol.transport.authentication import Authentication, Authorised
from protocol.transport.gatekeeper import REMEMBERED, Gatekeeper, may_say
from protocol.transport.keys import Certificate, KeyRole, Keys, read_certificate
from protocol.transport.refusals import Refusals, watched_dealer
from protocol.vectors import EXAMPLES
from tests.protocol.strangers import send_garbage
from tests.waiting import until

WITHIN_S = 10
HEARTBEAT = wire.encode(EXAMPLES["heartbeat"])
HELLO = wire.encode(EXAMPLES["hello"])
JOB = wire.encode(EXAMPLES["job, new"])
Socket = zmq.Socket[bytes]
Heard = tuple[bytes, KeyRole | None, list[bytes]]


class Master:
    """A master's side: a ROUTER with its door and its judge, and clients of every kind."""

    def __init__(self, folder: Path, context: zmq.Context[Socket]) -> None:
        self.keys = Keys(folder / "keys")
        self.w1 = self.made("w1")
        self.context = context
        self.judge = Authentication(context, Authorised(self.keys))
        self.gatekeeper = Gatekeeper(self.judge.authorised)
        self.router, self.port = sockets.router(context, "127.0.0.1", 0, certificate=self.keys.master())
        self.clients: list[Socket] = []
        self.watches: list[Refusals] = []

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def made(self, name: str, role: KeyRole = KeyRole.WORKER) -> Certificate:
        return read_certificate(self.keys.new(name, role))

    def client(self, certificate: Certificate | None, routing_id: bytes = b"") -> Socket:
        name = routing_id or secrets.token_bytes(8)
        self.clients.append(sockets.dealer(self.context, self.address, name, certificate=certificate))
        return self.clients[-1]

    def watched(self, certificate: Certificate | None) -> tuple[Socket, Refusals]:
        """A client like a worker's, with what tells it of refusals."""
        client, watch = watched_dealer(self.context, self.address, secrets.token_bytes(8), certificate=certificate)
        self.clients.append(client)
        self.watches.append(watch)
        return client, watch

    def hears(self, within_s: float = WITHIN_S) -> Heard:
        assert self.router.poll(int(within_s * 1000)), "nobody was heard"
        return self.gatekeeper.receive(self.router)

    def serves(self, certificate: Certificate) -> bytes:
        """The routing id of a client with this certificate, after a message each way."""
        client = self.client(certificate)
        client.send_multipart(HEARTBEAT)
        peer, role, frames = self.hears()
        assert (role, frames) == (certificate.role, HEARTBEAT)
        assert self.gatekeeper.may_get(peer)
        self.router.send_multipart([peer, *JOB])
        assert client.poll(WITHIN_S * 1000) and client.recv_multipart() == JOB
        return peer

    def hears_nothing_before(self, certificate: Certificate) -> None:
        """The next one to be heard is a good client that calls now, whoever has been trying before."""
        self.serves(certificate)
        with pytest.raises(zmq.Again):
            self.gatekeeper.receive(self.router)

    def close(self) -> None:
        for watch in self.watches:
            watch.close()
        for one in [*self.clients, self.router]:
            one.close(0)


@pytest.fixture
def master(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Master]:
    monkeypatch.setattr(sockets, "HANDSHAKE_MS", 500)
    with zmq.Context() as context:
        opened = Master(tmp_path, context)
        with opened.judge:
            try:
                yield opened
            finally:
                opened.close()


def refused(watch: Refusals) -> str:
    """What a client is told of its refusal."""
    return until(lambda: watch.look(time.monotonic()), WITHIN_S)


def test_a_worker_with_its_key_is_served(master: Master) -> None:
    master.serves(master.w1)
    master.serves(master.w1)
    assert master.gatekeeper.refused == 0


def test_the_other_master_calls_with_the_masters_own_key(master: Master) -> None:
    master.serves(master.keys.master())


def test_whoever_has_no_key_gets_nothing(master: Master) -> None:
    client, (_, watch) = master.client(None), master.watched(None)
    client.send_multipart(HEARTBEAT)
    assert "wants a key: `tmatic-master keys new NAME`" in refused(watch)
    master.hears_nothing_before(master.w1)
    assert not client.poll(0)


@pytest.mark.slow
def test_whoever_has_an_unknown_key_gets_nothing(master: Master, caplog: pytest.LogCaptureFixture) -> None:
    public, secret = (half.decode() for half in zmq.curve_keypair())
    unknown = Certificate("w1", KeyRole.WORKER, public, secret, master.w1.master)
    client, (_, watch) = master.client(unknown), master.watched(unknown)
    client.send_multipart(HEARTBEAT)
    assert "does not answer to this key" in refused(watch)
    assert "does not answer to this key" in refused(watch)
    master.hears_nothing_before(master.w1)
    assert not client.poll(0)
    assert caplog.text.count("a connection was refused: the key of a stranger is not authorised") == 1


def test_a_worker_does_not_talk_to_a_master_that_is_not_its_own(master: Master, tmp_path: Path) -> None:
    theirs = read_certificate(Keys(tmp_path / "theirs").new("w1", KeyRole.WORKER))
    client, (_, watch) = master.client(theirs), master.watched(theirs)
    client.send_multipart(HEARTBEAT)
    assert "is for other masters" in refused(watch)
    master.hears_nothing_before(master.w1)


def test_a_key_that_was_revoked_before_gets_nothing(master: Master, caplog: pytest.LogCaptureFixture) -> None:
    gone = master.made("gone")
    master.keys.revoke("gone")
    master.judge.authorised.look()
    client, (_, watch) = master.client(gone), master.watched(gone)
    client.send_multipart(HEARTBEAT)
    assert "does not answer to this key" in refused(watch)
    master.hears_nothing_before(master.w1)
    assert "the key of gone is not authorised" in caplog.text


@pytest.mark.slow
def test_a_key_revoked_while_connected_gets_nothing(master: Master) -> None:
    stays = master.serves(master.w1)
    client = master.client(w2 := master.made("w2"))
    client.send_multipart(HEARTBEAT)
    peer, role, _ = master.hears()
    assert role is KeyRole.WORKER and master.gatekeeper.may_get(peer)
    until(lambda: not master.gatekeeper.cut(), WITHIN_S)
    master.keys.revoke("w2")
    assert until(master.gatekeeper.cut, WITHIN_S) == [peer]
    assert master.gatekeeper.cut() == []
    assert not master.gatekeeper.may_get(peer)
    client.send_multipart(HEARTBEAT)
    assert master.hears() == (peer, None, HEARTBEAT)
    assert master.gatekeeper.refused == 1
    assert not master.gatekeeper.may_get(peer), "speaking again must not open the door again"
    assert master.gatekeeper.may_get(stays)
    _, watch = master.watched(w2)
    assert "does not answer to this key" in refused(watch)


def test_a_new_key_is_served_without_a_restart(master: Master) -> None:
    master.serves(master.made("w2"))


def test_a_client_that_was_refused_is_served_once_its_key_is_authorised(master: Master) -> None:
    w2 = master.made("w2")
    public = master.keys.folder / "authorised" / "w2.pub"
    elsewhere = public.rename(master.keys.folder / "w2.pub")
    client, (_, watch) = master.client(w2), master.watched(w2)
    client.send_multipart(HEARTBEAT)
    assert refused(watch)
    elsewhere.rename(public)
    assert master.hears()[1:] == (KeyRole.WORKER, HEARTBEAT)


def test_while_nobody_judges_nobody_is_let_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "HANDSHAKE_MS", 200)
    with zmq.Context() as context, contextlib.closing(Master(tmp_path, context)) as unjudged:
        client, (_, watch) = unjudged.client(unjudged.w1), unjudged.watched(unjudged.w1)
        client.send_multipart(HEARTBEAT)
        assert refused(watch)
        assert not unjudged.router.poll(0)
        with unjudged.judge:
            assert unjudged.hears()[1] is KeyRole.WORKER


def test_garbage_at_the_port_does_no_harm(master: Master) -> None:
    before = master.serves(master.w1)
    send_garbage(master.address, 200, seed=5)
    master.hears_nothing_before(master.w1)
    assert master.gatekeeper.may_get(before)
    assert master.judge.authorised.role_of(master.w1.public) is KeyRole.WORKER


@pytest.mark.slow
def test_a_routing_id_is_worth_what_its_last_speaker_is(master: Master) -> None:
    s1 = master.made("s1", KeyRole.SUBSCRIBER)
    first = master.client(master.w1, b"the same")
    first.send_multipart(HEARTBEAT)
    assert master.hears()[:2] == (b"the same", KeyRole.WORKER)
    # While the first is connected, another under its id is not heard.
    master.client(s1, b"the same").send_multipart(HEARTBEAT)
    master.hears_nothing_before(master.w1)
    first.close(0)

    def speaks() -> bool:
        master.client(s1, b"the same").send_multipart(HEARTBEAT)
        return master.router.poll(100) > 0

    until(speaks, WITHIN_S)
    assert master.hears()[:2] == (b"the same", KeyRole.SUBSCRIBER)
    until(lambda: not master.gatekeeper.cut(), WITHIN_S)
    master.keys.revoke("s1")
    assert until(master.gatekeeper.cut, WITHIN_S) == [b"the same"]


def test_the_door_forgets_rather_than_grow(master: Master, monkeypatch: pytest.MonkeyPatch) -> None:
    assert REMEMBERED >= 100_000
    monkeypatch.setattr("protocol.transport.gatekeeper.REMEMBERED", 2)
    first, *_ = (master.serves(master.w1) for _ in range(3))
    assert not master.gatekeeper.may_get(first)
    master.clients[0].send_multipart(HEARTBEAT)
    assert master.hears()[0] == first
    assert master.gatekeeper.may_get(first)


def test_a_plain_socket_has_an_open_door() -> None:
    gatekeeper = Gatekeeper(None)
    with zmq.Context() as context:
        router, port = sockets.router(context, "127.0.0.1", 0)
        client = sockets.dealer(context, f"127.0.0.1:{port}", b"anybody")
        with router, client:
            client.send_multipart(HEARTBEAT)
            assert router.poll(WITHIN_S * 1000)
            assert gatekeeper.receive(router) == (b"anybody", KeyRole.PEER, HEARTBEAT)
            assert gatekeeper.may_get(b"anybody") and gatekeeper.cut() == []
            with pytest.raises(zmq.Again):
                gatekeeper.receive(router)


def test_where_a_worker_calls_from_is_known_by_its_hello() -> None:
    gatekeeper = Gatekeeper(None)
    with zmq.Context() as context:
        router, port = sockets.router(context, "127.0.0.1", 0)
        client = sockets.dealer(context, f"127.0.0.1:{port}", b"a worker")
        with router, client:
            client.send_multipart(HEARTBEAT)
            assert router.poll(WITHIN_S * 1000)
            gatekeeper.receive(router)
            assert gatekeeper.addresses == {}
            client.send_multipart(HELLO)
            assert router.poll(WITHIN_S * 1000)
            gatekeeper.receive(router)
            assert gatekeeper.addresses == {b"a worker": "127.0.0.1"}


def test_a_worker_that_calls_plainly_where_keys_are_not_spoken_is_told_and_calls_again(
    master: Master, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("protocol.transport.refusals.RECONNECT_MAX_MS", 50)
    master.router.close(0)
    plain = master.context.socket(zmq.ROUTER)
    until(lambda: plain.bind(f"tcp://{master.address}") is not None, WITHIN_S, expecting=zmq.ZMQError)
    client, watch = master.watched(master.w1)
    assert "speaks plainly" in refused(watch)
    plain.close(0)

    def rebound() -> tuple[Socket, int]:
        return sockets.router(master.context, "127.0.0.1", master.port, certificate=master.keys.master())

    master.router, _ = until(rebound, WITHIN_S, expecting=Exception)

    def says() -> bool:
        watch.look(time.monotonic())
        client.send_multipart(HEARTBEAT, zmq.NOBLOCK)
        return master.router.poll(100) > 0

    until(says, WITHIN_S, expecting=zmq.Again)
    assert master.hears()[1] is KeyRole.WORKER


def test_what_each_role_may_say() -> None:
    says = {role: {name for name, message in EXAMPLES.items() if may_say(role, message)} for role in KeyRole}
    assert says[KeyRole.PEER] == set(EXAMPLES)
    kinds = {type(EXAMPLES[name]) for name in says[KeyRole.WORKER]}
    assert kinds == {wire.Hello, wire.ProgressMade, wire.Result, wire.Heartbeat, wire.Bye}
    assert may_say(KeyRole.SUBSCRIBER, wire.Status("status"))
    assert not may_say(KeyRole.SUBSCRIBER, wire.Status("drain"))
    assert {type(EXAMPLES[name]) for name in says[KeyRole.SUBSCRIBER]} <= {wire.Status, wire.Replay, wire.Passed}


# Events.


class Subscriber:
    """A SUB that hears everything."""

    def __init__(self, master: Master, port: int, certificate: Certificate | None) -> None:
        self.socket = master.context.socket(zmq.SUB)
        self.socket.subscribe(b"")
        self.socket.setsockopt(zmq.RECONNECT_IVL, 10)
        if certificate is not None:
            sockets.call_with(self.socket, certificate)
        self.socket.connect(f"tcp://127.0.0.1:{port}")
        self.socket.setsockopt(zmq.LINGER, 0)
        master.clients.append(self.socket)
        self.heard = b""

    def hears(self) -> bytes:
        while self.socket.poll(0):
            self.heard = self.socket.recv()
        return self.heard


def announced(publisher: Socket, event: bytes, to: list[Subscriber]) -> None:
    """An event is published until all these have heard it: a SUB that connects late misses what came before."""

    def all_heard() -> bool:
        publisher.send(event)
        return all(one.hears() == event for one in to)

    until(all_heard, WITHIN_S)


def test_events_are_for_subscribers_and_one_that_is_revoked_is_cut(master: Master) -> None:
    own = master.keys.master()
    publisher, port = sockets.publisher(master.context, "127.0.0.1", 0, certificate=own)
    first, second = (Subscriber(master, port, master.made(name, KeyRole.SUBSCRIBER)) for name in ("s1", "s2"))
    worker, nobody = Subscriber(master, port, master.w1), Subscriber(master, port, None)
    announced(publisher, b"one", [first, second])
    master.keys.revoke("s2")
    master.judge.authorised.look()
    publisher, again = sockets.publisher(master.context, "127.0.0.1", port, certificate=own, instead_of=publisher)
    master.clients.append(publisher)
    assert again == port
    second.hears()
    announced(publisher, b"two", [first])
    assert [one.hears() for one in (second, worker, nobody)] == [b"one", b"", b""]


def test_no_secret_is_logged(master: Master, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    w2 = master.made("w2")
    master.serves(w2)
    master.keys.revoke("w2")
    master.judge.authorised.look()
    _, watch = master.watched(w2)
    refused(watch)
    assert "the key of w2 is not authorised" in caplog.text
    for secret in (w2.secret, master.w1.secret, master.keys.master().secret):
        assert secret not in caplog.text
