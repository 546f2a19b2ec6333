"""Measure the program beside every alternative: ``python -m tests.benchmarks --bookings 1000000``.

A fresh server is started and filled, and the ways take turns for several rounds, so that a slow minute of the machine
hits all of them. The program is measured with a tenth of the bookings, too, which shows whether time and memory grow.
"""

import argparse
import json
import platform
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.benchmarks import alternatives
from tests.benchmarks.data import insert_bookings, write_array, write_dump, write_lines
from tests.benchmarks.figures import Figure, as_json, picture, table
from tests.benchmarks.measurement import Measurement, conversion_cost, has_option, run_program
from tests.benchmarks.transactions import Transactions
from tests.support.readme import BENCHMARKS, Block, renew
from tests.support.server import Server, running_server

DATABASE = "benchmark"
_INSERTED_AT_ONCE = 10_000
_CACHE_GIB = 2.0
PICTURE = Path(__file__).parent / "figures.svg"


@dataclass(frozen=True, slots=True)
class Way:
    """One way to deal with the bookings."""

    key: str
    name: str
    measure: Callable[[], Measurement]
    is_tool: bool = True


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--bookings", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="*", metavar="KEY", help="measure only these ways, without table")
    parser.add_argument(
        "--readme", action="store_true", help="write table, picture and the rows in README.md"
    )
    parser.add_argument("--json", type=Path, help="write the figures there, too")
    arguments = parser.parse_args()
    only = frozenset(arguments.only or ())
    if only:
        _measured(arguments.bookings, arguments.rounds, only)
        return
    tenth = _measured(arguments.bookings // 10, arguments.rounds, only, tool_only=True)
    figures = _measured(arguments.bookings, arguments.rounds, only)
    cost = conversion_cost()
    text = (
        f"![Bookings per second]({PICTURE.name})\n\n{table(figures, tenth, _machine())}\n"
        f"Making client documents takes one process {cost.compose:.1f} µs a booking, {cost.ratio:.2f} times what decoding "
        f"and\nencoding it takes ({cost.decode_and_encode:.1f} µs), and {cost.compose_thoroughly:.1f} µs where bookings are "
        "unusual ones.\n"
    )
    sys.stdout.write(text)
    if arguments.readme:
        Block(BENCHMARKS, "figures").replace(text)
        renew()
        PICTURE.write_text(picture(figures), encoding="utf-8")
    if arguments.json:
        told = as_json(figures, tenth, machine=_machine(), conversion=asdict(cost))
        arguments.json.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")


def _measured(count: int, rounds: int, only: frozenset[str], *, tool_only: bool = False) -> Sequence[Figure]:
    """Every way, so many rounds, in turn."""
    measured: defaultdict[str, list[Measurement]] = defaultdict(list)
    with TemporaryDirectory() as name, running_server(cache_gib=_CACHE_GIB) as server:
        fill(server, count)
        ways = [
            way
            for way in (*_server_ways(server), *_file_ways(server, Path(name), count))
            if (not only or way.key in only) and (way.is_tool or not tool_only)
        ]
        for number in range(rounds):
            for way in ways:
                one = way.measure()
                measured[way.key].append(one)
                told = f"{one.seconds:.2f} s" + (
                    f", {one.peak_mib:.0f} MiB" if one.peak_mib is not None else ""
                )
                sys.stderr.write(f"{count:,} bookings, round {number + 1}, {way.name}: {told}\n")
        server.client().drop_database(DATABASE)
    return [_figure(way, count, measured[way.key]) for way in ways]


def _figure(way: Way, count: int, rounds: Sequence[Measurement]) -> Figure:
    peaks = [each.peak_mib for each in rounds if each.peak_mib is not None]
    seconds = tuple(round(each.seconds, 3) for each in rounds)
    return Figure(way.key, way.name, way.is_tool, count, seconds, max(peaks, default=None))


def _server_ways(server: Server) -> Iterator[Way]:
    """What is done within the database: by others, and by the program."""
    database = server.client()[DATABASE]
    for key, name, do in (
        ("out", "the server's own copy ($out)", alternatives.copy_on_the_server),
        ("copy", "a copy through a client", alternatives.copy_through_a_client),
        ("whole", "one aggregation, $push: $$ROOT", alternatives.aggregate_whole),
        ("named", "one aggregation, each field named", alternatives.aggregate_named),
        ("loop", "a loop over the clients (sample)", alternatives.loop),
    ):

        def alone(do: Callable[[alternatives.Db], float] = do) -> Measurement:
            clear(server)
            return Measurement(do(database), None)

        yield Way(key, name, alone, is_tool=False)

    def tool(*arguments: str, fresh: bool = True) -> Measurement:
        if fresh:
            clear(server)
        command, *options = arguments
        return run_program([command, "--quiet", "--uri", server.uri, "--db", DATABASE, *options])

    yield Way("dry-run", "dry-run", lambda: tool("dry-run"))
    yield Way(
        "alone",
        "migrate --workers 1",
        lambda: tool("migrate", "--workers", "1"),
    )
    yield Way("auto", "migrate", lambda: tool("migrate"))
    # These are about what the way before them left.
    yield Way("verify", "verify", lambda: tool("verify", fresh=False))
    yield Way("verify-1", "verify --workers 1", lambda: tool("verify", "--workers", "1", fresh=False))
    yield Way("again", "migrate, nothing to do", lambda: tool("migrate", fresh=False))
    yield Way("rollback", "rollback", lambda: tool("rollback", "--yes", fresh=False))
    if has_option("migrate", "--in-place"):

        def in_place() -> Measurement:
            clear(server)
            database["bookings"].aggregate([{"$out": "in_place"}])
            database["in_place"].create_index("clientId")
            return tool("migrate", "--in-place", "--source", "in_place", fresh=False)

        yield Way("in-place", "migrate --in-place", in_place)
        yield Way(
            "in-place-rollback",
            "rollback, in place",
            lambda: tool("rollback", "--target", "in_place", "--yes", fresh=False),
        )
        yield from _transactions(server)


def _transactions(server: Server) -> Iterator[Way]:
    """What the transactions of a migration in place and of its rollback take by themselves."""
    database = server.client()[DATABASE]
    prepared: list[Transactions] = []

    def move() -> Measurement:
        clear(server)
        database["bookings"].aggregate([{"$out": "in_place"}])
        database["in_place"].create_index("clientId")
        prepared[:] = [Transactions(database, "in_place")]
        return Measurement(prepared[0].move(), None)

    yield Way("transactions", "the transactions of it alone", move, is_tool=False)
    yield Way(
        "transactions-back",
        "the transactions of its rollback alone",
        lambda: Measurement(prepared[0].move_back(), None),
        is_tool=False,
    )


def _file_ways(server: Server, folder: Path, count: int) -> Iterator[Way]:
    """From file to file, and from a collection into a file."""
    written: dict[str, Callable[[Path, int], None]] = {
        "bson": write_dump,
        "jsonl": write_lines,
        "json": write_array,
    }
    database = ["--uri", server.uri, "--db", DATABASE]
    for key, name, source, target in (
        ("bson", "migrate, BSON file to BSON file", "bson", "bson"),
        ("jsonl", "migrate, JSON lines to JSON lines", "jsonl", "jsonl"),
        ("jsonl-bson", "migrate, JSON lines to BSON file", "jsonl", "bson"),
        ("bson-jsonl", "migrate, BSON file to JSON lines", "bson", "jsonl"),
        ("json", "migrate, JSON array to JSON array", "json", "json"),
        ("database-jsonl", "migrate, collection to JSON lines", None, "jsonl"),
    ):

        def migrate(source: str | None = source, target: str = target) -> Measurement:
            for left in folder.glob("clients.*"):
                left.unlink()
            options = ["--target", str(folder / f"clients.{target}")]
            if source is None:
                return run_program(["migrate", "--quiet", *database, *options])
            path = folder / f"bookings.{source}"
            if not path.exists():
                written[source](path, count)
            return run_program(["migrate", "--quiet", "--source", str(path), *options])

        yield Way(key, name, migrate)


def fill(server: Server, count: int) -> None:
    """Put the bookings into a collection with an index on `clientId`, as the old application has it."""
    collection = server.client()[DATABASE]["bookings"]
    insert_bookings(collection, count)
    collection.create_index("clientId")


def clear(server: Server) -> None:
    """Leave nothing but the bookings."""
    database = server.client()[DATABASE]
    for name in database.list_collection_names():
        if name != "bookings":
            database.drop_collection(name)


def _machine() -> str:
    cpu = next(
        (
            line.partition(":")[2].strip()
            for line in _cpu_info().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    return (
        f"{_cores()} cores ({cpu}), {platform.system()}, CPython {platform.python_version()}, with a mongod of one node "
        f"beside it on the same cores (its cache: {_CACHE_GIB:g} GiB)"
    )


def _cores() -> int:
    return _cpu_info().count("processor\t")


def _cpu_info() -> str:
    return Path("/proc/cpuinfo").read_text(encoding="utf-8")


if __name__ == "__main__":
    main()
