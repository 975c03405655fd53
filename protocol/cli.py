"""The common behaviour of every command line: errors as one sentence, exit codes, `-h`, `--version`.

| exit code | when |
|---|---|
| 0 | success |
| 1 | a failure, or output that could not be written: one sentence on standard error; a traceback is a bug |
| 2 | a flag, a setting or an input file is wrong: one sentence on standard error |
| 3 | a crawl is over, and some jobs failed for good: dead letters |
| 4 | a crawl is over with no result: only dead letters |
| 129, 130, 143 | SIGHUP, Ctrl-C, SIGTERM |
| 141 | the reader of the output closed it, as with `| head` |
"""

from __future__ import annotations

import ast
import inspect
import os
import sys
import textwrap
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final, NoReturn

import click
from click.shell_completion import shell_complete

from protocol.errors import OutputError, TmaticError, UsageError
from protocol.stopping import cut_short
from protocol.streams import give_up_output, prepare_streams

FAILED: Final = 1
MISUSED: Final = 2
LETTERS: Final = 3
NOTHING_GOT: Final = 4
OVER: Final = frozenset({0, LETTERS, NOTHING_GOT})
"""The exit codes of a master whose crawl is over: it is not restarted."""
INTERRUPTED: Final = 130
UNREAD: Final = 141

HELP: Final = {"help_option_names": ["-h", "--help"], "max_content_width": 110}


def run(command: click.Command, name: str, arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line `name` and exit the process with its exit code.

    `arguments` are those of the process by default. An int that the command returns is its exit code.
    Completion for a shell: `eval "$(_TMATIC_MASTER_COMPLETE=bash_source tmatic-master)"`, and likewise for others.
    """
    command.context_settings = {**HELP, **command.context_settings}
    if not any(isinstance(known, _VersionOption) for known in command.params):
        command.params.append(_VersionOption())
    if sys.flags.optimize > 1:
        _teach(command)
    if arguments is None:  # so the streams belong to this process too
        prepare_streams()
    try:
        with cut_short():
            code: Any = _outcome(command, name, sys.argv[1:] if arguments is None else list(arguments))
    except SystemExit as left:
        code = left.code
    sys.exit(_written(name, code))


def _outcome(command: click.Command, name: str, arguments: list[str]) -> int:
    """What `click.Command.main` does, without its own ways to exit the process."""
    variable = f"_{name}_COMPLETE".replace("-", "_").upper()
    try:
        if asked := os.environ.get(variable):
            return shell_complete(command, {}, name, variable, asked)
        with command.make_context(name, arguments) as context:
            code = command.invoke(context)
    except click.exceptions.Exit as left:
        code = left.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return MISUSED
    except click.UsageError as error:
        where = error.ctx.command_path if error.ctx else name
        return _fail(name, f"{error.format_message()} ({where} --help tells more)", MISUSED)
    except click.ClickException as error:
        return _fail(name, error.format_message(), FAILED)
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except UsageError as error:
        return _fail(name, str(error), MISUSED)
    except OutputError as error:
        give_up_output()
        return _fail(name, str(error), FAILED)
    except TmaticError as error:
        return _fail(name, str(error), FAILED)
    except BrokenPipeError:
        give_up_output()
        return UNREAD
    return code if isinstance(code, int) else 0


def _teach(command: click.Command) -> None:
    """With -OO Python drops the docstrings, from which --help is made: read them from the sources."""
    if command.help is None and command.callback is not None:
        source = inspect.getsource(inspect.unwrap(command.callback))
        function = ast.parse(textwrap.dedent(source)).body[0]
        if isinstance(function, ast.FunctionDef) and (words := ast.get_docstring(function)):
            command.help = words.partition("\f")[0]
    for below in command.commands.values() if isinstance(command, click.Group) else ():
        _teach(below)


def _written(name: str, code: Any) -> Any:
    """The exit code, once all output is flushed: a later failure would be a traceback at interpreter exit."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        give_up_output()
        return code or UNREAD
    except OutputError as error:
        give_up_output()
        return code or _fail(name, str(error), FAILED)
    return code


def _fail(name: str, words: str, code: int) -> int:
    click.echo(f"{name}: {' '.join(words.split())}", err=True)
    return code


class _VersionOption(click.Option):
    """`--version`, which looks the version up only when it is used."""

    def __init__(self) -> None:
        super().__init__(
            ["--version"],
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=self._show,
            help="Show the version and leave.",
        )

    @staticmethod
    def _show(context: click.Context, _: click.Parameter, asked: bool) -> None:
        if asked and not context.resilient_parsing:
            try:
                click.echo(f"{context.info_name} {version('twittomatic')}")
            except PackageNotFoundError:
                raise UsageError("twittomatic is not installed, so it has no version: say scripts/setup") from None
            context.exit()
