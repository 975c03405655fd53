"""Follow rules: safe, forgiving about profiles, and unforgiving about themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from protocol.errors import UsageError
from worker.rules import MAX_EXPRESSION_LENGTH, RuleError, read_rule

PROFILE: dict[str, Any] = {"lang": "it", "statuses_count": 101, "protected": False, "location": None, "name": "Añe"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  ",
        'lang == "it" and statuses_count > 100',
        "not protected",
        'lang in "it,en"',
        "statuses_count % 2 == 1",
        "10 < statuses_count <= 101",
        "absent is None",
        "len(name) == 3",
        'lower(lang) == "it" if lang else False',
        "not absent > 5",
        "len(absent) == 0",
        "True",
    ],
)
def test_a_rule_that_holds(text: str) -> None:
    assert read_rule(text)(PROFILE) is True


@pytest.mark.parametrize(
    "text",
    [
        'lang == "en"',
        "absent > 5",
        "location < 3",
        '"x" in absent',
        "statuses_count / 0 > 1",
        'statuses_count + "a" == 1',
        "len(statuses_count)",
        "number(lang) > 1",
        "0",
    ],
)
def test_a_rule_that_does_not_hold_or_cannot_be_computed(text: str) -> None:
    assert read_rule(text)(PROFILE) is False


@pytest.mark.parametrize(
    "text",
    [
        "lang ==",
        "lang.upper()",
        "lang.__class__",
        "__import__('os')",
        "open('/etc/passwd')",
        "[x for x in lang]",
        "(lambda: 1)()",
        "2 ** 10000000",
        "1 << 100000000",
        "lang[0]",
        "f'{lang}'",
        "lang = 'it'",
        "len(lang, lang)",
        "len(obj=lang)",
        "(a := 1)",
        "import os",
        "\0",
        "(" * 500,
        "x" * (MAX_EXPRESSION_LENGTH + 1),
        "no.such.module:rule",
        "worker.rules:nothing",
        "worker.rules:MAX_EXPRESSION_LENGTH",
    ],
)
def test_a_wrong_rule_is_refused_at_once_in_one_sentence(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        read_rule(text)
    assert "--follow-rule" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_rule_may_be_a_function() -> None:
    rule = read_rule("tests.worker.test_rules:speaks_italian")
    assert rule(PROFILE) is True
    assert rule({}) is False


def speaks_italian(profile: dict[str, Any]) -> object:
    return profile.get("lang") == "it"


@pytest.mark.parametrize("error", [KeyError("gone"), SystemExit("enough"), KeyboardInterrupt()])
def test_a_function_that_fails_is_told_as_the_rules_own_failure(
    monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def fails(profile: dict[str, Any]) -> object:
        raise error

    monkeypatch.setattr("tests.worker.test_rules.speaks_italian", fails)
    rule = read_rule("tests.worker.test_rules:speaks_italian")
    with pytest.raises(RuleError) as failed:
        rule({"id_str": "12"})
    words = str(failed.value)
    assert words.startswith("the follow rule tests.worker.test_rules:speaks_italian failed on account 12: ")
    assert f"{type(error).__name__}: {error} ({__file__}, line " in words


def test_a_module_that_leaves_while_it_is_imported_is_a_wrong_rule(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a_rule_that_leaves.py").write_text("raise SystemExit(3)")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UsageError, match="SystemExit: 3"):
        read_rule("a_rule_that_leaves:rule")


def test_what_a_rule_costs_is_bounded() -> None:
    assert read_rule('name * 1000000000 == "a"')(PROFILE) is False
    assert read_rule('"%1000000000d" % 1 == "a"')(PROFILE) is False
    assert read_rule("9" * 300 + " * " + "9" * 300 + " > 1")(PROFILE) is True
