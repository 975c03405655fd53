"""Real reverse proxies before a monitor, with the recipes that `docs/how-to.md` has of them."""

from __future__ import annotations

import contextlib
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.checkout import ROOT
from tests.ports import free_port
from tests.programs import program
from tests.waiting import until

HOW_TO = ROOT / "docs" / "how-to.md"
NAME = "crawl.example.org"
"""Leads nowhere; the tests' browser is told that it is this machine."""
UP_S = 20.0

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
CADDY = shutil.which("caddy")
needs_nginx = pytest.mark.skipif(NGINX is None, reason="nginx is not installed: apt-get install nginx-light")
needs_caddy = pytest.mark.skipif(CADDY is None, reason="caddy is not installed: apt-get install caddy")

_NGINX = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log stderr;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port}{tls};
        server_name {name};
        {inside}
    }}
}}
"""
_TLS = "ssl_certificate {folder}/cert.pem; ssl_certificate_key {folder}/key.pem;"
_CADDY = """
{{
    admin off
    auto_https disable_redirects
    skip_install_trust
    local_certs
    storage file_system {folder}/caddy
}}
{scheme}://{name}:{port} {{
    bind 127.0.0.1
    {inside}
}}
"""


@dataclass(frozen=True, slots=True)
class Proxy:
    """One that runs; `url` is what a browser opens, `port` where it listens on this machine."""

    url: str
    port: int


def recipe(language: str, monitor: str) -> str:
    """The recipe of the manual, for the monitor at this URL."""
    found = re.search(rf"```{language}\n(.*?)```", HOW_TO.read_text(), re.DOTALL)
    assert found is not None, f"docs/how-to.md has no recipe in {language}"
    assert "127.0.0.1:9898" in found[1]
    return found[1].replace("127.0.0.1:9898", urlsplit(monitor).netloc)


@contextlib.contextmanager
def nginx(folder: Path, inside: str, *, https: bool = False) -> Iterator[Proxy]:
    """An nginx whose server has this inside."""
    assert NGINX is not None
    port, words = free_port(), {"folder": folder, "name": NAME}
    if https:
        _certify(folder)
        inside = _TLS.format(folder=folder) + inside
    config = folder / "nginx.conf"
    config.write_text(_NGINX.format(port=port, tls=" ssl" if https else "", inside=inside, **words))
    with _running([NGINX, "-p", str(folder), "-c", str(config)], folder / "nginx.log", port):
        yield Proxy(f"{'https' if https else 'http'}://{NAME}:{port}", port)


@contextlib.contextmanager
def caddy(folder: Path, inside: str, *, https: bool = False) -> Iterator[Proxy]:
    """A Caddy whose site has this inside."""
    assert CADDY is not None
    port, scheme = free_port(), "https" if https else "http"
    config = folder / "Caddyfile"
    config.write_text(_CADDY.format(port=port, scheme=scheme, folder=folder, name=NAME, inside=inside))
    command = [CADDY, "run", "--config", str(config), "--adapter", "caddyfile"]
    with _running(command, folder / "caddy.log", port):
        yield Proxy(f"{scheme}://{NAME}:{port}", port)


def _certify(folder: Path) -> None:
    key, certificate = str(folder / "key.pem"), str(folder / "cert.pem")
    made = [
        program("openssl", "openssl"),
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-keyout",
        key,
        "-out",
        certificate,
    ]
    subprocess.run([*made, "-subj", f"/CN={NAME}", "-days", "2"], check=True, capture_output=True)


@contextlib.contextmanager
def _running(command: Sequence[str], log: Path, port: int) -> Iterator[None]:
    with log.open("wb") as told:
        process = subprocess.Popen(command, stdout=told, stderr=told)
    try:
        until(lambda: _is_up(port, process, log), UP_S)
        yield
    finally:
        process.terminate()
        process.wait(UP_S)


def _is_up(port: int, process: subprocess.Popen[bytes], log: Path) -> bool:
    assert process.poll() is None, log.read_text(encoding="utf-8")
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0
