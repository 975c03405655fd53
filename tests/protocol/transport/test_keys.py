"""Key files: who may read them, what they say, and that nobody loses one; and when keys must be."""

from __future__ import annotations

import contextlib
import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from click.testing import CliRunner, Result

from master.commands.keys import keys as keys_command
from protocol.errors import UsageError
from protocol.settings.settings import Settings
from protocol.transport.authentication import Authorised
from protocol.transport.exposure import certificate_for, check_exposure, is_loopback, keys_for
from protocol.transport.keys import MAX_KEY_BYTES, Certificate, KeyRole, Keys, KeyState, read_certificate


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(tmp_path / "keys")


@pytest.fixture
def w1(keys: Keys) -> Path:
    return keys.new("w1", KeyRole.WORKER)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def in_one_sentence(error: pytest.ExceptionInfo[UsageError]) -> str:
    assert "\n" not in str(error.value)
    return str(error.value)


def test_the_first_key_makes_that_of_the_masters_too_and_only_their_owner_can_read_them(keys: Keys) -> None:
    before = os.umask(0)
    try:
        path = keys.new("w1", KeyRole.WORKER)
    finally:
        os.umask(before)
    assert {str(one.relative_to(keys.folder)) for one in keys.folder.rglob("*") if one.is_file()} == {
        "master.key",
        "w1.key",
        "authorised/w1.pub",
    }
    assert {mode(one) for one in keys.folder.rglob("*") if one.is_file()} == {0o600}
    assert {mode(one) for one in (keys.folder, path.parent / "authorised", path.parent / "revoked")} == {0o700}


def test_a_worker_needs_its_one_file(keys: Keys, w1: Path) -> None:
    certificate, master = read_certificate(w1), keys.master()
    assert (certificate.name, certificate.role) == ("w1", KeyRole.WORKER)
    assert certificate.master == master.public == master.master
    assert len({certificate.public, certificate.secret, master.public, master.secret}) == 4
    assert master.role is KeyRole.PEER
    assert read_certificate(keys.new("w2", KeyRole.WORKER)).master == master.public


@pytest.mark.parametrize("lax", [0o640, 0o604, 0o660, 0o610, 0o777])
def test_a_secret_that_others_may_read_is_refused(w1: Path, lax: int) -> None:
    w1.chmod(lax)
    with pytest.raises(UsageError) as refused:
        read_certificate(w1)
    assert in_one_sentence(refused) == f"{w1} is secret, and others may read it: say chmod 600 {w1}"
    w1.chmod(0o400)
    assert read_certificate(w1).name == "w1"


@pytest.mark.parametrize("of", ["", "authorised", "revoked"])
def test_a_folder_in_which_others_may_authorise_keys_is_refused(keys: Keys, w1: Path, of: str) -> None:
    (w1.parent / of).chmod(0o770)
    with pytest.raises(UsageError, match="others may change it: say chmod 700"):
        Authorised(keys)


def test_a_key_is_never_written_over_and_a_name_never_used_again(keys: Keys, w1: Path) -> None:
    content = w1.read_bytes()
    for _ in range(2):
        with pytest.raises(UsageError, match="there is or was a key with the name w1"):
            keys.new("w1", KeyRole.WORKER)
        assert w1.read_bytes() == content
        keys.revoke("w1")
    w1.unlink()
    with pytest.raises(UsageError, match="there is or was a key with the name w1"):
        keys.new("w1", KeyRole.SUBSCRIBER)


def test_many_who_make_keys_at_once_get_one_masters_key_and_each_name_once(tmp_path: Path) -> None:
    for round in range(10):
        keys, start = Keys(tmp_path / str(round)), Barrier(6)
        made: list[Path] = []

        def make(name: str, keys: Keys = keys, start: Barrier = start, made: list[Path] = made) -> None:
            start.wait()
            with contextlib.suppress(UsageError):
                made.append(keys.new(name, KeyRole.WORKER))

        with ThreadPoolExecutor(6) as threads:
            list(threads.map(make, ["same", "same", "same", "w1", "w2", "w3"]))
        assert sorted(path.stem for path in made) == ["same", "w1", "w2", "w3"]
        assert {read_certificate(path).master for path in made} == {keys.master().public}
        who = Authorised(keys)
        assert {who.role_of(read_certificate(path).public) for path in made} == {KeyRole.WORKER}
        assert not list(keys.folder.rglob(".*"))


