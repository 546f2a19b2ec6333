"""How fast the booking service answers: ``python -m tests.benchmarks.service --clients 100000``.

The service runs as a process of its own, on a migrated collection with ten sessions a client and 200 experts. Clients ask
over so many connections at once, from this process; on a machine with few cores they take some of its time.
"""

import argparse
import json
import os
import random
import struct
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from itertools import islice
from statistics import quantiles
from threading import local
from typing import Any

from bson.objectid import ObjectId

from booking_migrate.domain.ids import client_document_id
from tests.benchmarks.data import BOOKINGS_A_CLIENT, insert_bookings
from tests.support.server import Server, running_server
from tests.support.service import SECRET, token

_DATABASE = "service_benchmark"
_INSERTED_AT_ONCE = 10_000
_START = 1_700_000_000
_FIRST_DATE = 1_900_000_000
_SLOTS_A_DAY = 48
_SEED = 11


@dataclass(frozen=True, slots=True)
class Request:
    """One request, ready to be sent."""

    method: str
    path: str
    user: ObjectId
    body: bytes | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """What one kind of request takes."""

    kind: str
    requests: int
    per_second: float
    median: float
    """Milliseconds."""

    percentile_99: float


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.service", description=__doc__)
    parser.add_argument("--clients", type=int, default=100_000)
    parser.add_argument("--requests", type=int, default=5_000, help="of each kind")
    parser.add_argument("--connections", type=int, default=16)
    arguments = parser.parse_args()
    with running_server() as server:
        experts = _fill(server, arguments.clients)
        with _serving(server) as port:
            rows = list(_rows(port, experts, arguments))
        server.client().drop_database(_DATABASE)
    sys.stdout.write(_table(rows, arguments.clients, arguments.connections))


def _client(number: int) -> ObjectId:
    """A client as `bookings` makes them."""
    return ObjectId(struct.pack(">I4sI", _START, b"user", number))


def _expert_user(number: int) -> ObjectId:
    return ObjectId(struct.pack(">I4sI", _START, b"expt", number))


def _fill(server: Server, clients: int) -> Sequence[ObjectId]:
    """A migrated platform; its experts."""
    database = server.client()[_DATABASE]
    insert_bookings(database.bookings, clients * BOOKINGS_A_CLIENT)
    experts: list[ObjectId] = sorted(database.bookings.distinct("expertId"))
    people = [(_client(number), number) for number in range(clients)]
    people += [(_expert_user(number), number) for number in range(len(experts))]
    users = ({"_id": one, "user_id": f"{n % 10_000:04}", "email": f"u{n}@example.com"} for one, n in people)
    while some_users := list(islice(users, _INSERTED_AT_ONCE)):
        database.users.insert_many(some_users, ordered=False)
    offers = [{"type": "chat", "price": 20}]
    database.experts.insert_many(
        [{"_id": one, "userId": _expert_user(n), "sessionTypes": offers} for n, one in enumerate(experts)]
    )
    _run(server, "migrate", "--target", "clients", "--quiet")
    database.clients.rename("bookings", dropTarget=True)
    _run(server, "service-indexes", "--quiet")
    return experts


def _environment(server: Server) -> dict[str, str]:
    return {
        **os.environ,
        "MONGODB_URI": server.uri,
        "BOOKING_MIGRATE_DB": _DATABASE,
        "BOOKING_MIGRATE_JWT_KEY": SECRET,
    }


def _run(server: Server, *arguments: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "booking_migrate", *arguments], env=_environment(server), check=True
    )


