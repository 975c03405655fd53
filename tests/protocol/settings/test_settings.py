"""Settings come from one table, from three places in rising order, and whatever is wrong is named."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from hypothesis import given, strategies as st

from protocol.errors import UsageError
from protocol.settings.configuration import MAX_FILE_BYTES, configured, settings_options
from protocol.settings.settings import TABLE, Settings, names_for
from protocol.settings.settings_page import PAGE, page


@pytest.fixture(autouse=True)
def empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def from_file(text: str) -> Settings:
    Path("tmatic.toml").write_text(text, encoding="utf-8")
    return configured(environment={})


def test_the_defaults_alone_are_a_crawl() -> None:
    assert configured(environment={}) == Settings()


def test_a_flag_beats_the_environment_which_beats_the_file() -> None:
    Path("tmatic.toml").write_text("port = 1\nmax_clients = 1\ndepth = 1\n", encoding="utf-8")
    environment = {"TMATIC_PORT": "2", "TMATIC_MAX_CLIENTS": "2", "HOME": "/"}
    read = configured({"port": "3", "depth": None}, environment=environment)
    assert (read.port, read.max_clients, read.depth) == (3, 2, 1)


def test_another_file_is_read_instead_when_it_is_named() -> None:
    Path("tmatic.toml").write_text("port = 1\n", encoding="utf-8")
    Path("other.toml").write_text("depth = 2\n", encoding="utf-8")
    read = configured(config=Path("other.toml"), environment={})
    assert (read.port, read.depth) == (8000, 2)


def test_the_originals_names_are_understood() -> None:
    assert from_file("jt_port = 9000\ntwitter_maxattempts = 7\n").port == 9000
    assert configured(environment={"TMATIC_TWITTER_URL": "http://localhost:1"}).base_url == "http://localhost:1"


@pytest.mark.parametrize(
    "text, words",
    [
        ("prot = 1", "tmatic.toml: there is no setting prot; did you mean port?"),
        ("jt_hostnam = 1", "did you mean jt_hostname?"),
        ('"a\\nb" = 1', "there is no setting 'a\\nb'"),
        ("[crawling]\nport = 1", "there is no setting crawling"),
        ("port = 1\njt_port = 2", "port and jt_port are the same setting: keep one"),
        ("port = 'x'", "tmatic.toml: port must be a whole number from 0 to 65535, not 'x'"),
        ("port = 65536", "port must be a whole number from 0 to 65535, not '65536'"),
        ("port = 1.5", "port must be a whole number"),
        ("port = true", "port must be a whole number"),
        ("grace_s = inf", "grace_s must be a number of seconds from 0 to 3600, not 'inf'"),
        ("max_clients = 0", "max_clients must be a whole number of workers from 1 to 100000, not '0'"),
        ("durability = 'sometimes'", "durability must be one of always, everysec, replica, memory, not 'sometimes'"),
        ("use_compression = 'maybe'", "use_compression must be yes or no, not 'maybe'"),
        ("output_directory = ''", "output_directory must be a path, not ''"),
        ("crawl = '../up'", "crawl must be a name of at most 64 letters"),
        ("redis = 'localhost'", "redis must be a URL with redis://, rediss://, unix:// or sentinel://, or empty, not"),
        ("base_url = 'ftp://x'", "base_url must be a URL with http:// or https://"),
        ("base_url = 'http://[::1'", "base_url must be a URL with http:// or https://, a host and perhaps a port"),
        ("master = 'x'", "master must be a list of HOST:PORT with a port from 1 to 65535 (an address of IPv6 in"),
        ('contact = "a\\u0000b"', "contact must be a text"),
        ("bind_ip = [1]", "bind_ip must be a list of addresses"),
        ("port = ", "tmatic.toml is not TOML"),
        ("bearer_token = 1", "bearer_token must be a text"),
        ("a = " + "[" * 100_000, "tmatic.toml is not"),
    ],
)
def test_what_is_wrong_in_the_file_is_named(text: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        from_file(text)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_wrong_in_the_environment_is_named() -> None:
    with pytest.raises(UsageError, match=r"^there is no setting TMATIC_MAX_CLIENT; did you mean TMATIC_MAX_CLIENTS\?$"):
        configured(environment={"TMATIC_MAX_CLIENT": "1"})
    with pytest.raises(
        UsageError, match=r"^TMATIC_DEPTH must be a whole number of steps from 0 to 1000000, not 'deep'$"
    ):
        configured(environment={"TMATIC_DEPTH": "deep"})
    with pytest.raises(UsageError, match="TMATIC_PORT and TMATIC_JT_PORT are the same setting"):
        configured(environment={"TMATIC_PORT": "1", "TMATIC_JT_PORT": "1"})


def test_a_secret_is_neither_a_flag_nor_shown() -> None:
    row = TABLE["bearer_token"]
    read = configured(environment={"TMATIC_BEARER_TOKEN": "hush"})
    assert read.bearer_token == "hush"
    assert not row.flag
    assert "hush" not in repr(read) + row.shown(read.bearer_token)
    with pytest.raises(UsageError) as caught:
        configured(environment={"TMATIC_BEARER_TOKEN": "hu\nsh"})
    assert "hu" not in str(caught.value)


def test_a_token_is_read_from_its_file_but_not_from_two_places() -> None:
    Path("token").write_text("hush\n", encoding="utf-8")
    assert configured({"bearer_token_file": "token"}, environment={}).bearer_token == "hush"
    with pytest.raises(UsageError, match="are both set: keep one"):
        configured({"bearer_token_file": "token"}, environment={"TMATIC_BEARER_TOKEN": "x"})
    with pytest.raises(UsageError, match="nowhere cannot be read: No such file"):
        configured({"bearer_token_file": "nowhere"}, environment={})


MARK = "\ufeff"


@pytest.mark.parametrize("around", ["{}\n", "{}\r\n", MARK + "{}", MARK + "{}\r\n", "  {}\n\n"])
def test_a_token_is_what_is_between_a_mark_and_ends_of_lines(around: str) -> None:
    Path("token").write_text(around.format("hush"), encoding="utf-8", newline="")
    assert configured({"bearer_token_file": "token"}, environment={}).bearer_token == "hush"
    assert configured(environment={"TMATIC_BEARER_TOKEN": around.format("hush")}).bearer_token == "hush"


@pytest.mark.parametrize("empty", ["", "\n", "\r\n", " \t\n", MARK, MARK + "\n"])
def test_an_empty_secret_is_refused_wherever_it_is_said(empty: str) -> None:
    Path("token").write_text(empty, encoding="utf-8", newline="")
    with pytest.raises(
        UsageError, match=r"^what token holds is empty, and bearer_token must not be: give it a value, or"
    ):
        configured({"bearer_token_file": "token"}, environment={})
    for name in ("bearer_token", "proxy"):
        with pytest.raises(UsageError, match=f"^TMATIC_{name.upper()} is empty"):
            configured(environment={f"TMATIC_{name.upper()}": empty})
        with pytest.raises(UsageError, match=rf"^tmatic\.toml: {name} is empty"):
            from_file(f"{name} = {json.dumps(empty)}")
        Path("tmatic.toml").unlink()


def test_a_file_of_settings_may_begin_with_a_mark_and_have_any_ends_of_lines() -> None:
    Path("tmatic.toml").write_text(MARK + "port = 9\r\ndepth = 2\r\n", encoding="utf-8", newline="")
    read = configured(environment={})
    assert (read.port, read.depth) == (9, 2)


PROXIES = ("http://me:hush%2C@p:1", "api.example.org=http://me:hush@q:2")


def test_the_password_of_a_proxy_is_said_where_others_do_not_read_and_is_never_shown() -> None:
    for read in (
        from_file(f"proxy = {json.dumps(PROXIES)}"),
        configured(environment={"TMATIC_PROXY": ",".join(PROXIES)}),
    ):
        assert read.proxy == PROXIES
        assert "hush" not in repr(read) + TABLE["proxy"].shown(read.proxy)
    for wrong in ("http://me:hush@p", "socks5://me:hush@p:1"):
        with pytest.raises(UsageError) as refused:
            configured(environment={"TMATIC_PROXY": wrong})
        assert "hush" not in str(refused.value) and "TMATIC_PROXY must be a list of URLs" in str(refused.value)
    with pytest.raises(
        UsageError, match=r"--proxy holds a password, .*: say it by TMATIC_PROXY, or by proxy in"
    ) as refused:
        configured({"proxy": [PROXIES[0]]}, environment={})
    assert "hush" not in str(refused.value)
    assert configured({"proxy": ["http://p:1"]}, environment={}).proxy == ("http://p:1",)


@pytest.mark.parametrize("url", ["https://me:hush@h", "https://h/?key=hush", "https://h/1.1/#hush", "https://:hush@h/"])
def test_a_service_is_named_without_what_should_not_be_shown(url: str) -> None:
    with pytest.raises(UsageError, match="no user, password") as refused:
        configured({"base_url": url}, environment={})
    assert "@" not in url or "hush" not in str(refused.value)


@pytest.mark.parametrize("name", ["redis", "elasticsearch_url", "base_url", "graphite_url"])
def test_a_password_in_a_url_that_is_refused_is_not_repeated(name: str) -> None:
    with pytest.raises(UsageError) as refused:
        configured({name: "htp://me:hush@h:1"}, environment={})
    assert "hush" not in str(refused.value)


def test_what_is_no_file_is_refused_and_not_waited_for() -> None:
    os.mkfifo("pipe")
    with pytest.raises(UsageError, match="pipe is not a file"):
        configured(config=Path("pipe"), environment={})
    with pytest.raises(UsageError, match="pipe is not a file"):
        configured({"bearer_token_file": "pipe"}, environment={})
    assert configured(config=Path(os.devnull), environment={}) == Settings()


def test_a_file_of_settings_that_is_none_is_not_passed_over() -> None:
    Path("tmatic.toml").symlink_to("nowhere")
    with pytest.raises(UsageError, match=r"tmatic\.toml cannot be read: No such file"):
        configured(environment={})
    Path("tmatic.toml").unlink()
    Path("tmatic.toml").mkdir()
    with pytest.raises(UsageError, match=r"tmatic\.toml is not a file"):
        configured(environment={})


def test_a_file_has_a_size_limit_and_is_text() -> None:
    Path("large.toml").write_bytes(b"#" * (MAX_FILE_BYTES + 1))
    with pytest.raises(UsageError, match="too large"):
        configured(config=Path("large.toml"), environment={})
    Path("binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="not UTF-8"):
        configured(config=Path("binary.toml"), environment={})
    with pytest.raises(UsageError, match=r"missing\.toml cannot be read"):
        configured(config=Path("missing.toml"), environment={})


def test_lists_and_empty_paths_are_said_in_every_place() -> None:
    assert from_file("bind_ip = ['127.0.0.2', '127.0.0.3']").bind_ip == ("127.0.0.2", "127.0.0.3")
    assert configured(environment={"TMATIC_BIND_IP": "127.0.0.2, 127.0.0.3"}).bind_ip == ("127.0.0.2", "127.0.0.3")
    assert from_file("log_directory = ''\nbind_ip = []").log_directory is None


URLS = ["http://[::1", "http://", "http://:80", "https://h:99999", "http://h:0", "http://h:x", "http://a b", "http://[x]",
        "http://a;b", "http://[127.0.0.1]:80", "http://a..b", "http://" + "a" * 64, "http:///path", "http://[::1%a/b]",
        "http://u@"]  # fmt: skip
PLACES = ["h:0", "h:99999", "127.0.0.1:65536", "[::1]:0", "[127.0.0.1]:80", "[x]:80", "[::1:80", ":80", "h:", "a b:1",
          "::1:80", "http://h:80", "h:80/"]  # fmt: skip


@pytest.mark.parametrize("name", ["graphite_url", "elasticsearch_url", "base_url"])
@pytest.mark.parametrize("url", URLS)
def test_a_url_that_leads_nowhere_is_refused_in_one_sentence(name: str, url: str) -> None:
    with pytest.raises(UsageError, match="must be a URL with http:// or https://, a host and perhaps a port"):
        configured({name: url}, environment={})


@pytest.mark.parametrize("place", PLACES)
def test_a_place_without_a_port_to_connect_to_is_refused_in_one_sentence(place: str) -> None:
    for name, raw in (("master", [place]), ("master", ["h:1", place]), ("peer", place)):
        with pytest.raises(UsageError, match="HOST:PORT with a port from 1 to 65535"):
            configured({name: raw}, environment={})


@pytest.mark.parametrize(
    "url", ["http://h", "https://u:p@h:65535/a?b", "http://[::1]:9200/", "http://nét.example", "http://a_b.c:1", ""]
)
def test_a_url_with_a_host_is_taken_as_it_is(url: str) -> None:
    assert configured({"elasticsearch_url": url}, environment={}).elasticsearch_url == url


def test_every_port_there_is_can_be_said() -> None:
    assert configured({"master": ["h:1", "[::1]:65535", "10.0.0.5:08000"]}, environment={}).master[1] == "[::1]:65535"


@pytest.mark.parametrize(
    "flags", [["--graphite-url", "http://[::1"], ["--master", "127.0.0.1:99999"], ["--master", ":0"]]
)
def test_a_wrong_address_is_misuse_of_a_command(flags: list[str]) -> None:
    command = Path(sys.executable).with_name("tmatic-monitor")
    done = subprocess.run([command, *flags], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and f"{flags[0]} must be" in done.stderr


@given(st.sampled_from(sorted(TABLE)), st.one_of(st.text(), st.integers(), st.floats(), st.lists(st.text()), st.none()))
def test_whatever_is_said_is_taken_or_refused_in_one_line(name: str, raw: object) -> None:
    try:
        value = TABLE[name].parse(raw, name)
    except UsageError as error:
        assert str(error).isprintable()
    else:
        assert TABLE[name].parse(TABLE[name].shown(value), name) == value or TABLE[name].secret


def test_every_default_is_allowed_by_its_own_row() -> None:
    for row in TABLE.values():
        assert row.parse(row.shown(row.default), row.name) == row.default


def test_every_row_is_read_by_a_floor_and_said_in_a_sentence() -> None:
    for row in TABLE.values():
        assert row.floors
        assert set(row.floors) <= {"master", "worker", "storage", "services"}
        assert row.help.endswith(".")
    assert "concurrency" in names_for("worker")
    assert "concurrency" not in names_for("master")


@click.command()
@settings_options("port", "output_directory", "use_compression", "bind_ip", "bearer_token", "traversing")
@click.option("--other")
def command(settings: Settings, other: str | None) -> None:
    click.echo(f"{settings.port} {settings.output_directory} {settings.use_compression} {settings.bind_ip} {other}")


def test_a_command_takes_its_flags_from_the_table() -> None:
    arguments = "--port 1 --output there --no-use-compression --bind-ip 127.0.0.2 --bind-ip 127.0.0.3 --other x"
    said = CliRunner().invoke(command, arguments.split(), catch_exceptions=False).output
    assert said == "1 there False ('127.0.0.2', '127.0.0.3') x\n"


def test_a_flag_that_was_not_given_leaves_the_file_its_say() -> None:
    Path("mine.toml").write_text("port = 5\nuse_compression = false\nbind_ip = ['127.0.0.9']\n", encoding="utf-8")
    said = CliRunner().invoke(command, ["--config", "mine.toml"], catch_exceptions=False).output
    assert said == "5 data False ('127.0.0.9',) None\n"


def test_help_says_unit_and_default_and_no_secret() -> None:
    said = " ".join(CliRunner().invoke(command, ["--help"]).output.split())
    assert "--port N" in said
    assert "[default: 8000]" in said
    assert "default|BFS|DFS" in said
    assert "--bearer-token" not in said


def test_the_reference_page_is_made_from_the_table() -> None:
    assert PAGE.read_text() == page(), "docs/settings.md is old: python -m protocol.settings.settings_page"


@pytest.mark.parametrize(
    ("name", "said", "shown"),
    [
        ("redis", "rediz://:hidden@h", "rediz://…@h"),
        ("redis", "rediz://:hidden/x@h", "rediz://…@h"),
        ("redis", "rediz://me:hidden@x@h/1", "rediz://…@h/1"),
        ("redis", "rediz:/:hidden@h", "…@h"),
        ("redis", "rediz://h/1?db=hidden&password=hidden", "rediz://h/1?db=…&password=…"),
        ("base_url", "https://h/?key=hidden", "https://h/?key=…"),
        ("base_url", "https://h/?hidden", "https://h/?…"),
    ],
)
def test_a_refused_address_is_shown_without_what_may_be_secret(name: str, said: str, shown: str) -> None:
    with pytest.raises(UsageError) as refused:
        TABLE[name].parse(said, "it")
    assert "hidden" not in str(refused.value) and f"not {shown!r}" in str(refused.value)
