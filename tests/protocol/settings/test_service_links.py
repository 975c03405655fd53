"""What Kubernetes puts into every environment is no setting, and stops no command."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from protocol.errors import UsageError
from protocol.settings.configuration import configured
from protocol.settings.settings import TABLE, Settings
from tests.protocol.test_logs import logged, logging_as_it_was

__all__ = ["logging_as_it_was"]

PLACE = "tcp://10.96.0.17:8000"


def links_of(service: str, port: int = 8000, named: str = "WIRE") -> dict[str, str]:
    """As the kubelet makes them for a service with one port."""
    name = service.upper().replace("-", "_")
    return {
        f"{name}_SERVICE_HOST": "10.96.0.17",
        f"{name}_SERVICE_PORT": str(port),
        f"{name}_SERVICE_PORT_{named}": str(port),
        f"{name}_PORT": f"tcp://10.96.0.17:{port}",
        f"{name}_PORT_{port}_TCP": f"tcp://10.96.0.17:{port}",
        f"{name}_PORT_{port}_TCP_PROTO": "tcp",
        f"{name}_PORT_{port}_TCP_PORT": str(port),
        f"{name}_PORT_{port}_TCP_ADDR": "10.96.0.17",
    }


SERVICES = ["tmatic", "tmatic-master", "tmatic-lookup", "tmatic-monitor", "tmatic-carbon", "tmatic-events", "tmatic-jt"]


@pytest.fixture(autouse=True)
def empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("service", SERVICES)
def test_the_variables_of_a_service_change_no_setting(service: str) -> None:
    assert configured(environment=links_of(service)) == Settings()
    for place in ("tcp://[fd00::1]:8000", "udp://10.0.0.1:8000"):
        assert configured(environment={f"{service.upper().replace('-', '_')}_PORT": place}) == Settings()


def test_a_setting_beside_them_is_taken() -> None:
    read = configured({"port": "9000"}, environment=links_of("tmatic") | {"TMATIC_DEPTH": "2"})
    assert (read.port, read.depth) == (9000, 2)


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("TMATIC_MASTER_PORT", "8000", "there is no setting TMATIC_MASTER_PORT; did you mean"),
        ("TMATIC_PORT", "http://10.0.0.1:8000", "TMATIC_PORT must be a whole number"),
        ("TMATIC_PORT", "tcp://10.0.0.1", "TMATIC_PORT must be a whole number"),
        ("TMATIC_PROT", PLACE, "there is no setting TMATIC_PROT; did you mean TMATIC_PORT?"),
        ("TMATIC_SERVICE_HOSTS", "h", "there is no setting TMATIC_SERVICE_HOSTS"),
        ("TMATIC_MASTER_PORT_X_TCP", PLACE, "there is no setting TMATIC_MASTER_PORT_X_TCP"),
        ("TMATIC_HOST", PLACE + "\n", "TMATIC_HOST must be a name, an address"),
    ],
)
def test_what_is_mistyped_is_refused_in_words_as_before(variable: str, value: str, words: str) -> None:
    with pytest.raises(UsageError) as refused:
        configured(environment={variable: value})
    assert words in str(refused.value)


def test_no_setting_has_a_name_that_is_passed_over() -> None:
    for row in TABLE.values():
        names = [row.variable, f"TMATIC_{row.original.upper()}" if row.original else row.variable]
        for name in names:
            with pytest.raises(UsageError):
                configured(environment={name: "\0"})


def test_they_are_told_in_one_line_at_debug(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("TMATIC_")]:
        monkeypatch.delenv(name)
    for name, value in links_of("tmatic-master").items():
        monkeypatch.setenv(name, value)
    [line] = logged(Settings(log_level="debug"), io.StringIO()).getvalue().splitlines()
    assert "variables of Kubernetes services are no settings and are passed over names=TMATIC_MASTER_PORT," in line
    assert logged(Settings(), io.StringIO()).getvalue() == ""


def test_a_command_starts_among_them() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TMATIC_")}
    for service in SERVICES:
        environment |= links_of(service)
    command = Path(sys.executable).with_name("tmatic-worker")
    done = subprocess.run([command, "bad name"], env=environment, capture_output=True, text=True, timeout=60)
    assert "NAME must be" in done.stderr, "it read its settings, and found only its own mistake"
