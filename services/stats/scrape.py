"""`/metrics` for Prometheus: the current numbers of the recording, under names in the style of Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final

import bottle  # type: ignore[import-untyped]
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from services.http import Answered, application, blocking
from services.stats.metrics import DIGEST_DIGITS, TABLE, Kind, Sample, digest

MAX_LABEL_LENGTH: Final = 200
"""Characters of a label's value."""


class _Numbers(Collector):
    """The collector that the client library calls at each scrape."""

    def __init__(self, now: Callable[[], Sequence[Sample]]) -> None:
        self._now = now

    def collect(self) -> Iterator[Metric]:
        samples = self._now()
        for row in TABLE:
            kind = CounterMetricFamily if row.kind is Kind.COUNTER else GaugeMetricFamily
            family = kind(row.scraped, row.help, labels=row.labels)
            for sample in samples:
                if sample.metric is row:
                    family.add_metric([_label(said) for said in sample.labels], sample.value)
            yield family

    def describe(self) -> Iterable[Metric]:
        return ()


def _label(said: str) -> str:
    """A label's value. One that is too long, or cannot be encoded (half of a surrogate pair), ends in a digest of the
    whole: two names with one value would be a duplicate series, for which Prometheus refuses the whole scrape."""
    written = said.encode("utf-8", "replace").decode()
    if written == said and len(said) <= MAX_LABEL_LENGTH:
        return said
    return f"{written[: MAX_LABEL_LENGTH - DIGEST_DIGITS - 1]}~{digest(said)}"


def metrics_page(now: Callable[[], Sequence[Sample]]) -> Any:
    """A WSGI application that answers `GET /metrics`. `now` returns the numbers, from any thread."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Numbers(now))
    app = application()

    @app.get("/metrics")  # type: ignore[untyped-decorator]
    def metrics() -> Answered:
        body = blocking(generate_latest, registry)
        return bottle.HTTPResponse(body, headers={"Content-Type": CONTENT_TYPE_LATEST})

    return app
