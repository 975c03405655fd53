"""Prints what whisper has, as JSON: {name: {unix time: value}} of the finest archive. Run by carbon's own Python."""

import json
import sys
import time
from pathlib import Path

import whisper  # type: ignore[import-not-found]

folder, since = Path(sys.argv[1]), int(sys.argv[2])
found: dict[str, dict[int, float]] = {}
for path in folder.rglob("*.wsp"):
    name = ".".join(path.relative_to(folder).with_suffix("").parts)
    if name.startswith("carbon."):
        continue
    step = min(archive["secondsPerPoint"] for archive in whisper.info(str(path))["archives"])
    (begins, _, _), values = whisper.fetch(str(path), since, int(time.time()) + step, archiveToSelect=step)
    found[name] = {begins + number * step: value for number, value in enumerate(values) if value is not None}
json.dump(found, sys.stdout)
