"""The fields of posts and profiles, as the networks name them; of several names, the first one present is used.

Twitter's v1.1 form comes first, then v2, Mastodon and Bluesky. The reader of a value checks its form.
"""

from __future__ import annotations

from typing import Final

AUTHOR: Final = ("user", "account", "author")
"""The object that describes the author of a post."""
AUTHOR_NAME: Final = ("screen_name", "username", "acct", "handle")
"""In that object: the name without a host, where there are both."""
AUTHOR_ID: Final = ("id_str", "id", "did")
"""In that object."""
POST_AUTHOR_ID: Final = ("author_id",)
"""In a post whose author is not an object."""

CREATED: Final = "created_at"
"""When a post, or an account, was created."""
CREATED_IN_RECORD: Final = "createdAt"
"""The same, in Bluesky."""
TEXT: Final = ("full_text", "text", "content")
EXTENDED: Final = "extended_tweet"
"""The object around the full text of a truncated post."""
RECORD: Final = "record"
"""The object around a post's own fields, in Bluesky."""
VALUE: Final = "value"
"""The same, for a quoted post."""
LANGUAGE: Final = ("lang", "language")
LANGUAGES: Final = "langs"
"""A list of them."""

REPOSTED: Final = ("retweeted_status", "reblog")
"""The original post of a repost."""
QUOTED: Final = "quoted_status"
QUOTE: Final = "quote"
"""The quoted post; or an object with it under `QUOTED`."""
EMBED: Final = "embed"

ENTITIES: Final = "entities"
HASHTAGS: Final = "hashtags"
"""A list below `ENTITIES`."""
TAGS: Final = "tags"
FACETS: Final = "facets"
"""Lists of features; those with a `TAG` are hashtags."""
FEATURES: Final = "features"
TAG: Final = "tag"
HASHTAG: Final = ("text", "tag", "name")
"""In an entry of any of these lists."""

COORDINATES: Final = "coordinates"
"""GeoJSON, the longitude first."""
GEO: Final = "geo"
"""The older form, the latitude first; in v2 an object around GeoJSON."""

PROFILE_NAME: Final = ("screen_name", "acct", "handle", "username")
"""The name of an account, with its host where there are both."""
PROFILE_LANGUAGE: Final = ("lang",)
LAST_POST: Final = "status"
"""The newest post of an account, in its profile."""
LAST_POSTED: Final = "last_status_at"
POSTS: Final = ("statuses_count", "postsCount")
FOLLOWERS: Final = ("followers_count", "followersCount")
FOLLOWS: Final = ("friends_count", "following_count", "followsCount")
LISTS: Final = ("listed_count",)
LOCATION: Final = ("location",)
LINK: Final = ("url",)
