"""A real OpenSearch for the tests: laid down once from Maven Central in pinned versions, checked by their sums, and
started with a heap of 512 MB on a free port of this machine.

The files are kept outside the checkout, in a folder named by the sum of their sums. Where Java or the network is
missing, the tests that need the server are skipped, and say why.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from tests.cached import FETCH_S, cached
from tests.ports import free_port
from tests.waiting import until

HERE = Path(__file__).resolve().parent
POM, SUMS = HERE / "opensearch.pom.xml", HERE / "opensearch.sha256"
VERSION = "2.19.6"
START_S = 60.0
JAVAS = range(11, 24)
"""Versions of Java that run it: later ones have no security manager any more."""

MODULE = f"""description=HTTP and transport over Netty
version={VERSION}
name=transport-netty4
classname=org.opensearch.transport.Netty4Plugin
java.version=11
opensearch.version={VERSION}
extended.plugins=
has.native.controller=false
"""
POLICY = """grant {
  permission java.lang.RuntimePermission "getClassLoader";
  permission java.net.SocketPermission "*", "accept,connect,listen,resolve";
};
"""
LOGGING = """appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = [%d][%p] %c %m%n
rootLogger.level = warn
rootLogger.appenderRef.console.ref = console
"""


@dataclass
class OpenSearch:
    """A server in a folder of its own. What it holds stays when it is killed."""

    java: str
    files: Path
    folder: Path
    port: int = 0
    process: subprocess.Popen[bytes] | None = None
    options: tuple[str, ...] = ("-XX:TieredStopAtLevel=1",)
    """Without them it starts later, and is quicker then."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def lay_out(self) -> None:
        module = self.folder / "modules" / "transport-netty4"
        config = self.folder / "config"
        for path in (module, config, self.folder / "plugins", self.folder / "logs", self.folder / "lib"):
            path.mkdir(parents=True)
        for jar in self.files.glob("*.jar"):
            inside = jar.name.startswith(("netty-", "transport-netty4"))
            (shutil.copy(jar, module) if inside else (self.folder / "lib" / jar.name).symlink_to(jar))
        (module / "plugin-descriptor.properties").write_text(MODULE)
        (module / "plugin-security.policy").write_text(POLICY)
        (config / "log4j2.properties").write_text(LOGGING)
        self.port = free_port()
        settings = {
            "cluster.name": "tests",
            "discovery.type": "single-node",
            "network.host": "127.0.0.1",
            "http.port": self.port,
            "transport.port": free_port(),
            "cluster.routing.allocation.disk.threshold_enabled": "false",
            "action.destructive_requires_name": "false",
        }
        (config / "opensearch.yml").write_text("".join(f"{name}: {value}\n" for name, value in settings.items()))

    def start(self) -> None:
        options = [
            *("-Xms512m", "-Xmx512m", "-XX:+UseSerialGC", *self.options),
            "-Djava.security.manager=allow",
            # Without its native library it does not mind who starts it, root or not.
            *("-Djna.nounpack=true", "-Djna.nosys=true", "-Djna.boot.library.path=nowhere"),
            f"-Dopensearch.path.home={self.folder}",
            f"-Dopensearch.path.conf={self.folder / 'config'}",
        ]
        command = [self.java, *options, "-cp", f"{self.folder}/lib/*", "org.opensearch.bootstrap.OpenSearch"]
        with (self.folder / "words.log").open("ab") as words:
            self.process = subprocess.Popen(command, cwd=self.folder, stdout=words, stderr=words)
        until(self._is_up, START_S, expecting=requests.ConnectionError)

    def _is_up(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.folder / "words.log").read_text()[-2_000:]
        health = requests.get(f"{self.url}/_cluster/health", timeout=10)
        return bool(health.ok and health.json()["status"] in ("green", "yellow"))

    def kill(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(30)
            self.process = None

    def empty(self) -> None:
        requests.delete(f"{self.url}/tmatic-*", timeout=60).raise_for_status()


def java() -> str:
    """The Java to run it with."""
    homes = [Path(os.environ.get("JAVA_HOME", "/nowhere")), *sorted(Path("/usr/lib/jvm").glob("java-*"))]
    for candidate in (shutil.which("java"), *(str(home / "bin" / "java") for home in homes)):
        if candidate and os.access(candidate, os.X_OK):
            said = subprocess.run([candidate, "-version"], capture_output=True, text=True).stderr
            match = re.search(r'version "(\d+)', said)
            if match and int(match[1]) in JAVAS:
                return candidate
    return pytest.skip(f"no Java from {JAVAS[0]} to {JAVAS[-1]}: apt-get install openjdk-17-jre-headless")


def files() -> Path:
    """The folder with its jars, fetched if they are not there yet."""
    name = f"opensearch-{hashlib.sha256(SUMS.read_bytes()).hexdigest()[:16]}"
    return cached(name, _fetch)


def _fetch(folder: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        pytest.skip("OpenSearch is not in the cache, and there is no mvn to fetch it with: apt-get install maven")
    command = [maven, "-q", "-B", "-f", str(POM), "dependency:copy-dependencies", f"-DoutputDirectory={folder}"]
    fetched = subprocess.run(command, capture_output=True, text=True, timeout=FETCH_S)
    if fetched.returncode:
        pytest.skip(f"OpenSearch cannot be fetched from Maven Central: {fetched.stdout[-300:]}")
    sums = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    wanted = {name: digest for digest, name in (line.split() for line in SUMS.read_text().splitlines())}
    assert sums == wanted, f"what was fetched differs: {sorted(set(sums.items()) ^ set(wanted.items()))[:4]}"
