"""What each engine must answer, said in the plainest way: every post is looked at."""

from __future__ import annotations

from collections import Counter

from services.indexer.index import SearchAnswer, bucket
from services.indexer.posts import Document
from services.indexer.query import Between, Clause, Phrase, Query, Term, micro_degrees
from services.indexer.words import keyword


def holds(clause: Clause, post: Document) -> bool:
    if isinstance(clause, Phrase):
        words, length = post.words, len(clause.words)
        return any(tuple(words[at : at + length]) == clause.words for at in range(len(words)))
    if isinstance(clause, Between):
        value = {"created": post.created_at, "lat": post.lat, "lon": post.lon}[clause.field]
        if value is None:
            return False
        return clause.holds(int(value) if clause.field == "created" else micro_degrees(value))
    return clause.value in facts(clause, post)


def facts(term: Term, post: Document) -> tuple[str, ...]:
    return {
        "id": (post.id,),
        "account": (post.account,),
        "user": (post.user_id,),
        "screen_name": (keyword(post.screen_name),),
        "hashtags": post.hashtags,
        "lang": (post.lang,),
        "has": ("location",) if post.lat is not None else (),
    }[term.field]


def answer(posts: dict[str, Document], query: Query) -> SearchAnswer:
    found = [post for post in posts.values() if all(holds(clause, post) for clause in query.clauses)]
    found.sort(key=lambda post: post.rank, reverse=not query.oldest_first)
    histogram: tuple[tuple[int, int], ...] = ()
    if query.unit:
        # A day or an hour that begins with the year 1970 is where posts without a time stand.
        fine = 3_600 if query.unit.value == "hour" else 86_400
        times = Counter(bucket(query.unit, post.created_at) for post in found if post.created_at >= fine)
        histogram = tuple(sorted(times.items()))
    tags = Counter(tag for post in found for tag in post.hashtags)
    most = sorted(tags.items(), key=lambda entry: (-entry[1], entry[0]))[: query.tags]
    return SearchAnswer(len(found), tuple(found[query.offset : query.offset + query.limit]), histogram, tuple(most))
