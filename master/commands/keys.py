"""`tmatic-master keys`: the keys of processes that may connect to the masters of a crawl."""

from __future__ import annotations

import json
from typing import Final

import click

from protocol.settings.configuration import settings_options
from protocol.settings.settings import Settings
from protocol.transport.exposure import FOLDER
from protocol.transport.keys import GIVEN, KeyRole, Keys

SHOWN: Final = 8
"""Characters of a public key, enough to distinguish it from others."""


@click.group()
def keys() -> None:
    """Who may connect to the masters of a crawl, beyond this machine.

    \b
    tmatic-master keys new w1                       on the master's machine
    scp keys/w1.key worker.example.org:             the one file that the worker needs
    tmatic-worker w1 --key w1.key --master ...      on the worker's machine

    The other master of a pair needs a copy of the folder, again after each change. Nothing needs a restart.
    """


def _folder(settings: Settings) -> Keys:
    return Keys(settings.keys_directory or FOLDER)


@keys.command()
@click.argument("name")
@click.option(
    "--role",
    type=click.Choice([role.value for role in GIVEN]),
    default=KeyRole.WORKER.value,
    show_default=True,
    help="A worker gets jobs; a subscriber hears what happens.",
)
@settings_options("keys_directory")
def new(name: str, role: str, settings: Settings) -> None:
    """Make the key file of NAME, and authorise it at once."""
    path = _folder(settings).new(name, KeyRole(role))
    click.echo(f"{path} is for {role} {name} alone: move it there, it is of no use here")


@keys.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array, for machines.")
@settings_options("keys_directory")
def list_command(as_json: bool, settings: Settings) -> None:
    """Every key: name, role, the first characters of its public half, when it was made, whether it counts."""
    rows = [
        {
            "name": key.name,
            "role": key.role.value,
            "public": key.public[:SHOWN],
            "made": key.made.isoformat(),
            "state": key.state.value,
        }
        for key in _folder(settings).every_key()
    ]
    if as_json:
        click.echo(json.dumps(rows, indent=1))
        return
    for row in rows:
        click.echo(f"{row['name']:20} {row['role']:10} {row['public']}  {row['made'][:10]}  {row['state']}")


@keys.command()
@click.argument("name")
@settings_options("keys_directory")
def revoke(name: str, settings: Settings) -> None:
    """Let whoever has the key of NAME connect no more. One that is connected is cut within two seconds."""
    if _folder(settings).revoke(name):
        click.echo(f"{name} is revoked")
    else:
        click.echo(f"{name} was revoked already")