@contextmanager
def _serving(server: Server) -> Iterator[int]:
    """The service as a process; its port."""
    process = subprocess.Popen(
        [sys.executable, "-m", "booking_migrate", "serve", "--port", "0"],
        env=_environment(server),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        line = process.stderr.readline()
        yield int(line.split(";")[0].rpartition(":")[2])
    finally:
        process.terminate()
        process.communicate()


def _rows(port: int, experts: Sequence[ObjectId], arguments: argparse.Namespace) -> Iterator[Row]:
    chance = random.Random(_SEED)
    count = arguments.requests
    clients = [_client(chance.randrange(arguments.clients)) for _ in range(count)]

    def measure(kind: str, requests: Sequence[Request], expected: int) -> tuple[Row, list[Any]]:
        return _measure(kind, requests, expected, port, arguments.connections)

    wishes = [_wish(client, experts[number % len(experts)], number) for number, client in enumerate(clients)]
    row, booked = measure("create", wishes, 201)
    yield row
    confirmations = [
        _confirmation(client, _expert_user(number % len(experts)), answer["data"]["session"]["sessionId"])
        for number, (client, answer) in enumerate(zip(clients, booked, strict=True))
    ]
    yield measure("confirm", confirmations, 200)[0]
    yield measure("list, as client", [Request("GET", "/api/bookings", client) for client in clients], 200)[0]
    looks = [
        Request("GET", "/api/bookings?role=expert&from=2030-03-17", _expert_user(number % len(experts)))
        for number in range(count)
    ]
    yield measure("list, as expert, from a day on", looks, 200)[0]
    everything = [
        Request("GET", "/api/bookings?role=expert", _expert_user(number % len(experts)))
        for number in range(min(count, 200))
    ]
    yield measure("list, as expert, all there is", everything, 200)[0]


def _wish(client: ObjectId, expert: ObjectId, number: int) -> Request:
    """A request for a slot that nobody else wants."""
    turn = number // 200
    date = time.strftime(
        "%Y-%m-%d", time.gmtime(_FIRST_DATE + (number // 50 + turn // _SLOTS_A_DAY) * 86_400)
    )
    minutes = number * 7 % _SLOTS_A_DAY * 30
    body = {
        "expertId": str(expert),
        "sessionType": "chat",
        "duration": 30,
        "scheduledDate": date,
        "startTime": f"{minutes // 60:02}:{minutes % 60:02}",
    }
    return Request("POST", "/api/bookings", client, json.dumps(body).encode())


def _confirmation(client: ObjectId, expert_user: ObjectId, session_id: str) -> Request:
    path = f"/api/bookings/{client_document_id(client)}/confirm"
    return Request("PUT", path, expert_user, json.dumps({"sessionId": session_id}).encode())


def _measure(
    kind: str, requests: Sequence[Request], expected: int, port: int, connections: int
) -> tuple[Row, list[Any]]:
    """Send all requests over so many connections.

    Raises:
        RuntimeError: one was not answered as expected.
    """
    headers = [_headers(request) for request in requests]
    own = local()

    def ask(number: int) -> tuple[float, Any]:
        if not hasattr(own, "connection"):
            own.connection = HTTPConnection("127.0.0.1", port)
        request = requests[number]
        began = time.perf_counter()
        own.connection.request(request.method, request.path, request.body, headers[number])
        answer = own.connection.getresponse()
        content = answer.read()
        took = time.perf_counter() - began
        if answer.status != expected:
            raise RuntimeError(f"{kind}: {answer.status} {content[:200]!r}")
        return took, json.loads(content)

    with ThreadPoolExecutor(connections) as threads:
        began = time.perf_counter()
        results = list(threads.map(ask, range(len(requests))))
        seconds = time.perf_counter() - began
    cuts = quantiles([took * 1000 for took, _ in results], n=100)
    row = Row(kind, len(requests), len(requests) / seconds, cuts[49], cuts[98])
    sys.stderr.write(f"{row}\n")
    return row, [answer for _, answer in results]


def _headers(request: Request) -> dict[str, str]:
    return {"Authorization": f"Bearer {token(request.user)}", "Content-Type": "application/json"}


def _table(rows: Sequence[Row], clients: int, connections: int) -> str:
    lines = [
        f"{clients:,} clients, {connections} connections.",
        "",
        "| request | requests per second | median | 99th percentile |",
        "| --- | ---: | ---: | ---: |",
        *(
            f"| {row.kind} | {row.per_second:,.0f} | {row.median:.1f} ms | {row.percentile_99:.1f} ms |"
            for row in rows
        ),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
