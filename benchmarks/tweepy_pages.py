"""The opponent of `pages.py`: tweepy pages timelines into `json.dump` lines in gzip.

usage: tweepy_pages.py URL TARGETS FOLDER
"""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path
from urllib.parse import urlsplit

import requests
import tweepy
from requests.adapters import HTTPAdapter


class Plain(HTTPAdapter):
    """tweepy insists on https; the emulator speaks http."""

    def send(self, request: requests.PreparedRequest, *args: object, **kwargs: object) -> requests.Response:
        assert request.url is not None
        request.url = request.url.replace("https://", "http://", 1)
        return super().send(request, *args, **kwargs)  # type: ignore[arg-type]


def main(url: str, targets: str, folder: str) -> None:
    api = tweepy.API(tweepy.OAuth1UserHandler("a", "b", "c", "d"), host=urlsplit(url).netloc)
    api.session.mount("https://", Plain())
    for account in Path(targets).read_text(encoding="utf-8").split():
        with gzip.open(Path(folder, f"{account}.gz"), "wt") as file:
            for page in tweepy.Cursor(api.user_timeline, user_id=account, count=200).pages():
                for status in page:
                    json.dump(status._json, file)
                    file.write("\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
