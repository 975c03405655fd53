"""The page for people: how much is known, how fresh it is, a search and its results. Plain HTML without scripts.

All external text goes through `_safe`, which escapes it and isolates its writing direction.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from services.lookup.profiles import LATEST, KnownProfile, moment
from services.lookup.reading import Held, Overview
from storage import schema

MAX_SHOWN_LENGTH: Final = 64 << 10
"""Characters of a profile shown in full."""

HEARD_S: Final = 5.0
"""Gauges arrive once a second; older ones are stale."""

_COUNTS: Final = (
    ("posts", schema.POSTS),
    ("followers", schema.FOLLOWERS),
    ("follows", schema.FOLLOWS),
    ("lists", schema.LISTS),
)
_ABOUT: Final = (
    ("location", schema.LOCATION),
    ("language", schema.PROFILE_LANGUAGE),
    ("link", schema.LINK),
    ("since", (schema.CREATED, schema.CREATED_IN_RECORD)),
)


@dataclass(frozen=True, slots=True)
class FoundProfiles:
    """The result of a search: a profile with the names of its account, and other accounts that had the name."""

    profile: KnownProfile | None
    names: Sequence[Held]
    others: Sequence[Held]


def page(
    overview: Overview,
    gauges: tuple[float, dict[str, Any]] | None,
    asked: str,
    found: FoundProfiles | None,
    base: str = "",
) -> str:
    """The page as HTML. `asked` is the text of the search box, `found` None when nothing was searched; `base` is the
    prefix of each of our paths."""
    title = "tmatic-lookup" if found is None else f"{asked.strip()[:60]} · tmatic-lookup"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f"<title>{html.escape(title)}</title>\n"
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f'<link rel="stylesheet" href="{base}/style.css">\n'
        f'<link rel="icon" href="{base}/icon.svg" type="image/svg+xml">\n'
        "</head>\n<body>\n"
        f"{_header(gauges, base)}<main>\n{_search_box(asked, base)}{_results(asked, found)}{_numbers(overview)}"
        f"{_progress(overview, gauges)}{_ROUTES.format(base=base)}</main>\n</body>\n</html>\n"
    )


def _header(gauges: tuple[float, dict[str, Any]] | None, base: str) -> str:
    crawl = gauges[1].get("crawl") if gauges else None
    of = f'<span class="crawl">crawl {_safe(crawl)}</span>' if isinstance(crawl, str) else ""
    brand = f'<a class="brand" href="{base}/"><img src="{base}/icon.svg" alt="" width="28" height="28">lookup</a>'
    return f"<header>{brand}{of}</header>\n"


def _search_box(asked: str, base: str) -> str:
    return (
        f'<form class="search" action="{base}/" method="get" role="search">\n<label for="q">Find an account</label>\n'
        '<div><input id="q" name="q" type="search" maxlength="256" placeholder="Id or screen name" autocomplete="off" '
        f'spellcheck="false" value="{html.escape(asked[:256])}"><button>Look up</button></div>\n</form>\n'
    )


def _results(asked: str, found: FoundProfiles | None) -> str:
    if found is None:
        return ""
    parts = []
    if found.profile is not None:
        parts.append(_card(found.profile))
        if len(found.names) > 1:
            parts.append(_history("Names it had", found.names, ids=False))
    else:
        words = "Nobody has that name now" if found.others else "Nobody here goes by that id or name"
        parts.append(f'<p class="nothing">{words}: <b>{_safe(asked.strip()[:256])}</b></p>')
    if found.others:
        parts.append(_history("Others who had this name", found.others, ids=True))
    return f'<section aria-label="Result">\n{"".join(parts)}</section>\n'


def _card(profile: KnownProfile) -> str:
    said = orjson.loads(profile.body)
    name = _text(said, ("name", "display_name", "displayName")) or profile.name or profile.id
    handle = f'<span class="handle">@{_safe(profile.name)}</span>' if profile.name else ""
    marks = "".join(f'<span class="mark">{word}</span>' for word in ("protected", "verified") if said.get(word) is True)
    about = _text(said, ("description", "note"))
    counts = "".join(
        f"<div><dt>{label}</dt><dd>{number:,}</dd></div>"
        for label, keys in _COUNTS
        if (number := _number(said, keys)) is not None
    )
    facts = [("id", f"<code>{_safe(profile.id)}</code>")]
    facts += [
        (label, _safe(_day(text) if label == "since" else text))
        for label, keys in _ABOUT
        if (text := _text(said, keys))
    ]
    if profile.posted:
        facts.append(("last post seen", _safe(_date(profile.posted))))
    listed = "".join(f"<div><dt>{label}</dt><dd>{value}</dd></div>" for label, value in facts)
    whole = _indented(profile.body, said)[:MAX_SHOWN_LENGTH]
    return (
        '<article class="card">\n<div class="who">'
        f'<span class="avatar" aria-hidden="true">{_safe(name[:1].upper())}</span>'
        f"<div><h1>{_safe(name)}</h1><p>{handle}{marks}</p></div></div>\n"
        + (f'<p class="about">{_safe(about)}</p>\n' if about else "")
        + (f'<dl class="counts">{counts}</dl>\n' if counts else "")
        + f'<dl class="facts">{listed}</dl>\n'
        "<details><summary>All that is stored</summary>"
        f'<pre tabindex="0">{html.escape(whole)}</pre></details>\n</article>\n'
    )


def _indented(body: bytes, said: dict[str, Any]) -> str:
    """A profile in full. One that is nested too deeply to be serialized again is shown as received."""
    try:
        return orjson.dumps(said, option=orjson.OPT_INDENT_2).decode()
    except orjson.JSONEncodeError:
        return body.decode()


def _history(title: str, lines: Sequence[Held], *, ids: bool) -> str:
    rows = "".join(
        f"<tr><td>{'@' + _safe(line.screen_name)}{' <span class=mark>now</span>' if line.current else ''}</td>"
        + (f"<td><code>{_safe(line.id)}</code></td>" if ids else "")
        + f"<td>{_span(line)}</td></tr>"
        for line in lines[:100]
    )
    of = '<th scope="col">Account</th>' if ids else ""
    return (
        f'<h2>{title}</h2><div class="wide"><table><thead><tr><th scope="col">Name</th>{of}'
        f'<th scope="col">Seen</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div>\n"
    )


def _span(line: Held) -> str:
    """When an account was seen with a name, as far as it is known."""
    if line.first_at is not None and line.last_at is not None:
        first, last = _date(line.first_at)[:10], _date(line.last_at)[:10]
    elif line.first is not None and line.last is not None:
        first, last = f"event {line.first:,}", f"{line.last:,}"
        return first if line.first == line.last else f"{first} to {last}"
    else:
        return "added by hand"
    return first if first == last else f"{first} to {last}"


def _numbers(overview: Overview) -> str:
    tiles = (
        (f"{overview.accounts:,}", "accounts"),
        (f"{overview.renamed:,}", "changed their name"),
        (f"{overview.added:,}", "added by hand"),
        (_size(overview.bytes), "on disk"),
    )
    told = "".join(f"<div><dt>{label}</dt><dd>{value}</dd></div>" for value, label in tiles)
    return f'<h2>What is known</h2>\n<dl class="tiles">{told}</dl>\n'


def _progress(overview: Overview, gauges: tuple[float, dict[str, Any]] | None) -> str:
    head = _head(gauges[1]) if gauges and gauges[0] <= HEARD_S else None
    at = overview.position.sequence if overview.position else None
    if at is None:
        words, bar = "It has not followed a crawl yet.", ""
    elif head is None:
        words, bar = f"It stands at event {at:,}. No master was heard in the last seconds.", ""
    else:
        behind = max(0, head - at)
        words = f"Event {at:,}, as far as the crawl." if not behind else f"Event {at:,} of {head:,}: {behind:,} to go."
        bar = f'<progress max="{max(head, 1)}" value="{min(at, head)}" aria-label="Events that are in"></progress>'
    way = overview.analyses
    under = f" {way:,} {'analysis is' if way == 1 else 'analyses are'} under way." if way else ""
    return f'<h2>How far it is</h2>\n<div class="progress">{bar}<p>{words}{under}</p></div>\n'


def _head(gauges: dict[str, Any]) -> int | None:
    """The last sequence of the log, if the gauges have it."""
    log = gauges.get("log")
    head = log.get("head") if isinstance(log, dict) else None
    return head if isinstance(head, int) and not isinstance(head, bool) else None


def _text(said: dict[str, Any], keys: Sequence[str]) -> str:
    for key in keys:
        if isinstance(found := said.get(key), str) and found.strip():
            return found.strip()
    return ""


def _number(said: dict[str, Any], keys: Sequence[str]) -> int | None:
    for key in keys:
        if isinstance(found := said.get(key), int) and not isinstance(found, bool):
            return found
    return None


def _day(text: str) -> str:
    return _date(when)[:10] if (when := moment(text)) else text


def _date(when: int) -> str:
    """A time for people; a file written by an earlier version may hold times beyond the calendar."""
    return datetime.fromtimestamp(min(max(0, when), LATEST), UTC).strftime("%Y-%m-%d %H:%M UTC")


def _size(number: int) -> str:
    size = float(number)
    for unit in ("B", "KB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if size >= 10 or unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def _safe(text: str) -> str:
    return f"<bdi>{html.escape(text)}</bdi>"


_ROUTES: Final = """<h2>For programs</h2>
<div class="wide"><table class="routes"><thead><tr><th scope="col">Request</th><th scope="col">Answer</th></tr></thead>
<tbody>
<tr><td><code>GET {base}/lookup/id/ID</code></td><td>the profile as it was stored, or 404, <code>null</code></td></tr>
<tr><td><code>GET {base}/lookup/name/SCREEN_NAME</code></td><td>the profile of who has the name now</td></tr>
<tr><td><code>…?history=1</code></td><td>which names an account had, or who had a name, and when</td></tr>
<tr><td><code>POST {base}/lookup/ids</code></td><td>of up to 1,000 ids, a JSON list: id to profile or null</td></tr>
<tr><td><code>POST {base}/lookup/add</code></td><td>keeps a profile that no crawl has met</td></tr>
<tr><td><a href="{base}/openapi.json"><code>GET {base}/openapi.json</code></a></td><td>all this for machines</td></tr>
</tbody></table></div>
"""
