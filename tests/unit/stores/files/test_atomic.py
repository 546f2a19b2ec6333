"""Target files: whole or not at all, never merged, the same bytes for the same documents."""

import fcntl
import gzip
import io
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from booking_migrate.errors import TargetBusy, TargetHoldsOther, UnusablePlace, WriteFailed
from booking_migrate.stores.connection import Connection
from booking_migrate.stores.open import open_reader, open_target
from booking_migrate.stores.places import StreamPlace, parse_place
from tests.support.targets import client_document, file_target, rejection, run

DOCUMENTS = [client_document(n) for n in range(50)]
NAMES = ("out.jsonl", "out.json", "out.bson", "out.jsonl.gz", "out.bson.gz")


@pytest.mark.parametrize("name", NAMES)
def test_bytes_do_not_depend_on_batches(tmp_path: Path, name: str) -> None:
    """One batch or many: the file is the same, compressed or not."""
    contents = set()
    for batch in (1, 7, 50):
        target = file_target(tmp_path, f"{batch}-{name}")
        run(target.open(), DOCUMENTS, batch=batch)
        contents.add(Path(target.name).read_bytes())

    assert 1 == len(contents)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("others", [DOCUMENTS[:-1], [*DOCUMENTS, client_document(99)], DOCUMENTS[::-1], []])
def test_another_result_is_refused(tmp_path: Path, name: str, others: list[bytes]) -> None:
    """A file that is shorter, longer or different stays as it is, unless it may be overwritten."""
    target = file_target(tmp_path, name)
    run(target.open(), DOCUMENTS)
    before = Path(target.name).read_bytes()

    with pytest.raises(TargetHoldsOther):
        run(target.open(), others, [rejection(1)])

    assert [(name, before)] == [(path.name, path.read_bytes()) for path in tmp_path.iterdir()]
    assert run(target.open(overwrite=True), others)
    assert before != Path(target.name).read_bytes()


@pytest.mark.parametrize("name", ["out.jsonl.gz", "out.bson.gz"])
def test_a_file_that_is_no_gzip_is_another_result(tmp_path: Path, name: str) -> None:
    """What cannot be uncompressed is not this run's result."""
    target = file_target(tmp_path, name)
    Path(target.name).write_bytes(b"something else")

    with pytest.raises(TargetHoldsOther):
        run(target.open(), DOCUMENTS)


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_an_identical_file_is_not_touched(tmp_path: Path, name: str, *, overwrite: bool) -> None:
    """The same result again leaves the very same file."""
    target = file_target(tmp_path, name)
    run(target.open(), DOCUMENTS, [rejection(1)])
    before = {path: path.stat() for path in tmp_path.iterdir()}

    assert not run(target.open(overwrite=overwrite), DOCUMENTS, [rejection(1)])
    after = {path: path.stat() for path in tmp_path.iterdir()}
    assert {path: (stat.st_ino, stat.st_mtime_ns) for path, stat in before.items()} == {
        path: (stat.st_ino, stat.st_mtime_ns) for path, stat in after.items()
    }


def test_a_gzip_compressed_by_others_is_compared_by_content(tmp_path: Path) -> None:
    """Not the compressed bytes count, but what they hold."""
    target = file_target(tmp_path, "out.bson.gz")
    Path(target.name).write_bytes(gzip.compress(b"".join(DOCUMENTS), compresslevel=1))

    assert not run(target.open(), DOCUMENTS)


def test_an_empty_file_counts_as_absent(tmp_path: Path) -> None:
    """A file of no bytes, as mktemp makes it, is written to."""
    target = file_target(tmp_path, "out.jsonl")
    Path(target.name).touch()

    assert run(target.open(), DOCUMENTS)
    assert DOCUMENTS == target.documents()


def test_nothing_appears_before_the_end(tmp_path: Path) -> None:
    """Until a run finishes there is only the hidden partial file, and none after it is abandoned."""
    target = file_target(tmp_path, "out.jsonl")
    writer = target.open()
    writer.prepare()
    writer.write(DOCUMENTS, [], [rejection(1)])

    assert [".out.jsonl.partial"] == [path.name for path in tmp_path.iterdir()]
    writer.abandon()
    assert [] == list(tmp_path.iterdir())


def test_a_killed_run_leaves_no_target(tmp_path: Path) -> None:
    """A process killed in the middle leaves nothing under the target's name, and the next run succeeds."""
    code = (
        "import os, signal, sys; from tests.support.targets import *; from pathlib import Path;"
        "writer = file_target(Path(sys.argv[1]), 'out.bson').open(); writer.prepare();"
        "writer.write([client_document(n) for n in range(9)], [], [rejection(1)]);"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    root = Path(__file__).parents[4]
    killed = subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=root, check=False)
    target = file_target(tmp_path, "out.bson")

    assert -signal.SIGKILL == killed.returncode
    assert not Path(target.name).exists()
    assert run(target.open(), DOCUMENTS)
    assert ["out.bson"] == [path.name for path in tmp_path.iterdir()]


def test_a_second_process_is_kept_out(tmp_path: Path) -> None:
    """Only one writer at a time writes a target."""
    target = file_target(tmp_path, "out.jsonl")
    first, second = target.open(), target.open()
    first.prepare()

    with pytest.raises(TargetBusy):
        second.prepare()
    second.abandon()
    first.write(DOCUMENTS, [], [])
    assert first.finish()
    first.abandon()
    assert DOCUMENTS == target.documents()


