"""A service under a path of a reverse proxy: `/crawl/inspect` and `/inspect` are both the route `/inspect`.

A proxy may forward the whole path, or strip the prefix. One request does not show which, and it need not: either the
path after the prefix is a route, or the whole path is. If both are, the first counts.
The links that an application writes into its pages begin with `base_of`, and work both through the proxy and directly.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import bottle  # type: ignore[import-untyped]

from services.http.answers import reason


def base_of(environ: Mapping[str, Any]) -> str:
    """The prefix of each path of the application: "" or, for instance, `/crawl`."""
    return str(environ.get("SCRIPT_NAME", "")).rstrip("/")


class Prefixed:
    """A WSGI middleware around a bottle application. `base` is "", or begins with a slash and does not end with one."""

    def __init__(self, app: Any, base: str) -> None:
        self._app, self._base = app, base

    def __call__(self, environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path == self._base and not self._is_route(environ, path):
            query = environ.get("QUERY_STRING", "")
            start(reason(308), [("Location", f"{self._base}/{'?' if query else ''}{query}"), ("Content-Length", "0")])
            return []
        rest = path.removeprefix(self._base)
        if (
            rest != path
            and rest.startswith("/")
            and (self._is_route(environ, rest) or not self._is_route(environ, path))
        ):
            environ["PATH_INFO"] = rest
        environ["SCRIPT_NAME"] = self._base
        answered: Iterable[bytes] = self._app(environ, start)
        return answered

    def _is_route(self, environ: Mapping[str, Any], path: str) -> bool:
        """Whether the application has a route for a path, with any method."""
        try:
            self._app.router.match({"REQUEST_METHOD": environ["REQUEST_METHOD"], "PATH_INFO": path})
        except bottle.HTTPError as error:
            return bool(error.status_code == 405)
        return True
