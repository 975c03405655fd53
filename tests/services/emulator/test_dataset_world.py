"""The world from a dataset: what the crawler stored comes back through the API as it was."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from protocol.errors import UsageError
from services.emulator.worlds.dataset_world import DatasetWorld
from services.emulator.worlds.world import Style
from tests.services.emulator.asking import WORLD, body, pages_of_ids, pages_of_posts, refusal, service

USERS = [user for user in WORLD.ids(0, 40) if getattr(WORLD.find(user), "posts", 0)][:12]
EVERYTHING = 1 << 30


def stored(folder: Path, *, packed: bool) -> Path:
    """A dataset of some accounts of the synthetic world, laid out as the crawler does."""
    for user in USERS:
        account = WORLD.find(user)
        assert account is not None
        followers = WORLD.followers(account, 0, EVERYTHING)
        profiles = [found for found in map(WORLD.find, followers[:20]) if found is not None]
        write(folder, user, ".twt", WORLD.posts(account, 0, account.posts, Style()), packed=packed)
        write(folder, user, ".fws", [str(one).encode() for one in followers], packed=packed)
        write(folder, user, ".inf", [WORLD.profile(found) for found in profiles], packed=packed)
    return folder


def write(folder: Path, user: int, suffix: str, lines: list[bytes], *, packed: bool) -> None:
    directory = folder / str(user)[:2]
    directory.mkdir(exist_ok=True)
    content = b"".join(line + b"\n" for line in lines)
    half = len(content) // 2
    # A file of the crawler is a row of gzip members.
    members = gzip.compress(content[:half]) + gzip.compress(content[half:])
    (directory / f"{user}{suffix}").write_bytes(members if packed else content)


@pytest.mark.slow
@pytest.mark.parametrize("packed", [True, False])
def test_what_was_stored_is_served(tmp_path: Path, packed: bool) -> None:
    asked = service(DatasetWorld(stored(tmp_path, packed=packed), 1), page_cap=50)
    for user in USERS:
        account = WORLD.find(user)
        assert account is not None

        def older(max_id: int | None, user: int = user) -> list[dict[str, object]]:
            bound = {} if max_id is None else {"max_id": max_id}
            got: list[dict[str, object]] = body(asked, "statuses/user_timeline", user_id=user, count=200, **bound)
            return got

        def following(cursor: int, user: int = user) -> dict[str, object]:
            got: dict[str, object] = body(asked, "followers/ids", user_id=user, cursor=cursor)
            return got

        assert [one for page in pages_of_posts(older) for one in page] == WORLD.post_ids(account)
        assert [one for page in pages_of_ids(following) for one in page] == WORLD.followers(account, 0, EVERYTHING)
        assert body(asked, "users/show", user_id=user) == json.loads(WORLD.profile(account))


def test_friends_are_read_off_the_follower_lists(tmp_path: Path) -> None:
    world = DatasetWorld(stored(tmp_path, packed=True), 1)
    for user in world.ids(0, EVERYTHING):
        account = world.find(user)
        assert account is not None
        expected = {
            owner
            for owner in USERS
            if user in WORLD.followers(WORLD.find(owner), 0, EVERYTHING)  # type: ignore[arg-type]
        }
        assert set(world.friends(account, 0, EVERYTHING)) == expected


def test_a_profile_that_was_stored_is_preferred_and_any_other_is_stood_in_for(tmp_path: Path) -> None:
    write(tmp_path, 22013880, ".fws", [b"77", b"78"], packed=True)
    profile = {"id": 77, "id_str": "77", "screen_name": "Kept", "lang": "it", "statuses_count": 4}
    write(tmp_path, 22013880, ".inf", [json.dumps(profile).encode(), b"no json", b"[]"], packed=False)
    asked = service(DatasetWorld(tmp_path, 1))
    assert body(asked, "users/show", user_id=77) == profile
    assert body(asked, "users/show", screen_name="KEPT") == profile
    assert body(asked, "users/lookup", user_id="78,22013880,5")[1]["followers_count"] == 2
    assert body(asked, "statuses/user_timeline", user_id=78) == []
    assert refusal(asked, "users/show", user_id=79) == (404, 50)


def test_files_with_other_names_are_left_aside(tmp_path: Path) -> None:
    write(tmp_path, 22013880, ".fws", [b"77"], packed=True)
    (tmp_path / "22" / "did%3Aplc.fws").write_text("1\n")
    (tmp_path / ".tmatic").mkdir()
    (tmp_path / ".tmatic" / "5.fws").write_text("torn")
    world = DatasetWorld(tmp_path, 1)
    assert world.facts()["left_aside"] == 1
    assert world.ids(0, 9) == [77, 22013880]


def test_a_directory_that_is_no_dataset_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is it a dataset"):
        DatasetWorld(tmp_path, 1)
    write(tmp_path, 22013880, ".fws", [b"77", b"x"], packed=True)
    with pytest.raises(UsageError, match="line 2"):
        DatasetWorld(tmp_path, 1)
