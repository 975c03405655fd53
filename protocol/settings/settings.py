"""The table of settings: the meaning of each, its unit, its default, and its name in the original.

A row is a field of `Settings`; everything else is made from the rows: the keys of `tmatic.toml` and the environment,
the flags of the commands, and `docs/settings.md`. `protocol.settings.configuration` reads them.
"""

from __future__ import annotations

from dataclasses import Field, dataclass, fields
from pathlib import Path
from typing import Any, Final, get_type_hints

from protocol.settings.setting import Form, SettingRow, setting
from protocol.transport.addresses import is_bare_service, is_host, is_listened_on, is_place, is_service
from protocol.transport.endpoints import bare
from protocol.transport.http_routes import is_proxy

NAME: Final = Form(
    "a name of at most 64 letters, digits, dots, dashes and underscores, a letter or digit first",
    "[A-Za-z0-9][A-Za-z0-9._-]{0,63}",
)
NAME_OR_NONE: Final = Form(f"{NAME.words}; or empty", f"({NAME.pattern})?")
LEDGER: Final = Form(
    "a URL with redis://, rediss://, unix:// or sentinel://, or empty", "((rediss?|unix|sentinel)://.+)?"
)
_URL: Final = "a URL with http:// or https://, a host and perhaps a port from 1 to 65535"
BARE_SERVICE: Final = Form(f"{_URL}; no user, password, ? or # has a place in it", "https?://[^?#@]+", is_bare_service)
SERVICE_OR_NONE: Final = Form(f"{_URL}, or empty", "(https?://.+)?", is_service)
PROXY: Final = Form(
    "URLs http://HOST:PORT or http://USER:PASSWORD@HOST:PORT, with HOST= before one that is for that host alone; "
    "proxies are not spoken to by https:// or socks",
    "[^,]+",
    is_proxy,
)
CA_FILE: Final = Form("files, with HOST= before one that is for that host alone, without commas", "[^,]+")
ADDRESS: Final = Form(
    "HOST:PORT with a port from 1 to 65535 (an address of IPv6 in brackets), or empty", r"(.+:[0-9]{1,5})?", is_place
)
HOST: Final = Form(
    "a name, an address (of IPv6 with brackets or without), or *", r"\*|[\w.:\[\]-]+", is_listened_on, bare
)
LOCAL_ADDRESS: Final = Form("addresses (of IPv6 with brackets or without)", r"[\w.:\[\]-]+", is_host, bare)
HOST_OR_NONE: Final = Form(
    "a name or an address (of IPv6 with brackets or without), or empty", r"([\w.:\[\]-]+)?", is_host, bare
)
PAIR_NUMBER: Final = Form("0 or 1, or empty", "[01]?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Every setting with its value. The defaults describe a crawl on this machine."""

    crawl: str = setting(
        "main",
        "master storage",
        "The name of the crawl: its part of the ledger, and its folder beside the dataset.",
        form=NAME,
    )
    output_directory: Path = setting(
        Path("data"), "master worker storage", "Where the dataset is.", original="output_directory", flag="--output"
    )
    temporary_directory: Path | None = setting(
        None,
        "worker storage",
        "Where files are made before they take their place; on the dataset's volume. Empty: a folder in the dataset.",
        original="temporary_directory",
    )
    log_directory: Path | None = setting(
        None,
        "master worker services",
        "Where logs are written, beside standard error; on this machine. Empty: nowhere.",
        original="log_directory",
    )
    log_level: str = setting(
        "info",
        "master worker services",
        "The least important messages that are logged.",
        choices=("debug", "info", "warning", "error"),
    )
    log_format: str = setting(
        "text",
        "master worker services",
        "How messages are logged: a line for people, or one JSON object a line.",
        choices=("text", "json"),
    )
    redis: str = setting(
        "",
        "master storage",
        "The ledger's server: redis://, rediss://, unix://, or sentinel://HOST:PORT,HOST:PORT/SERVICE. Empty: an "
        "embedded Valkey.",
        form=LEDGER,
    )
    durability: str = setting(
        "always",
        "master storage",
        "What the ledger waits for before it says 'committed': the disk, the disk once a second, the disk and a "
        "replica, or nothing.",
        choices=("always", "everysec", "replica", "memory"),
    )
    host: str = setting(
        "127.0.0.1",
        "master worker services",
        "The address on which the master listens.",
        original="jt_hostname",
        form=HOST,
    )
    port: int = setting(
        8000,
        "master worker services",
        "The port on which the master listens; 0 takes any free one.",
        original="jt_port",
        least=0,
        most=65_535,
    )
    events_port: int = setting(
        0,
        "master",
        "The port on which the master publishes events; with --ha plus its number. 0: ten above its other port.",
        least=0,
        most=65_535,
    )
    ha: str = setting(
        "",
        "master",
        "The number of this master in a pair, 0 or 1; it listens on the port above plus this. Empty: it is alone.",
        form=PAIR_NUMBER,
    )
    peer: str = setting(
        "",
        "master",
        "Where the other master of the pair listens, as HOST:PORT. Empty: on the same host, on its port of the two.",
        form=ADDRESS,
    )
    master: tuple[str, ...] = setting(
        (),
        "worker services",
        "Where a worker or a service finds its masters, each as HOST:PORT. Empty: both of a pair on the host and port "
        "above.",
        form=ADDRESS,
    )
    keys_directory: Path | None = setting(
        None,
        "master",
        "Where the keys of masters, workers and subscribers are; on this machine. Empty: `keys` when the master "
        "listens beyond this machine, and plain connections when it does not.",
    )
    key: Path | None = setting(
        None,
        "worker services",
        "The file that `tmatic-master keys new` made for this worker or service. Empty: a plain connection, on this "
        "machine.",
    )
    insecure: bool = setting(
        False,
        "master worker services",
        "Whether connections beyond this machine may be plain. Whoever reaches the port can then do everything.",
    )
    die_with_master: bool = setting(
        False,
        "worker",
        "Whether a worker leaves when it hears no master any more, as the original's did; else it keeps what it has.",
        original="force_kill_on_disconnect",
    )
    max_clients: int = setting(
        200, "master", "How many workers a master takes.", unit="workers", original="max_clients", least=1, most=100_000
    )
    traversing: str = setting(
        "default",
        "master",
        "What becomes of the accounts that are found: collected in a file, or crawled breadth first or depth first.",
        original="traversing",
        choices=("default", "BFS", "DFS"),
    )
    depth: int = setting(
        0,
        "master",
        "Accounts fewer than this many steps from a target are crawled: 1 is the targets alone; 0 is no limit.",
        unit="steps",
        least=0,
        most=1_000_000,
    )
    max_users: int = setting(
        0, "master", "How many accounts a crawl takes in; 0 is no limit.", unit="accounts", least=0, most=10**12
    )
    frontier_name: str = setting(
        "frontier", "master", "How the names of frontier files begin.", original="frontier_name", form=NAME
    )
    worker_timeout_s: float = setting(
        10.0,
        "master",
        "How long a worker may be silent before its jobs go to others.",
        unit="seconds",
        least=0.1,
        most=86_400,
    )
    progress_timeout_s: float = setting(
        300.0,
        "master",
        "How long a living worker may hold a job without progress before it is taken back.",
        unit="seconds",
        least=0.1,
        most=604_800,
    )
    heartbeat_s: float = setting(
        1.0, "master worker", "How often a worker says that it lives.", unit="seconds", least=0.01, most=3_600
    )
    grace_s: float = setting(
        5.0,
        "master",
        "How long a new leader waits for workers to name the jobs they hold.",
        unit="seconds",
        least=0,
        most=3_600,
    )
    job_tries: int = setting(
        5, "master", "How often a job may fail before it is a dead letter.", unit="tries", least=1, most=1_000
    )
    retry_base_s: float = setting(
        5.0,
        "master",
        "How long a job rests after its first failure; twice as long after each further one.",
        unit="seconds",
        least=0,
        most=86_400,
    )
    concurrency: int = setting(8, "worker", "How many jobs a worker does at once.", unit="jobs", least=1, most=1_000)
    base_url: str = setting(
        "https://api.twitter.com",
        "worker",
        "Where the service is; an emulator's URL for rehearsals. The API's version may stand at its end, or not.",
        original="twitter_url",
        form=BARE_SERVICE,
    )
    bind_ip: tuple[str, ...] = setting(
        (),
        "worker",
        "The local addresses from which a worker calls, in turn. Not for evading limits.",
        form=LOCAL_ADDRESS,
    )
    caller: str = setting(
        "",
        "worker",
        "As whom the service counts this worker, where it counts addresses: one name for all that call from the same "
        "public address, another for each further address. It gives nobody a larger quota. Empty: workers without "
        "--bind-ip share one budget.",
        form=NAME_OR_NONE,
    )
    follow_rule: str = setting(
        "",
        "worker",
        "Which followers are crawled: an expression over a profile, or PACKAGE.MODULE:FUNCTION. Empty: all.",
    )
    max_attempts: int = setting(
        4,
        "worker",
        "How often a request is sent before its job fails.",
        unit="requests",
        original="twitter_maxattempts",
        least=1,
        most=100,
    )
    timeout_factor_s: float = setting(
        2.35,
        "worker",
        "The time-out of the n-th attempt of a request is this to the power of n.",
        unit="seconds",
        original="twitter_timeout_factor",
        least=1,
        most=60,
    )
    toomany_sleep_s: float = setting(
        60.0,
        "worker",
        "How long a budget rests when the service says 'too many requests' and not until when.",
        unit="seconds",
        original="twitter_toomany_sleep",
        least=0,
        most=86_400,
    )
    use_compression: bool = setting(
        True, "worker storage", "Whether the files of the dataset are gzip files.", original="use_compression"
    )
    contact: str = setting(
        "",
        "worker",
        "Whom the service can write to about this crawl: an address or a page, sent as part of User-Agent.",
    )
    bearer_token: str = setting(
        "", "worker", "The token sent to the service. It has no flag, since others can read command lines.", secret=True
    )
    bearer_token_file: Path | None = setting(None, "worker", "A file that holds the token and nothing else.")
    proxy: tuple[str, ...] = setting(
        (),
        "worker",
        "Through which proxy a worker calls the service. One with a password is said in the file or the environment, "
        "since others can read command lines.",
        form=PROXY,
        secret=True,
        flag="--proxy",
    )
    ca_file: tuple[str, ...] = setting(
        (),
        "worker services",
        "A file of PEM certificates: who may vouch for a service or a search server with https://, instead of the "
        "usual authorities.",
        form=CA_FILE,
    )
    carbon_server: str = setting(
        "",
        "services",
        "Where statistics are sent live, a host with carbon. Empty: nowhere.",
        original="carbon_server",
        form=HOST_OR_NONE,
    )
    carbon_port: int = setting(
        2003, "services", "The port on which carbon listens.", original="carbon_port", least=1, most=65_535
    )
    carbon_protocol: str = setting(
        "plaintext",
        "services",
        "How carbon is spoken to: lines of text (port 2003), or its pickle protocol (port 2004).",
        choices=("plaintext", "pickle"),
    )
    graphite_url: str = setting(
        "",
        "services",
        "Where Graphite draws graphs, for the monitor. Empty: the monitor draws its own.",
        original="graphite_url",
        form=SERVICE_OR_NONE,
    )
    lookup_database: Path = setting(
        Path("lookup.db"), "services", "The file in which `tmatic-lookup` keeps profiles.", original="lookup_database"
    )
    lookup_port: int = setting(
        9797,
        "services",
        "The port of `tmatic-lookup`; 0 takes any free one.",
        original="lookup_port",
        least=0,
        most=65_535,
    )
    monitor_port: int = setting(
        9898,
        "services",
        "The port of `tmatic-monitor`; 0 takes any free one.",
        original="monitor_port",
        least=0,
        most=65_535,
    )
    index_directory: Path = setting(Path("index"), "services", "The folder in which `tmatic-indexer` keeps its index.")
    index_engine: str = setting(
        "whoosh",
        "services",
        "What the local index is made with: whoosh, or tantivy, which is faster by far and for large sets.",
        choices=("whoosh", "tantivy"),
    )
    elasticsearch_url: str = setting(
        "",
        "services",
        "Where Elasticsearch or OpenSearch listens, for an index there. Empty: a local index.",
        original="elasticsearch_url",
        flag="--elasticsearch",
        form=SERVICE_OR_NONE,
    )
    log_scrollback: int = setting(
        300,
        "services",
        "How many lines of the log the monitor keeps to show.",
        unit="lines",
        original="log_scrollback",
        least=10,
        most=100_000,
    )


def _row(of: Field[Any], kind: Any) -> SettingRow:
    said = dict(of.metadata)
    if not said["secret"]:
        said["flag"] = said["flag"] or "--" + of.name.replace("_", "-")
    return SettingRow(name=of.name, kind=kind, default=of.default, **said)


_KINDS = get_type_hints(Settings)
TABLE: Final[dict[str, SettingRow]] = {of.name: _row(of, _KINDS[of.name]) for of in fields(Settings)}
"""The rows by name, in display order."""


def names_for(floor: str) -> tuple[str, ...]:
    """The settings that a floor reads."""
    return tuple(row.name for row in TABLE.values() if floor in row.floors)
