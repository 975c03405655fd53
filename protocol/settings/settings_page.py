"""`docs/settings.md`, made from the table. `python -m protocol.settings.settings_page` rewrites it."""

from __future__ import annotations

from pathlib import Path

from protocol.settings.setting import SettingRow
from protocol.settings.settings import TABLE

PAGE = Path(__file__).resolve().parents[2] / "docs" / "settings.md"

OPENING = """# Settings

Made from the table in `protocol/settings/settings.py` by `python -m protocol.settings.settings_page`: change it there.

A setting can be said in three places. The later one wins:

1. a key in `tmatic.toml`, in the current directory or where `--config FILE` says: `max_clients = 50`
2. a variable in the environment, the name in capitals after `TMATIC_`: `TMATIC_MAX_CLIENTS=50`
3. a flag of a command: `--max-clients 50`

A key or variable that is not in the table is refused. The name that the original twittomatic had for a setting is
understood in the file and in the environment. A relative path counts from the current directory, and yes and no may
also be written true and false.

In Kubernetes a service named `tmatic` or `tmatic-…` puts variables into every container (`TMATIC_PORT=tcp://…`,
`TMATIC_MASTER_SERVICE_HOST`, `TMATIC_MASTER_PORT_8000_TCP_ADDR`, …). They are no settings, and are passed over; so say
such a port by its flag or in the file, since the variable is taken. `enableServiceLinks: false` leaves them out.
"""


def page() -> str:
    """The whole page, in Markdown."""
    return "\n".join([OPENING, *(_entry(row) for row in TABLE.values())])


def _entry(row: SettingRow) -> str:
    facts = {
        "flag": f"`{row.flag}`" if row.flag else "none",
        "allowed": row.allowed,
        "default": f"`{row.shown(row.default)}`" if row.shown(row.default) else "empty",
        "read by": ", ".join(row.floors),
    }
    if row.original:
        facts["the original's name"] = f"`{row.original}`"
    lines = [f"## {row.name}", "", row.help, "", *(f"- {name}: {fact}" for name, fact in facts.items()), ""]
    return "\n".join(lines)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