def test_a_lock_on_a_renamed_file_is_no_lock(tmp_path: Path) -> None:
    """A writer that opened the partial file just before it was renamed does not write into the result."""
    target = file_target(tmp_path, "out.jsonl")
    first = target.open()
    first.prepare()
    late = os.open(tmp_path / ".out.jsonl.partial", os.O_RDWR)
    first.write(DOCUMENTS, [], [])
    first.finish()
    fcntl.flock(late, fcntl.LOCK_EX | fcntl.LOCK_NB)

    assert not run(target.open(), DOCUMENTS)
    os.close(late)
    assert DOCUMENTS == target.documents()


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    """Writing through a symbolic link replaces the file it points to."""
    (tmp_path / "data").mkdir()
    link = tmp_path / "out.bson"
    link.symlink_to(tmp_path / "data" / "real.bson")

    run(file_target(tmp_path, "out.bson").open(), DOCUMENTS)

    assert link.is_symlink()
    assert b"".join(DOCUMENTS) == (tmp_path / "data" / "real.bson").read_bytes()


def test_unusable_targets_are_refused_at_once(tmp_path: Path) -> None:
    """A directory, a path in no directory, and rejects that cannot be written are refused in `prepare`."""
    (tmp_path / "out.jsonl").mkdir()
    os.mkfifo(tmp_path / "pipe.jsonl")
    for name in ("out.jsonl", "missing/out.jsonl", "pipe.jsonl"):
        with pytest.raises(UnusablePlace):
            file_target(tmp_path, name).open().prepare()
    with pytest.raises(UnusablePlace):
        file_target(tmp_path, "other.bson").open(rejects=tmp_path / "no" / "x.jsonl").prepare()
    assert ["out.jsonl", "pipe.jsonl"] == sorted(path.name for path in tmp_path.iterdir())


def test_a_full_disk_is_a_failed_write(tmp_path: Path) -> None:
    """When the system takes no more bytes, nothing is left behind and the place is named."""
    target = file_target(tmp_path, "out.bson")
    writer = target.open()
    writer.prepare()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(WriteFailed, match="File too large") as caught:
            writer.write(DOCUMENTS * 200, [], [])
    finally:
        writer.abandon()
        resource.setrlimit(resource.RLIMIT_FSIZE, before)

    assert target.name == caught.value.place
    assert [] == list(tmp_path.iterdir())


def test_rejects_are_sorted_by_id(tmp_path: Path) -> None:
    """The rejects file stands in MongoDB's order of the bookings' ids, whatever the order of arrival."""
    target = file_target(tmp_path, "out.jsonl")

    run(target.open(), [], [rejection(n) for n in ("b", 10, 9, "a", None)])

    ids = [line.split('"bookingId":')[1].split(',"reason"')[0] for line in _lines(target.name)]
    assert ["null", '{"$numberInt":"9"}', '{"$numberInt":"10"}', '"a"', '"b"'] == ids


def _lines(name: str) -> list[str]:
    return Path(f"{name}.rejected.jsonl").read_text(encoding="utf-8").splitlines()


def test_other_rejects_are_not_lost(tmp_path: Path) -> None:
    """A rejects file of another run is kept, and the target with it, unless it may be overwritten."""
    target = file_target(tmp_path, "out.jsonl")
    rejects = Path(f"{target.name}.rejected.jsonl")
    rejects.write_text("{}\n")

    for rejected in ([], [rejection(1)]):
        with pytest.raises(TargetHoldsOther):
            run(target.open(), DOCUMENTS, rejected)
    assert [rejects] == list(tmp_path.iterdir())
    assert run(target.open(overwrite=True), DOCUMENTS, [])
    assert [Path(target.name)] == list(tmp_path.iterdir())


def test_standard_output_gets_json_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    """A stream gets one document a line; its rejects go to a file of the current directory."""
    monkeypatch.chdir(tmp_path)
    reference = file_target(tmp_path, "out.jsonl")
    run(reference.open(), DOCUMENTS)
    writer = open_target(StreamPlace(), Connection(), source_name="bookings")

    run(writer, DOCUMENTS, [rejection(1)])

    assert Path(reference.name).read_bytes() == capsysbinary.readouterr().out
    assert "booking_migrate_rejected.jsonl" == writer.rejects_name
    assert 1 == len((tmp_path / writer.rejects_name).read_bytes().splitlines())


def test_a_closed_pipe_is_a_failed_write() -> None:
    """When the reader of standard output is gone, the run ends with one message and no traceback."""
    code = (
        "import sys; from tests.support.targets import *; from booking_migrate.errors import WriteFailed\n"
        "from booking_migrate.stores.open import StreamPlace\n"
        "writer = open_target(StreamPlace(), Connection(), source_name='a')\n"
        "try: run(writer, [client_document(n) for n in range(9000)])\n"
        "except WriteFailed as error: print(error, file=sys.stderr); sys.exit(5)\n"
    )
    root = Path(__file__).parents[4]
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, check=False, stdout=writing, stderr=subprocess.PIPE, text=True
    )
    os.close(writing)

    assert 5 == done.returncode
    assert "cannot write to standard output: Broken pipe\n" == done.stderr


def test_standard_input_is_read_once_and_scanned_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream is JSON lines, and is kept, so that it can be scanned again."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'{"_id":2}\n{"_id":1}\n')))
    reader = open_reader(parse_place("-"), Connection())

    assert 2 == len(list(reader.scan_by_client())) == len(list(reader.scan_by_client()))
    reader.close()
