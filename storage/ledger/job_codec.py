"""The binary encoding of a job in the ledger: 10 to 20 bytes for a waiting one, so that many millions fit in memory.

    byte 0         bits 0-2 operation (T F A U = 0 1 2 3), bit 3 started, bits 4-6 the chain that follows (T F A)
    if started     steps u32, count u48, big-endian; the Lua script reads these, and nothing behind them
    byte           high half: the encoding of the account, low half: that of its parent
                   (0 to 8: an integer of that many bytes; 9: none; 15: one byte of length, then UTF-8)
    depth          one byte, or 255 and two bytes
    account, parent
    if started     msgpack [tries, lapses, cursor, [[token, length], …]]

The format is private to the ledger; nothing outside `storage` reads it.
"""

from __future__ import annotations

import struct

import msgpack

from protocol.errors import MalformedError
from protocol.jobs import CHAIN_ORDER, OPERATIONS, Job, Progress, Segment

_OPERATIONS = tuple(OPERATIONS)
MAX_DEPTH = 65_535
MAX_ID_BYTES = 255

_NUMBER = {operation: number for number, operation in enumerate(_OPERATIONS)}
_CHAIN_BIT = {operation: 16 << bit for bit, operation in enumerate(CHAIN_ORDER)}
_CHAINS = {
    bits: tuple(operation for operation in CHAIN_ORDER if bits & _CHAIN_BIT[operation]) for bits in range(0, 128, 16)
}
_BITS = {chain: bits for bits, chain in _CHAINS.items()}
_STARTED = 8
_NONE = 9
_TEXT = 15
_FRESH = Progress()


def _pack_id(account: str) -> tuple[int, bytes]:
    """The half byte of the encoding, and the bytes. Only canonical decimals become integers: "007" stays text."""
    if account.isascii() and account.isdigit() and (account[0] != "0" or account == "0") and len(account) < 20:
        number = int(account)
        if number < 1 << 63:
            length = (number.bit_length() + 7) // 8
            return length, number.to_bytes(length, "big")
    raw = account.encode()
    if not 0 < len(raw) <= MAX_ID_BYTES:
        raise MalformedError(f"an account id has 1 to {MAX_ID_BYTES} bytes, not {len(raw)}: {account[:80]!r}")
    return _TEXT, bytes((len(raw),)) + raw


def _unpack_id(kind: int, record: bytes, at: int) -> tuple[str, int]:
    if kind == _TEXT:
        end = at + 1 + record[at]
        return record[at + 1 : end].decode(), end
    if kind == _NONE:
        return "", at
    return str(int.from_bytes(record[at : at + kind], "big")), at + kind


def pack_job(job: Job) -> bytes:
    """The record of a job. Raises MalformedError for an id or a depth that does not fit."""
    first = _NUMBER[job.operation] | _BITS[job.chain]
    how, account = _pack_id(job.user)
    parent_how, parent = _pack_id(job.parent) if job.parent else (_NONE, b"")
    if job.depth < 255:
        depth = bytes((job.depth,))
    elif job.depth <= MAX_DEPTH:
        depth = b"\xff" + job.depth.to_bytes(2, "big")
    else:
        raise MalformedError(f"a depth of {job.depth} is beyond the limit of {MAX_DEPTH}")
    plain = bytes((how << 4 | parent_how,)) + depth + account + parent
    done = job.progress
    if done == _FRESH:
        return bytes((first,)) + plain
    rest: bytes = msgpack.packb(
        [done.tries, done.lapses, done.cursor, [[segment.token, segment.length] for segment in done.segments]]
    )
    head = struct.pack(">BI", first | _STARTED, done.steps) + done.count.to_bytes(6, "big")
    return head + plain + rest


def unpack_job(record: bytes) -> Job:
    """The job of a record. Raises MalformedError when the bytes are not a job."""
    try:
        return _unpack_job(record)
    except (IndexError, ValueError, KeyError, TypeError, struct.error, msgpack.UnpackException) as error:
        raise MalformedError(f"a job record of {len(record)} bytes in the ledger cannot be read: {error}") from error


def _unpack_job(record: bytes) -> Job:
    first = record[0]
    at = 1
    steps = count = 0
    if first & _STARTED:
        steps = int.from_bytes(record[1:5], "big")
        count = int.from_bytes(record[5:11], "big")
        at = 11
    how = record[at]
    depth = record[at + 1]
    at += 2
    if depth == 255:
        depth = int.from_bytes(record[at : at + 2], "big")
        at += 2
    user, at = _unpack_id(how >> 4, record, at)
    parent, at = _unpack_id(how & 15, record, at)
    progress = _FRESH
    if first & _STARTED:
        tries, lapses, cursor, segments = msgpack.unpackb(record[at:])
        progress = Progress(steps, count, tries, lapses, cursor, tuple(Segment(*segment) for segment in segments))
    elif at != len(record):
        raise ValueError("bytes are left over")
    return Job(_OPERATIONS[first & 7], user, depth, parent, _CHAINS[first & 0x70], progress)
