"""Whatever the documents tell people to type is typed here, and wherever they point there is something."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.checkout import ROOT
from tests.docs import reference_page, state_diagrams
from tests.ports import free_port, free_ports

DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
TYPED = ["README.md", "docs/tutorial.md", "docs/how-to.md"]
PORTS = ("8080", "8000")
"""Ports in the documents, which somebody on the machine may be using: free ones take their place."""

_BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FENCED = re.compile(r"^(```|~~~).*?^\1$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?:\]\(|\b(?:src|href)=\")([^)\s\"]+)")
_PATH = re.compile(r"`((?:scripts|tests|benchmarks|protocol|storage|master|worker|services|docs)/[\w./-]+)`")
_TEST = re.compile(r"`(test_[a-z0-9_]+)`")


def typed(script: str, folder: Path, seconds: float) -> str:
    """Run a script as somebody in this folder would, end all that it leaves behind, and return what it printed."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TMATIC_")}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    environment["TMATIC_PORT"] = str(free_ports())
    said = folder / ".said"
    with said.open("wb") as out:
        shell = subprocess.Popen(
            ["bash", "-eu", "-c", script],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code = shell.wait(seconds)
        finally:
            # What runs in the background of a document is of the shell's own group.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(shell.pid, signal.SIGTERM)
    text = said.read_text(errors="replace")
    assert code == 0, f"exit {code}:\n{text[-4000:]}"
    return text


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("name", TYPED)
def test_what_a_document_tells_to_type_works(name: str, tmp_path: Path) -> None:
    blocks = _BLOCK.findall((ROOT / name).read_text())
    assert blocks
    script = "\n".join(blocks)
    for port in PORTS:
        script = script.replace(port, str(free_port()))
    said = typed("set -x\n" + script, tmp_path, 300)
    assert "Traceback" not in said, said[-4000:]


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_the_demo_crawls_resumes_and_begins_anew(tmp_path: Path) -> None:
    data = tmp_path / "demo-data"
    clean = "lost: 0, doubled: 0, differences: 0"
    demo = f"DEMO_DATA={data} {ROOT}/scripts/demo"
    first = typed(demo, tmp_path, 300)
    assert clean in first and "is complete already" not in first
    second = typed(demo, tmp_path, 100)
    assert clean in second and "is complete already" in second
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", free_port()))
        taken.listen()
        again = typed(f"TMATIC_PORT={taken.getsockname()[1]} {demo} --again", tmp_path, 300)
    assert clean in again and "throwing away" in again


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    for link in _LINK.findall(_FENCED.sub("", document.read_text(encoding="utf-8"))):
        place, _, anchor = link.partition("#")
        if "://" in place:
            continue
        target = (document.parent / place).resolve() if place else document
        assert target.is_relative_to(ROOT) and target.exists(), f"{document.name} links to {link}"
        if anchor:
            assert anchor in anchors(target), f"{document.name} links to {link}"


def anchors(document: Path) -> set[str]:
    """The headings of a document, as links name them."""
    headings = re.findall(r"^#+ (.+)$", _FENCED.sub("", document.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_a_test_that_is_named_exists(document: Path) -> None:
    named = set(_TEST.findall(document.read_text(encoding="utf-8")))
    sources = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    missing = {test for test in named if f"def {test}(" not in sources}
    assert not missing


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_a_file_that_is_named_exists(document: Path) -> None:
    for name in _PATH.findall(document.read_text(encoding="utf-8")):
        assert (ROOT / name).exists(), f"{document.name} names {name}"


def test_the_diagram_of_the_election_is_that_of_its_table() -> None:
    page = state_diagrams.PAGE.read_text()
    assert state_diagrams.with_diagrams(page) == page, "say: python -m tests.docs.state_diagrams"


@pytest.mark.slow
def test_the_commands_own_words_are_up_to_date() -> None:
    text = reference_page.PAGE.read_text()
    assert reference_page.page(text) == text, "say python -m tests.docs.reference_page"


def test_the_picture_needs_nothing_from_elsewhere() -> None:
    picture = (ROOT / "docs" / "images" / "processes.svg").read_text()
    assert "href" not in picture and "<script" not in picture
