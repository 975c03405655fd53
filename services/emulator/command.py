"""`tmatic-emulator`: the command line."""

from __future__ import annotations

from pathlib import Path

import click

from protocol.cli import run
from protocol.errors import UsageError
from protocol.transport.endpoints import bare, written
from services.emulator import server
from services.emulator.api.calls import LIST_PAGE, Rules, Service
from services.emulator.api.faults import parse_faults
from services.emulator.api.limits import parse_limits
from services.emulator.api.tally import REMEMBERED
from services.emulator.worlds.dataset_world import DatasetWorld
from services.emulator.worlds.graph_file import GraphWorld
from services.emulator.worlds.synthetic import MAX_USERS, MIN_USERS, SyntheticWorld
from services.emulator.worlds.world import VISIBLE_POSTS, World

DEFAULT_USERS = 100_000
_FILE = click.Path(path_type=Path)


@click.command()
@click.option(
    "--users",
    type=click.IntRange(MIN_USERS, MAX_USERS),
    default=DEFAULT_USERS,
    show_default=True,
    help="Accounts of the synthetic world.",
)
@click.option(
    "--seed",
    type=click.IntRange(0, (1 << 63) - 1),
    default=1,
    show_default=True,
    help="What the world, its posts, its faults and its tokens are drawn from.",
)
@click.option(
    "--graph",
    type=_FILE,
    help="Take accounts and edges from FILE: follower<TAB>followed, plain or gzip.",
    metavar="FILE",
)
@click.option("--dataset", type=_FILE, help="Serve the .twt, .fws and .inf files below DIR.", metavar="DIR")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8080,
    show_default=True,
    help="Port to listen on; 0 takes any that is free, and the line `listening on` says which.",
)
@click.option(
    "--page-cap",
    type=click.IntRange(1, LIST_PAGE),
    default=LIST_PAGE,
    show_default=True,
    help="Most ids in a page of followers or friends; below 200 also most posts in a page.",
)
@click.option(
    "--limits",
    default="none",
    show_default=True,
    metavar="SPEC",
    help="none; real; real/60 (windows a 60th of 15 min); or T=90,F=15,A=90/15s: requests to the timeline, "
    "each list, lookup (and S, show) per window of that length (s, ms or m; 15m if not given).",
)
@click.option(
    "--faults",
    default="",
    metavar="SPEC",
    help="Rates from 0 to 1: http500, http503, reset, truncate, slow, repeat_cursor, short_page; "
    "slow_s=SECONDS fixes the wait of slow, else 0.2 to 2 s.",
)
@click.option(
    "--withhold",
    type=click.IntRange(0, VISIBLE_POSTS),
    default=0,
    show_default=True,
    help="Hide the newest N posts of every account, to show them later by POST /_truth/withhold?newest=0.",
    metavar="N",
)
@click.option(
    "--remember",
    type=click.IntRange(0, 50_000_000),
    default=REMEMBERED,
    show_default=True,
    help="Requests that /_truth/identities tells apart; about 200 bytes each.",
    metavar="N",
)
def tmatic_emulator(
    users: int,
    seed: int,
    graph: Path | None,
    dataset: Path | None,
    host: str,
    port: int,
    page_cap: int,
    limits: str,
    faults: str,
    withhold: int,
    remember: int,
) -> None:
    """Serve an emulated social network over HTTP, the way the v1.1 API did: same paths, pages, errors and limits.

    \b
    A world of 100,000 accounts on port 8080:
      tmatic-emulator
      curl 'http://127.0.0.1:8080/1.1/followers/ids.json?user_id=12'
    \b
    A real graph in small pages:
      tmatic-emulator --graph follows.tsv.gz --page-cap 500
    \b
    Limits that reset every 15 seconds, and a service that has bad days:
      tmatic-emulator --users 2000 --limits real/60 --faults http500=0.02,reset=0.01,short_page=0.1
    \b
    What the world holds, and what was asked of it:
      curl http://127.0.0.1:8080/_truth/world
      curl http://127.0.0.1:8080/_truth/requests

    The same seed gives the same world, byte by byte, and the same faults, in every run.
    """
    rules = Rules(parse_limits(limits), parse_faults(faults), seed, page_cap, withhold, remember)
    world = _world(users, seed, graph, dataset)
    server.run(Service(world, rules), bare(host), port, _say)


def _world(users: int, seed: int, graph: Path | None, dataset: Path | None) -> World:
    if graph is not None and dataset is not None:
        raise UsageError("--graph and --dataset exclude each other: a world has one source.")
    if graph is not None:
        return GraphWorld(graph, seed)
    if dataset is not None:
        if not dataset.is_dir():
            raise UsageError(f"--dataset {dataset} is not a directory.")
        return DatasetWorld(dataset, seed)
    return SyntheticWorld(users, seed)


def _say(host: str, port: int) -> None:
    print(f"listening on http://{written(host, port)}", flush=True)


def main() -> None:
    """The entry point."""
    run(tmatic_emulator, "tmatic-emulator")


if __name__ == "__main__":
    main()
