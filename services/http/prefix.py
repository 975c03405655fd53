"""A service under a path of a reverse proxy: `/crawl/inspect` is the route `/inspect`, and `/inspect` is it too.

A proxy may hand on the whole path, or take off what it knows the service by. Which it does cannot be seen from one
request, but it need not be: what stands behind the prefix is a route, or the whole is. Where both are, the first
counts.
What an application writes into its pages begins with `base_of`, and is right for whoever looks through the proxy, and
for whoever asks the service itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import bottle  # type: ignore[import-untyped]

from services.http.answers import reason


def base_of(environ: Mapping[str, Any]) -> str:
    """What stands before each path of the application: "" or, for instance, `/crawl`."""
    return str(environ.get("SCRIPT_NAME", "")).rstrip("/")


class Prefixed:
    """A WSGI application around one of bottle's. `base` is "" or begins with a slash and ends with none."""

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
        """Whether the application has something under a path, for whatever method."""
        try:
            self._app.router.match({"REQUEST_METHOD": environ["REQUEST_METHOD"], "PATH_INFO": path})
        except bottle.HTTPError as error:
            return bool(error.status_code == 405)
        return True
