"""The parameters of a crawl for its workers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CrawlPolicy:
    """The parameters of a crawl for its workers, in seconds unless stated otherwise."""

    crawl: str = "main"
    service: str = "twitter"
    max_clients: int = 200
    heartbeat: float = 1.0
    beat: float = 0.1
    worker_timeout: float = 10.0
    progress_timeout: float = 300.0
    grace: float = 5.0
    name_timeout: float = 2.0
    job_tries: int = 5
    job_lapses: int = 20
    retry_base: float = 5.0
    retry_most: float = 300.0
    max_users: int = 0
