"""Work in several processes."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from pickle import PicklingError
from typing import Any

import pytest

from booking_migrate.errors import ExitCode, UnusablePlace, WorkerLost, exit_code_of
from booking_migrate.events import Retried
from booking_migrate.runs import workers as pools
from booking_migrate.runs.workers import Preparation, WorkerPool
from booking_migrate.stores.waits import WAITS
from tests.support.crews import Ready

ROOT = Path(__file__).parents[3]
_PATIENCE = 60


def slow_square(number: int) -> tuple[int, int]:
    """The square of a number, sooner of a later one; and who has worked it out."""
    time.sleep(0.02 / (number + 1))
    return number**2, os.getpid()


def fail_at_three(number: int) -> int:
    """A failure, or the number."""
    if number == 3:
        raise LookupError("three")
    return number


def wait_forever(number: int) -> int:
    """Leave a sign that the work was begun, and never end."""
    Path(os.environ["CREW_SIGN"] + str(number)).write_text(str(os.getpid()), encoding="utf-8")
    time.sleep(10**6)
    return number


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_results_come_in_order(workers: int) -> None:
    """Pieces come back in order with their results; with one worker this process does everything."""
    with Ready(workers) as pool:
        done = list(pool.each(slow_square, iter(range(40))))

    assert [(number, number**2) for number in range(40)] == [(chunk, result[0]) for chunk, result in done]
    busy = {result[1] for _, result in done}
    assert (workers > 1) == any(process != os.getpid() for process in busy)


def try_again(number: int) -> int:
    """Work that succeeds at the second attempt."""
    WAITS.note(Retried(f"trouble {number}", 1))
    return number


def test_events_reach_the_main_process() -> None:
    """What stores note in workers, such as retries, comes with their results, to be logged."""
    list(WAITS.take_events())
    with Ready(2) as pool:
        done = [pool.submit(try_again, number) for number in range(6)]
        assert list(range(6)) == [each.result() for each in done]
    noted = set(WAITS.take_events())

    assert {Retried(f"trouble {number}", 1) for number in range(6)} == noted


def test_a_pool_is_resized() -> None:
    """From the next task on there are as many processes as wanted, each prepared like the others; one process stays one."""
    with Ready(2) as pool:
        pool.resize(4)
        more = {result[1] for _, result in pool.each(slow_square, range(60))}
        pool.resize(1)
        last = {result[1] for _, result in pool.each(slow_square, range(20))}
        size = pool.workers
    with WorkerPool(1) as alone:
        alone.resize(3)

    assert 2 < len(more) <= 4
    assert (1, 1) == (len(last), size)
    assert 1 == alone.workers


def test_pieces_are_not_read_far_ahead() -> None:
    """However slow the one is who takes the results, a bounded number of pieces is held."""
    read: list[int] = []

    def chunks() -> Iterator[int]:
        for number in range(100):
            read.append(number)
            yield number

    with Ready(2) as pool:
        for done, _ in enumerate(pool.each(slow_square, chunks())):
            assert len(read) <= done + 8


@pytest.mark.parametrize("workers", [1, 2])
def test_a_failure_comes_with_its_piece(workers: int) -> None:
    """What goes wrong in another process is raised here, after the results of the pieces before."""
    done: list[int] = []
    with pytest.raises(LookupError, match="three"), Ready(workers) as pool:
        done.extend(result for _, result in pool.each(fail_at_three, range(10)))
    assert [0, 1, 2] == done


def refuse_all(number: int) -> int:
    """An error of our own tree."""
    raise UnusablePlace(place=f"place {number}", problem="it is a view")


def test_an_error_comes_with_its_fields() -> None:
    """An error of the program's own comes from another process as it was, with text, fields and exit code."""
    with pytest.raises(UnusablePlace) as caught, Ready(2) as pool:
        list(pool.each(refuse_all, [7]))

    assert "place 7" == caught.value.place
    assert (UnusablePlace("place 7", "it is a view").message, ExitCode.REFUSED) == (
        str(caught.value),
        exit_code_of(caught.value),
    )


def test_what_cannot_be_sent_is_waited_for_by_nobody() -> None:
    """Work that no other process can be sent fails at once, instead of never coming back."""
    with pytest.raises((AttributeError, PicklingError)), Ready(2) as pool:
        list(pool.each(lambda number: number, [7]))


def kill_at_three(number: int) -> int:
    """The end of the process that does it, or the number."""
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def test_a_process_that_ends_is_named() -> None:
    """If a process is killed in the middle of its work, the run ends with an error that says so, and waits for nothing."""
    with pytest.raises(WorkerLost, match="ended unexpectedly"), Ready(2) as pool:
        list(pool.each(kill_at_three, range(100)))


