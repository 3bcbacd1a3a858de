"""Peer: the eventsourcing package, in its default mode. An append is one `insert_events` of its
application recorder: a transaction that locks the table against other writers and inserts all the
events, whose versions its primary key checks. A caller is a thread."""

import argparse
import json
import random
import threading
import time
import uuid
from collections.abc import Callable
from urllib.parse import parse_qs, unquote, urlsplit

from eventsourcing.persistence import StoredEvent
from eventsourcing.postgres import PostgresApplicationRecorder, PostgresFactory
from eventsourcing.utils import Environment

SYSTEM = "eventsourcing 9.5.6"
APPENDS_PER_STREAM = 4
MOST_EVENTS = 8
BODY_BYTES = 300
MOST_CONNECTIONS = 90
PAGE = 1000
STREAMS = 20_000

Work = Callable[[], int]


def bare(number: int) -> dict:
    return {
        "agent": "summariser",
        "attempt": 1,
        "execution": f"{number:036}",
        "latency_ms": 100 + number % 899,
        "model": "large",
        "status": "completed",
        "task": f"/do/{number % 10}/summarise",
        "tokens": {"input": 1000 + number % 999, "output": 321},
        "note": "",
    }


def encode(document: dict) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


NOTE = "x" * (BODY_BYTES - len(encode(bare(0))))


def body(number: int) -> bytes:
    """The document of an event: 300 bytes, others for each number."""
    return encode(bare(number) | {"note": NOTE})


def connect(url: str, callers: int) -> PostgresFactory:
    """Its factory, with a pool of one connection a caller, all of them open."""
    parts = urlsplit(url)
    asked = parse_qs(parts.query)
    factory = PostgresFactory(Environment("bench", {
        "PERSISTENCE_MODULE": "eventsourcing.postgres",
        "POSTGRES_DBNAME": parts.path.lstrip("/"),
        "POSTGRES_HOST": asked.get("host", [parts.hostname])[0],
        "POSTGRES_PORT": asked.get("port", [str(parts.port or 5432)])[0],
        "POSTGRES_USER": unquote(parts.username or "postgres"),
        "POSTGRES_PASSWORD": unquote(parts.password or ""),
        "POSTGRES_POOL_SIZE": str(min(callers, MOST_CONNECTIONS)),
        "POSTGRES_MAX_OVERFLOW": "0",
    }))
    factory.datastore.pool.open(wait=True)
    return factory


def appender(recorder: PostgresApplicationRecorder, caller: int) -> Work:
    number = caller * 1_000_003
    stream, version, appended = uuid.uuid4(), 0, 0

    def work() -> int:
        nonlocal number, stream, version, appended
        if appended == APPENDS_PER_STREAM:
            stream, version, appended = uuid.uuid4(), 0, 0
        events = number % MOST_EVENTS + 1
        recorder.insert_events([
            StoredEvent(stream, version + at + 1, "bench:TaskCompleted", body(number * MOST_EVENTS + at))
            for at in range(events)
        ])
        version, appended, number = version + events, appended + 1, number + 1
        return events

    return work


def scanner(recorder: PostgresApplicationRecorder) -> Work:
    def work() -> int:
        count, start = 0, 1
        while page := recorder.select_notifications(start=start, limit=PAGE):
            for notification in page:
                json.loads(notification.state)
            count, start = count + len(page), page[-1].id + 1
        return count

    return work


def loader(recorder: PostgresApplicationRecorder, streams: list[uuid.UUID], caller: int) -> Work:
    chance = random.Random(caller)

    def work() -> int:
        events = recorder.select_events(chance.choice(streams))
        for event in events:
            json.loads(event.state)
        return len(events)

    return work


def find_streams(recorder: PostgresApplicationRecorder) -> list[uuid.UUID]:
    with recorder.datastore.get_connection() as connection:
        found = connection.execute(
            f"SELECT DISTINCT originator_id FROM {recorder.events_table_name} LIMIT {STREAMS}"
        )
        return [row["originator_id"] for row in found]


def drive(works: list[Work], seconds: float) -> tuple[int, list[float], float]:
    """Has each caller work in a loop until time is up: events, the time of each call, seconds."""
    counts = [0] * len(works)
    times: list[list[float]] = [[] for _ in works]
    failures: list[Exception] = []
    began = time.perf_counter()
    until = began + seconds

    def call(caller: int, work: Work) -> None:
        try:
            while (sent := time.perf_counter()) < until and not failures:
                counts[caller] += work()
                times[caller].append(time.perf_counter() - sent)
        except Exception as error:  # a thread's own would only be printed
            failures.append(error)

    threads = [threading.Thread(target=call, args=one) for one in enumerate(works)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return sum(counts), sorted(sum(times, [])), time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--op", choices=["append", "scan", "load"], required=True)
    parser.add_argument("--callers", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=4)
    options = parser.parse_args()
    callers = 1 if options.op == "scan" else options.callers

    factory = connect(options.url, callers)
    # Creates the table when it is missing.
    recorder = factory.application_recorder()
    if options.op == "append":
        works = [appender(recorder, caller) for caller in range(callers)]
    elif options.op == "scan":
        works = [scanner(recorder)]
    else:
        streams = find_streams(recorder)
        works = [loader(recorder, streams, caller) for caller in range(callers)]
    events, times, seconds = drive(works, options.seconds)
    factory.close()

    def within(percent: int) -> float:
        return round(times[(len(times) - 1) * percent // 100] * 1000, 3)

    print(json.dumps({
        "system": SYSTEM,
        "op": options.op,
        "callers": callers,
        "events": events,
        "appends": len(times),
        "seconds": round(seconds, 3),
        "p50_ms": within(50),
        "p99_ms": within(99),
        "retries": 0,
    }))


if __name__ == "__main__":
    main()
