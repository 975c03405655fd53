"""Has Graphite itself evaluate targets over whisper's data, and prints which series came of each, as JSON:
{target: {series: last value}}. Run by the Python of an environment that has graphite-web."""

import json
import os
import sys
from datetime import datetime, timedelta
from pathlib import Path

STORAGE, BEGINS, ENDS, TARGETS = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), json.loads(sys.argv[4])

sys.path.insert(0, str(Path(sys.prefix) / "webapp"))
os.environ["DJANGO_SETTINGS_MODULE"] = "graphite_settings"
(Path(STORAGE) / "graphite_settings.py").write_text(
    "from graphite.settings import *\n"
    "SECRET_KEY = 'test'\n"
    f"STORAGE_DIR = LOG_DIR = {STORAGE!r}\n"
    f"WHISPER_DIR = {STORAGE + '/whisper'!r}\n"
    "STANDARD_DIRS = [WHISPER_DIR]\n"
    f"INDEX_FILE = {STORAGE + '/index'!r}\n"
    "CARBONLINK_HOSTS = []\n"
    "TIME_ZONE = 'UTC'\n"
    "LOG_ROTATION = False\n"
    f"DATABASES = {{'default': {{'ENGINE': 'django.db.backends.sqlite3', 'NAME': {STORAGE + '/graphite.db'!r}}}}}\n"
)
sys.path.insert(0, STORAGE)

import django  # type: ignore[import-not-found]  # noqa: E402

django.setup()

from django.utils import timezone  # type: ignore[import-not-found]  # noqa: E402
from graphite.render.evaluator import evaluateTarget  # type: ignore[import-not-found]  # noqa: E402

context = {
    "startTime": datetime.fromtimestamp(BEGINS, timezone.utc),
    "endTime": datetime.fromtimestamp(ENDS, timezone.utc),
    "now": datetime.fromtimestamp(ENDS, timezone.utc) + timedelta(seconds=1),
    "tzinfo": timezone.utc,
    "localOnly": True,
    "template": None,
    "data": [],
    "prefetched": {},
    "xFilesFactor": 0.0,
}
found = {}
for target in TARGETS:
    rows = evaluateTarget(context, target)
    found[target] = {row.name: next((v for v in reversed(list(row)) if v is not None), None) for row in rows}
json.dump(found, sys.stdout)
