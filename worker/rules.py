"""Which followers are crawled: `--follow-rule 'lang == "it" and statuses_count > 100'`, or PACKAGE.MODULE:FUNCTION.

An expression refers to the fields of a profile. An absent field is None; an invalid comparison (`None > 100`) is
false; a rule that cannot be evaluated for a profile (`1 / followers_count`) means no. There are no attributes, loops or
calls, except those of `FUNCTIONS`, so that a rule from a settings file is harmless.
"""

from __future__ import annotations

import ast
import importlib
import operator
import re
import sys
import traceback
from collections.abc import Callable
from typing import Any, Final

from simpleeval import InvalidExpression, SimpleEval, safe_add, safe_mult  # type: ignore[import-untyped]

from protocol.errors import TmaticError, UsageError
from tmatic_starting import callers_folders

Rule = Callable[[dict[str, Any]], bool]

MAX_EXPRESSION_LENGTH: Final = 1_000
"""Characters of an expression."""

FUNCTIONS: Final[dict[str, Callable[..., Any]]] = {
    "len": lambda value: 0 if value is None else len(value),
    "lower": lambda value: "" if value is None else str(value).lower(),
    "upper": lambda value: "" if value is None else str(value).upper(),
    "number": lambda value: None if value is None else float(value),
}

_FUNCTION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


def _or_no(compare: Callable[[Any, Any], Any]) -> Callable[[Any, Any], bool]:
    def compared(left: Any, right: Any) -> bool:
        try:
            return bool(compare(left, right))
        except TypeError:
            return False

    return compared


def _remainder(left: Any, right: Any) -> Any:
    """Of numbers only: `%` on a text would format a text of any length."""
    if isinstance(left, str | bytes):
        raise TypeError("a text has no remainder")
    return left % right


_OPERATORS: Final[dict[type[ast.AST], Callable[..., Any]]] = {
    ast.Add: safe_add,
    ast.Sub: operator.sub,
    ast.Mult: safe_mult,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: _remainder,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Not: operator.not_,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Gt: _or_no(operator.gt),
    ast.GtE: _or_no(operator.ge),
    ast.Lt: _or_no(operator.lt),
    ast.LtE: _or_no(operator.le),
    ast.In: _or_no(lambda left, right: left in right),
    ast.NotIn: _or_no(lambda left, right: left not in right),
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
}
_SHAPES: Final = (
    ast.Expression,
    ast.Expr,
    ast.BoolOp,
    ast.boolop,
    ast.UnaryOp,
    ast.BinOp,
    ast.Compare,
    ast.IfExp,
    ast.Call,
    ast.Name,
    ast.expr_context,
    ast.Constant,
)
_NOT_COMPUTED: Final = (InvalidExpression, TypeError, ValueError, ArithmeticError, LookupError, MemoryError)


class RuleError(TmaticError):
    """A rule that is a user's function failed."""


class _Fields(dict[str, Any]):
    """A profile whose absent fields are None."""

    def __missing__(self, name: str) -> None:
        return None


def everyone(_profile: dict[str, Any]) -> bool:
    """The default rule: all are followed."""
    return True


def read_rule(text: str) -> Rule:
    """The rule of a text. Raises UsageError, in one sentence, for an invalid one."""
    text = text.strip()
    if not text:
        return everyone
    if len(text) > MAX_EXPRESSION_LENGTH:
        raise UsageError(f"--follow-rule has {len(text)} characters, and {MAX_EXPRESSION_LENGTH} are the most")
    if _FUNCTION.fullmatch(text):
        return _function(text)
    return _expression(text)


def _expression(text: str) -> Rule:
    try:
        tree = ast.parse(text, "--follow-rule", "eval").body
        for node in ast.walk(tree):
            _check(node)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        why = getattr(error, "msg", None) or str(error)
        raise UsageError(f"--follow-rule {text[:80]!r} is not an expression: {why}") from error

    def rule(profile: dict[str, Any]) -> bool:
        # A new evaluator each time: it has state, and several threads evaluate at once.
        evaluator = SimpleEval(operators=_OPERATORS, functions=FUNCTIONS, names=_Fields(profile))
        try:
            return bool(evaluator.eval(text, tree))
        except _NOT_COMPUTED:
            return False

    return rule


def _check(node: ast.AST) -> None:
    """Raises ValueError, with the reason, for what a rule must not contain."""
    if isinstance(node, ast.Call):
        known = isinstance(node.func, ast.Name) and node.func.id in FUNCTIONS
        if not known or node.keywords or len(node.args) != 1:
            raise ValueError(f"of functions there are {', '.join(FUNCTIONS)}, each of one value")
    elif isinstance(node, ast.operator | ast.unaryop | ast.cmpop):
        if type(node) not in _OPERATORS:
            raise ValueError(f"{type(node).__name__} is no operator of a rule")
    elif not isinstance(node, _SHAPES):
        raise ValueError(f"{type(node).__name__} has no place in a rule")


def _function(text: str) -> Rule:
    module_name, _, name = text.partition(":")
    # It may be in a folder of PYTHONPATH, from which nothing else is imported.
    sys.path += [folder for folder in callers_folders() if folder not in sys.path]
    try:
        function = getattr(importlib.import_module(module_name), name)
    except (Exception, SystemExit) as error:
        why = f"{type(error).__name__}: {error}"
        if isinstance(error, ModuleNotFoundError):
            why += "; PYTHONPATH names the folder where it is"
        raise UsageError(f"--follow-rule {text} cannot be imported: {why}") from error
    if not callable(function):
        raise UsageError(f"--follow-rule {text} is not a function")

    def rule(profile: dict[str, Any]) -> bool:
        try:
            return bool(function(profile))
        except BaseException as error:  # whatever it is, it is the rule's: also `exit()`
            place = traceback.extract_tb(error.__traceback__)[-1]
            raise RuleError(
                f"the follow rule {text} failed on account {profile.get('id_str', profile.get('id'))}: "
                f"{type(error).__name__}: {error} ({place.filename}, line {place.lineno})"
            ) from error

    return rule


def main() -> None:
    """Parse a rule as a worker does, and report its error: for `tmatic-crawl`, in a separate process."""
    try:
        read_rule(sys.argv[1])
    except UsageError as error:
        sys.exit(str(error))
