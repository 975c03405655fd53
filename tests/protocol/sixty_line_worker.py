"""A worker from docs/protocol.md alone: NAME MASTER SERVICE, as HOST:PORT. It keeps lists in memory and follows all."""

import http.client, json, secrets, sys, time  # noqa: E401, I001
from types import SimpleNamespace
from typing import Any
import msgpack, zmq  # noqa: E401

CALLERS = [["F", "address:127.0.0.1", "followers/ids"], ["A", "address:127.0.0.1", "memory"]]
NAMES = ("token", "operation", "user", "depth", "steps", "records", "cursor", "segments", "who", "granted")
ENDS = {200: ("done", "complete"), 401: ("done", "protected"), 404: ("done", "deleted"), 429: ("limited", "")}
LISTS, BUDGET = dict[str, list[str]](), list[Any]()


def frames(kind: str, *fields: Any) -> list[bytes]:
    return [b"\x01", kind.encode(), msgpack.packb(fields)]


def message(parts: list[bytes]) -> tuple[str, Any]:
    return parts[1].decode(), msgpack.unpackb(parts[2])


def work(job: Any) -> tuple[str, list[Any]]:
    status, ids, after = (200, LISTS.get(job.user, []), "") if job.operation == "A" else (429, [], "")
    if job.operation == "F" and job.spent < job.granted:
        service = http.client.HTTPConnection(sys.argv[3], timeout=5)
        service.request("GET", f"/1.1/followers/ids.json?stringify_ids=1&user_id={job.user}&cursor={job.cursor or -1}")
        answer, job.spent = service.getresponse(), job.spent + 1
        status, said = answer.status, json.load(answer)
        limit, left, reset = (int(answer.headers[f"x-rate-limit-{word}"]) for word in ("limit", "remaining", "reset"))
        BUDGET[:] = [*CALLERS[0][1:], limit, left, reset, reset - time.time() + time.monotonic()]
        ids, after = said.get("ids", []), said.get("next_cursor_str", "0").removeprefix("0")
        LISTS[job.user] = (LISTS.get(job.user, []) if job.cursor else []) + ids
    how, outcome = ("page", "") if after else ENDS.get(status, ("failed", ""))
    job.step = job.steps + 1 if how in ("page", "done") else 0
    job.records, job.cursor, found = job.records + len(ids), after or job.cursor, ids if job.operation == "A" else []
    if how == "page":
        return "PROGRESS", [job.token, job.step, job.records, after, 0, found, job.spent]
    return "RESULT", [job.token, how, job.step, job.records, outcome, found, job.spent, f"status {status}"]


if __name__ == "__main__":
    socket: Any = zmq.Context().socket(zmq.DEALER)
    socket.routing_id, socket.immediate, socket.linger = b"\1" + secrets.token_bytes(15), 1, 0
    socket.connect(f"tcp://{sys.argv[2]}")
    job: Any = None
    run, over, kind, known, epoch, every, beat_at, heard_at = secrets.token_hex(8), {""}, "", False, 0, 1.0, 0.0, 0.0
    while kind != "QUIT":
        now = time.monotonic()
        if job and not job.unsure and now - heard_at < 5:
            job.unsure, job.moved, beat_at = work(job), now, now
        budgets = [[*BUDGET[:5], int((BUDGET[5] - now) * 1000)]] if BUDGET and BUDGET[5] > now + 0.001 else []
        held = [[job.token, job.granted, job.spent, int((now - job.moved) * 1000)]] if job else []
        hello = "HELLO", sys.argv[1], run, "twitter", ["F", "A"], 1, CALLERS, held, budgets
        if now >= beat_at and socket.poll(0, zmq.POLLOUT):
            beat_at = now + every
            socket.send_multipart(frames(*(("HEARTBEAT", run, 1, held, budgets) if known else hello)))
            if job and job.unsure:
                socket.send_multipart(frames(job.unsure[0], [job.unsure[1]], budgets))
        kind, body = message(socket.recv_multipart()) if socket.poll(20) else ("", [])
        assert kind != "ERROR" or body[0] == "who", body
        known = kind == "WELCOME" or (known and kind != "ERROR")
        if kind in ("", "ERROR", "REPORT") or body[kind == "WELCOME"] < epoch:
            continue
        epoch, heard_at = body[kind == "WELCOME"], now
        every, beat_at = (body[3] / 1000, now) if kind == "WELCOME" else (every, beat_at)
        for fields in body[1] if kind == "JOB" else []:
            if fields[0] not in over:
                over.add(fields[0])
                job = SimpleNamespace(**dict(zip(NAMES, fields, strict=False)), spent=0, moved=now, unsure=None)
        for token, step, status, granted, *_ in body[1] if kind == "COMMITTED" else []:
            if job and token == job.token and (not status or (job.unsure and step == job.step)):
                ended = not status or job.unsure[0] == "RESULT"
                job.granted, job.steps, job.unsure = max(job.granted, granted), step, None
                job = None if ended else job
        job = None if kind == "REVOKE" and job and job.token in body[1] else job
