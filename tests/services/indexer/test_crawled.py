"""A crawl of long posts, reposts and quotes, and what each index finds of it: all that the service's truth tells."""

from __future__ import annotations

import json
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from services.indexer.engines.index_location import ENGINES, ElasticLocation, IndexLocation, LocalLocation
from services.indexer.query import MAX_HITS, parse
from services.indexer.rebuild import rebuild
from services.indexer.words import keyword, words_of
from storage.dataset.files.dataset import FileDataset
from tests.crawl.running import audit, crawl, dataset, emulator
from tests.services.indexer.opensearch import OpenSearch

POSTS = 2_000
WITHHELD = 3
"""Posts of each account that only the update finds."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


@dataclass(frozen=True)
class Crawled:
    """A dataset, and what the service says of the posts that are to be in it, by their ids."""

    folder: Path
    truth: dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def crawled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crawled]:
    folder = tmp_path_factory.mktemp("crawled") / "data"
    targets = folder.with_name("targets.txt")
    truth: dict[str, dict[str, Any]] = {}
    options = ("-T", "--workers", "1", "--base-url")
    with emulator("--users", "200", "--seed", "16", "--withhold", str(WITHHELD)) as service:
        accounts = []
        for user in service.truth("ids")["ids"]:
            account = service.truth(f"account/{user}")
            if account["state"] == "public" and WITHHELD < account["posts"] < 300 and len(truth) < POSTS:
                accounts.append(user)
                truth |= {str(post["id"]): post for post in service.truth(f"posts/{user}")["posts"]}
        targets.write_text("".join(f"{user}\n" for user in accounts))
        crawl(folder, str(targets), *options, service.url, within_s=60)
        assert len(stored(folder)) == len(truth) - WITHHELD * len(accounts)
        shown = urllib.request.Request(f"{service.url}/_truth/withhold?newest=0", method="POST")
        urllib.request.urlopen(shown, timeout=10).close()
        crawl(folder, str(targets), "-U", *options[1:], service.url, within_s=60)
    yield Crawled(folder, truth)


def stored(folder: Path) -> dict[str, dict[str, Any]]:
    lines = (line for name, text in dataset(folder).items() if name.endswith(".twt") for line in text.splitlines())
    return {post["id_str"]: post for post in map(json.loads, lines)}


def said(post: dict[str, Any]) -> dict[str, Any]:
    return {
        "text": post["full_text"],
        "hashtags": [tag["text"] for tag in post["entities"].get("hashtags", ())],
    }


def test_what_is_stored_is_whole(crawled: Crawled) -> None:
    posts = stored(crawled.folder)
    assert posts.keys() == crawled.truth.keys()
    assert len(posts) >= POSTS
    kinds: Counter[str] = Counter()
    for number, true in crawled.truth.items():
        post = posts[number]
        whole = post.get("retweeted_status", post)
        assert said(whole) == {"text": true["text"], "hashtags": true["hashtags"]}
        if true["kind"] == "quote":
            assert said(post["quoted_status"]) == true["quoted"]
        kinds[true["kind"]] += 1
        kinds["long"] += len(true["text"]) > 140
    assert min(kinds[kind] for kind in ("plain", "repost", "quote", "long")) > 100
    assert audit(crawled.folder)["clean"]


def check(home: IndexLocation, crawled: Crawled) -> None:
    index = rebuild(home, FileDataset(crawled.folder)).index
    assert index.count() == len(crawled.truth)
    tagged: defaultdict[str, set[str]] = defaultdict(set)
    ending: defaultdict[tuple[str, ...], set[str]] = defaultdict(set)
    for number, post in crawled.truth.items():
        texts = [post, *([post["quoted"]] if "quoted" in post else [])]
        for text in texts:
            for tag in text["hashtags"]:
                tagged[keyword(tag)].add(number)
            words = [word for word in text["text"].split() if not word.startswith("https://")]
            # The last word is the post's own; a cut text does not have it.
            ending[tuple(words_of(words[-1]))].add(number)
    for tag, expected in tagged.items():
        answer = index.search(parse(f'hashtags:"{tag}"', limit=MAX_HITS))
        assert answer.total == len(expected)
        assert {post.id for post in answer.hits} == expected
    counted = index.search(parse("", tags=len(tagged))).hashtags
    assert dict(counted) == {tag: len(numbers) for tag, numbers in tagged.items()}
    long = [words for words, numbers in ending.items() if len(crawled.truth[min(numbers)]["text"]) > 140]
    for last in [*long[:150], *list(ending)[:50]]:
        found = {post.id for post in index.search(parse(" ".join(last), limit=MAX_HITS)).hits}
        assert found == ending[last], last
    index.close()


@pytest.mark.parametrize("engine", ENGINES)
def test_an_index_finds_what_the_truth_tells(engine: str, crawled: Crawled, tmp_path: Path) -> None:
    check(LocalLocation(tmp_path, engine), crawled)


def test_a_search_server_finds_what_the_truth_tells(
    search_server: OpenSearch, crawled: Crawled, tmp_path: Path
) -> None:
    check(ElasticLocation(search_server.url, "main", tmp_path), crawled)