def test_a_lost_key_of_the_masters_is_not_replaced_by_one_that_no_worker_knows(keys: Keys, w1: Path) -> None:
    (w1.parent / "master.key").unlink()
    with pytest.raises(UsageError, match=r"master\.key is gone.*restore it"):
        keys.new("w2", KeyRole.WORKER)
    with pytest.raises(UsageError, match=r"there are no keys in .*tmatic-master keys new NAME"):
        keys.master()


@pytest.mark.parametrize("name", ["", "master", "../up", "a/b", ".hidden", "x" * 65, 'a"b', "a\nb", "ä"])
def test_a_name_that_could_be_another_file_is_refused(keys: Keys, name: str) -> None:
    with pytest.raises(UsageError) as refused:
        keys.new(name, KeyRole.WORKER)
    assert in_one_sentence(refused)
    assert not keys.folder.exists()


def test_nobody_gets_the_role_of_a_master(keys: Keys, w1: Path) -> None:
    with pytest.raises(UsageError, match=r"master\.key is that of every master"):
        keys.new("w2", KeyRole.PEER)
    public = keys.folder / "authorised" / "w1.pub"
    public.write_text(public.read_text().replace("worker", "peer"))
    with pytest.raises(UsageError, match=r"w1\.pub is not a whole key file"):
        keys.every_key()
    assert Authorised(keys).role_of(read_certificate(w1).public) is None


def test_a_workers_key_does_not_make_a_master(keys: Keys, w1: Path) -> None:
    master = keys.folder / "master.key"
    master.write_text(w1.read_text(encoding="utf-8"))
    with pytest.raises(UsageError, match="is not the key of a master but that of w1"):
        keys.master()
    master.write_text(w1.read_text(encoding="utf-8").replace('"worker"', '"peer"'))
    with pytest.raises(UsageError, match="is not a whole key file"):
        keys.master()


def damage(text: str, certificate: Certificate) -> list[bytes]:
    return [
        b"",
        b"\xff\xfe",
        text.encode()[:-20],
        text.replace(certificate.secret, "short").encode(),
        text.replace(certificate.secret, certificate.public).encode(),
        text.replace(certificate.secret, "#" * 40).encode(),
        text.replace(f'"{certificate.secret}"', f'"{certificate.secret}').encode(),
        text.replace(f'"{certificate.secret}"', "1").encode(),
        text.replace("worker", "owner").encode(),
        text.encode() + b"#" * MAX_KEY_BYTES,
        b"a = " + b"[" * (MAX_KEY_BYTES - 10),
    ]


def test_a_damaged_file_is_refused_without_a_word_of_its_content(w1: Path) -> None:
    certificate = read_certificate(w1)
    for content in damage(w1.read_text(encoding="utf-8"), certificate):
        w1.write_bytes(content)
        with pytest.raises(UsageError, match="is not a whole key file") as refused:
            read_certificate(w1)
        assert certificate.secret[:8] not in in_one_sentence(refused)


def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    for path, words in {"pipe": "is not a file", "missing": "No such file", ".": "Is a directory"}.items():
        with pytest.raises(UsageError, match=words):
            read_certificate(tmp_path / path)


def test_no_secret_is_shown(keys: Keys, w1: Path) -> None:
    certificate = read_certificate(w1)
    keys.new("s1", KeyRole.SUBSCRIBER)
    keys.revoke("s1")
    shown = repr(certificate) + str(certificate) + repr(keys.master()) + repr(keys.every_key())
    shown += said("list").output + said("list", "--json").output + (keys.folder / "authorised" / "w1.pub").read_text()
    for secret in (certificate.secret, keys.master().secret):
        assert secret not in shown


# What is authorised.


def test_a_revocation_counts_more_than_a_copy_that_is_behind(keys: Keys, w1: Path) -> None:
    public = read_certificate(w1).public
    authorised, revoked = (keys.folder / state.value / "w1.pub" for state in KeyState)
    content = authorised.read_text()
    who = Authorised(keys)
    assert who.role_of(public) is KeyRole.WORKER
    assert keys.revoke("w1") and not keys.revoke("w1")
    authorised.write_text(content)
    who.look()
    assert who.role_of(public) is None
    assert [(key.name, key.state) for key in keys.every_key()] == [("w1", KeyState.REVOKED)]
    revoked.write_text("damaged")
    who.look()
    assert who.role_of(public) is None
    (keys.folder / "authorised" / "w9.pub").write_text(content.replace('"w1"', '"w9"'))
    revoked.write_text(content)
    who.look()
    assert who.role_of(public) is None


