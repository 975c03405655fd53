"""Whether a connection leaves this machine, and what it then needs: keys, or a setting that waives them."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from protocol.errors import UsageError
from protocol.settings.settings import Settings
from protocol.transport.keys import Certificate, Keys, read_certificate

FOLDER: Final = Path("keys")
"""The default folder of a master's keys; `keys_directory` sets another."""


def is_loopback(host: str) -> bool:
    """Whether an address belongs to this machine alone. A name may resolve to any host, except localhost."""
    host = host.removeprefix("[").removesuffix("]")
    if host.lower() == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def check_exposure(host: str, has_keys: bool, insecure: bool) -> None:
    """Raises UsageError when a master would listen beyond this machine without keys, unless `insecure` allows it."""
    if not (has_keys or insecure or is_loopback(host)):
        raise UsageError(
            f"whoever reaches {host or '*'} could take jobs and read the crawl: make keys with "
            "`tmatic-master keys new NAME`, one for each worker, or go without them by --insecure"
        )


def keys_for(settings: Settings) -> Keys | None:
    """The keys with which a master listens, None for plain connections.

    `keys_directory` is used everywhere. Without it connections are plain on this machine, and with `insecure`
    everywhere; otherwise the folder `keys` is used. Raises UsageError when required keys are missing.
    """
    if settings.keys_directory is None and (settings.insecure or is_loopback(settings.host)):
        return None
    keys = Keys(settings.keys_directory or FOLDER)
    if settings.keys_directory is None:
        check_exposure(settings.host, keys.made, insecure=False)
    keys.master()
    return keys


def certificate_for(addresses: Iterable[str], key: Path | None, insecure: bool) -> Certificate | None:
    """The certificate of a worker or a subscriber for masters at HOST:PORT; None for plain connections.

    Raises UsageError when the key file cannot be used, or when there is none for a master beyond this machine.
    """
    if key is not None:
        return read_certificate(key)
    for address in addresses:
        if not insecure and not is_loopback(address.rpartition(":")[0]):
            raise UsageError(
                f"{address} is beyond this machine, and needs a key: ask whoever runs the master for the file that "
                "`tmatic-master keys new NAME` makes, and give it as --key; or go without by --insecure"
            )
    return None
