"""A job comes out of its record as it went in, small, and bytes that are none are refused in words."""

from __future__ import annotations

import contextlib
from itertools import combinations

import pytest
from hypothesis import given, strategies as st

from protocol.errors import MalformedError
from protocol.jobs import CHAIN_ORDER, Job, Operation, Progress, Segment
from storage.ledger.job_codec import MAX_DEPTH, MAX_ID_BYTES, pack_job, unpack_job

CHAINS = [chain for length in range(4) for chain in combinations(CHAIN_ORDER, length)]
TEXTS = st.text(min_size=1, max_size=300).filter(lambda text: len(text.encode()) <= MAX_ID_BYTES)
NUMBERS = st.integers(0, 2**64).map(str) | st.sampled_from(
    [str(2**63 - 1), str(2**63), "007", "00", "-1", "+1", "1_0", "٣"]
)
IDS = NUMBERS | TEXTS
SEGMENTS = st.lists(st.builds(Segment, st.text(max_size=40), st.integers(0, 2**63)), max_size=5).map(tuple)
PROGRESS = st.builds(
    Progress,
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**48 - 1),
    st.integers(0, 1000),
    st.integers(0, 1000),
    st.text(max_size=4096),
    SEGMENTS,
)
JOBS = st.builds(
    Job,
    st.sampled_from(Operation),
    IDS,
    st.integers(0, MAX_DEPTH),
    st.just("") | IDS,
    st.sampled_from(CHAINS),
    st.just(Progress()) | PROGRESS,
)


@given(JOBS)
def test_a_job_goes_round(job: Job) -> None:
    assert unpack_job(pack_job(job)) == job


@given(JOBS, JOBS)
def test_two_jobs_never_share_a_record(one: Job, other: Job) -> None:
    assert (pack_job(one) == pack_job(other)) == (one == other)


@given(st.binary(max_size=80))
def test_any_bytes_are_a_job_or_refused(record: bytes) -> None:
    with contextlib.suppress(MalformedError):
        unpack_job(record)


@given(JOBS, st.data())
def test_a_record_cut_short_is_refused_or_another_job(job: Job, data: st.DataObject) -> None:
    record = pack_job(job)
    with contextlib.suppress(MalformedError):
        assert unpack_job(record[: data.draw(st.integers(0, len(record) - 1))]) != job


def test_a_waiting_job_of_two_64_bit_ids_takes_19_bytes() -> None:
    assert len(pack_job(Job(Operation.TIMELINE, str(2**62), 3, str(2**62 + 1), CHAIN_ORDER[1:]))) == 19


def test_a_waiting_target_takes_a_handful_of_bytes() -> None:
    assert len(pack_job(Job(Operation.TIMELINE, "36445"))) == 5


@pytest.mark.parametrize("user", ["", "x" * 256, "ä" * 128])
def test_an_id_that_does_not_fit_is_refused(user: str) -> None:
    with pytest.raises(MalformedError, match="an account id has 1 to 255 bytes"):
        pack_job(Job(Operation.TIMELINE, user))


def test_a_depth_that_does_not_fit_is_refused() -> None:
    with pytest.raises(MalformedError, match="beyond the limit of 65535"):
        pack_job(Job(Operation.TIMELINE, "1", MAX_DEPTH + 1))
