"""The variables that Kubernetes and Docker links add to the environment of every container for each service.

A service named `tmatic-master` produces TMATIC_MASTER_SERVICE_HOST, TMATIC_MASTER_SERVICE_PORT (and _PORT_NAME for each
port that has a name), TMATIC_MASTER_PORT=tcp://10.0.0.1:8000 and TMATIC_MASTER_PORT_8000_TCP with _PROTO, _PORT and
_ADDR; one named `tmatic` produces TMATIC_PORT=tcp://10.0.0.1:8000. No user set them: they are not settings, and no
setting has such a name, or such a value where it has the name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

_NAME: Final = re.compile(
    r"(?:[A-Z0-9_]+_)?(?:SERVICE_HOST|SERVICE_PORT(?:_[A-Z0-9_]+)?"
    r"|PORT_[0-9]{1,5}_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)"
)
_PORT: Final = re.compile(r"(?:[A-Z0-9_]+_)?PORT")
_PLACE: Final = re.compile(r"(?:tcp|udp|sctp)://\S+:[0-9]{1,5}")


def is_service_link(variable: str, value: str) -> bool:
    """Whether this variable describes a service to containers."""
    if _NAME.fullmatch(variable):
        return True
    return _PORT.fullmatch(variable) is not None and _PLACE.fullmatch(value) is not None


def service_links(environment: Mapping[str, str], prefix: str) -> list[str]:
    """The variables with this prefix that describe services, in order."""
    return sorted(
        name for name, value in environment.items() if name.startswith(prefix) and is_service_link(name, value)
    )