def test_a_process_that_cannot_be_started_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the system lets no process start, whoever waits for one hears that, and why; nothing is left to wait for."""
    monkeypatch.setattr(ForkServerProcess, "_Popen", staticmethod(refuse_to_start))
    with (
        pytest.raises(WorkerLost, match=r"could not be started: BlockingIOError: .*unavailable"),
        WorkerPool(2) as pool,
    ):
        pool.submit(int).result()


def refuse_to_start(_process: object) -> None:
    """What the system says when there are too many processes."""
    raise BlockingIOError(11, "Resource temporarily unavailable")


_PREPARED: list[str] = []


def prepare(what: str) -> None:
    """Take note of what a process is prepared with."""
    _PREPARED.append(what)


def prepared_or_killed(number: int) -> tuple[int, list[str]]:
    """What this process was prepared with; the first one that comes to three is killed."""
    sign = Path(_PREPARED[0])
    if number == 3 and not sign.exists():
        sign.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number, _PREPARED


def test_another_process_takes_the_place(tmp_path: Path) -> None:
    """Where a process has ended, another one is started, prepared as the first one was, and what was lost can be given again."""
    sign = str(tmp_path / "sign")
    results = []
    with Ready(2) as pool:
        pool.prepare(Preparation("", partial(prepare, sign), int))
        given = {number: pool.submit(prepared_or_killed, number) for number in range(8)}
        for number, result in given.items():
            try:
                results.append(result.result())
            except WorkerLost:
                results.append(pool.submit(prepared_or_killed, number).result())

    assert [(number, [sign]) for number in range(8)] == results


def test_the_standard_pool_waits_for_ever() -> None:
    """Why there is a pool of our own: in that of Python a result that breaks off in the middle is waited for for ever."""
    code = (
        "import sys, os\n"
        "from concurrent.futures import wait\n"
        "from concurrent.futures import ProcessPoolExecutor\n"
        "from tests.unit.runs.test_workers import break_off\n"
        "if __name__ == '__main__':\n"
        "    pool = ProcessPoolExecutor(2)\n"
        "    future = pool.submit(break_off, 3)\n"
        "    print(len(wait([future], 3).not_done), flush=True)\n"
        "    for process in pool._processes.values():\n"
        "        process.kill()\n"
        "    os._exit(0)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )

    assert "1" == ended.stdout.strip(), ended.stderr


def break_off(number: int) -> int:
    """The number; of three, the process sends only the beginning, and is killed."""
    send: Any = Connection._send  # type: ignore[attr-defined] # not public

    def send_half(line: Connection, sent: bytes) -> None:
        send(line, sent[: len(sent) // 2])
        os.kill(os.getpid(), signal.SIGKILL)

    if number == 3:
        Connection._send = send_half  # type: ignore[attr-defined] # not public
    return number


def test_a_process_that_ends_in_a_result_is_named() -> None:
    """A result that breaks off in the middle is waited for by nobody."""
    with pytest.raises(WorkerLost), Ready(2) as pool:
        list(pool.each(break_off, range(100)))


def interrupted(_result: object) -> None:
    """Ctrl-C, as the first result is taken."""
    raise KeyboardInterrupt


def test_interrupted_in_the_middle_of_results() -> None:
    """Whoever stops taking results, large as they are, is not held up by those that are on their way."""
    with pytest.raises(KeyboardInterrupt), Ready(2) as pool:
        next(map(interrupted, pool.each(bytes, [20_000_000] * 50)))


def test_work_is_not_waited_for_before_others_have_begun() -> None:
    """Until the others are ready, this process does the work itself, in order."""
    with WorkerPool(2) as pool:
        chunk, (_, process) = next(pool.each(slow_square, iter(range(10))))

    assert (0, os.getpid()) == (chunk, process)


def _begun(sign: Path) -> int:
    """The process that leaves a sign."""
    deadline = time.monotonic() + _PATIENCE
    while not (sign.exists() and sign.read_text(encoding="utf-8")):
        assert time.monotonic() < deadline, "nobody began to work"
        time.sleep(0.02)
    return int(sign.read_text(encoding="utf-8"))


def _is_gone(process: int) -> bool:
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state in "ZX":
            return True
        time.sleep(0.02)
    return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="asks Linux who is alive")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_nobody_outlives_who_is_served(tmp_path: Path, how: signal.Signals) -> None:
    """Killed or interrupted, a process leaves none behind that works for it, though they are in the middle of something."""
    code = (
        "import signal\n"
        "from booking_migrate.runs.workers import WorkerPool\n"
        "from tests.unit.runs.test_workers import wait_forever\n"
        "if __name__ == '__main__':\n"
        # Whoever runs the tests may have been told to ignore it, and then Python does, too.
        "    signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "    with WorkerPool(2) as pool:\n"
        "        pool._first.result()\n"
        "        list(pool.each(wait_forever, range(2)))\n"
    )
    script = tmp_path / "served.py"
    script.write_text(code, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "CREW_SIGN": str(tmp_path / "sign")}
    served = subprocess.Popen([sys.executable, script], env=environment, stderr=subprocess.DEVNULL)
    try:
        others = [_begun(tmp_path / f"sign{number}") for number in range(2)]
        served.send_signal(how)
        served.wait(_PATIENCE)
    finally:
        served.kill()
        served.wait()

    assert 0 != served.returncode
    assert all(map(_is_gone, others))


def suspend_itself(sign: Path) -> int:
    """Leave a sign, and stop as a process does that is suspended."""
    sign.write_text(str(os.getpid()), encoding="utf-8")
    os.kill(os.getpid(), signal.SIGSTOP)
    return os.getpid()


def test_a_suspended_worker_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said that it is waited for, with its process, until it works again."""
    monkeypatch.setattr(pools, "_SILENT_SECONDS", 0.0)
    with Ready(2) as pool:
        future = pool.submit(suspend_itself, tmp_path / "sign")
        process = int(_content(tmp_path / "sign"))
        wait = WAITS.current()
        os.kill(process, signal.SIGCONT)
        assert process == future.result()
        after = WAITS.current()

    assert wait is not None
    assert (f"worker process {process}, which does not answer", None) == (wait.what, wait.limit)
    assert after is None


def _content(sign: Path) -> str:
    """The text of a sign, as soon as it is there."""
    deadline = time.monotonic() + _PATIENCE
    while not (sign.exists() and (text := sign.read_text(encoding="utf-8"))):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return text