def test_a_damaged_file_authorises_nobody_and_stops_nobody_else(
    keys: Keys, w1: Path, caplog: pytest.LogCaptureFixture
) -> None:
    w2 = read_certificate(keys.new("w2", KeyRole.WORKER)).public
    (keys.folder / "authorised" / "w1.pub").write_text("damaged")
    who = Authorised(keys)
    for _ in range(3):
        who.look()
    assert (who.role_of(read_certificate(w1).public), who.role_of(w2)) == (None, KeyRole.WORKER)
    assert caplog.text.count("w1.pub is not a whole key file") == 1


def test_a_folder_that_cannot_be_read_sends_nobody_away(keys: Keys, w1: Path, caplog: pytest.LogCaptureFixture) -> None:
    who, public, folder = Authorised(keys), read_certificate(w1).public, keys.folder / "authorised"
    folder.rename(keys.folder / "elsewhere")
    folder.write_text("not a folder")
    for _ in range(3):
        who.look()
    assert who.role_of(public) is KeyRole.WORKER
    assert caplog.text.count("whoever was authorised before still is") == 1
    folder.unlink()
    who.look()
    assert who.role_of(public) is None
    assert who.role_of(keys.master().public) is KeyRole.PEER


# The command.


def said(*words: str) -> Result:
    return CliRunner().invoke(keys_command, list(words))


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("TMATIC_")]:
        monkeypatch.delenv(name)


def test_the_command_makes_lists_and_revokes() -> None:
    assert said("new", "w1").output.startswith("keys/w1.key is for worker w1 alone")
    assert said("new", "s1", "--role", "subscriber").exit_code == 0
    assert said("revoke", "w1").output == "w1 is revoked\n"
    assert said("revoke", "w1").output == "w1 was revoked already\n"
    listed = json.loads(said("list", "--json").output)
    assert [(row["name"], row["role"], row["state"]) for row in listed] == [
        ("s1", "subscriber", "authorised"),
        ("w1", "worker", "revoked"),
    ]
    assert {len(row["public"]) for row in listed} == {8}
    assert [line.split()[0] for line in said("list").output.splitlines()] == ["s1", "w1"]


def test_the_command_says_what_is_wrong() -> None:
    assert "there is no key with the name 'w9'" in str(said("revoke", "w9").exception)
    assert said("new", "w1", "--role", "peer").exit_code == 2
    assert said("list").output == ""
    Path("file").write_text("", encoding="utf-8")
    assert "cannot be used" in str(said("new", "w1", "--keys-directory", "file").exception)


# When keys must be.


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.8.9.1", "::1", "[::1]", "localhost", "LocalHost", "::ffff:127.0.0.1"]
)
def test_this_machine_is_loopback(host: str) -> None:
    assert is_loopback(host)
    check_exposure(host, has_keys=False, insecure=False)


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "[::]", "*", "", "10.0.0.1", "fe80::1%lo", "lo", "localhost.example.org", "127.1", "::2"]
)
def test_everything_else_is_beyond_it_and_needs_keys_or_somebody_who_says_not(host: str) -> None:
    assert not is_loopback(host)
    check_exposure(host, has_keys=True, insecure=False)
    check_exposure(host, has_keys=False, insecure=True)
    with pytest.raises(UsageError, match=r"`tmatic-master keys new NAME`.*--insecure") as refused:
        check_exposure(host, has_keys=False, insecure=False)
    in_one_sentence(refused)


def test_a_master_uses_keys_beyond_this_machine_and_wherever_it_is_told_to() -> None:
    beyond = Settings(host="0.0.0.0")
    with pytest.raises(UsageError, match=r"0\.0\.0\.0 could take jobs"):
        keys_for(beyond)
    assert keys_for(Settings(host="0.0.0.0", insecure=True)) is None
    assert keys_for(Settings()) is None
    with pytest.raises(UsageError, match="there are no keys in elsewhere"):
        keys_for(Settings(keys_directory=Path("elsewhere"), insecure=True))
    said("new", "w1")
    found = keys_for(beyond)
    assert found is not None and found.folder == Path("keys")
    assert keys_for(Settings()) is None
    assert keys_for(Settings(keys_directory=Path("keys"))) is not None


def test_a_worker_uses_its_key_everywhere_and_needs_one_beyond_this_machine(w1: Path) -> None:
    assert certificate_for(["10.0.0.1:8000"], w1, insecure=False) == read_certificate(w1)
    assert certificate_for(["127.0.0.1:8000", "[::1]:8001"], None, insecure=False) is None
    assert certificate_for(["10.0.0.1:8000"], None, insecure=True) is None
    with pytest.raises(UsageError, match=r"10\.0\.0\.1:8000 is beyond this machine.*--key.*--insecure") as refused:
        certificate_for(["127.0.0.1:8000", "10.0.0.1:8000"], None, insecure=False)
    in_one_sentence(refused)
