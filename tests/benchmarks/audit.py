"""Audit 500 files: copies of the labelled applications. ``python -m tests.benchmarks.audit`` prints CPU time and memory."""

import resource
import shutil
import sys
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from time import process_time

from booking_migrate.audit.run import AuditPlan, audit

_FILES = 500
_APPLICATIONS = Path(__file__).parents[1] / "audit" / "apps"


def copied(folder: Path) -> None:
    """Copy the applications side by side until there are enough files."""
    files = 0
    for number in count():
        for application in sorted(_APPLICATIONS.iterdir()):
            if files >= _FILES:
                return
            shutil.copytree(application, folder / str(number) / application.name)
            files += sum(path.is_file() for path in application.rglob("*"))


def main() -> None:
    """Audit and print."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        copied(folder)
        began = process_time()
        outcome = audit(AuditPlan([folder], base=folder))
        seconds = process_time() - began
    mebibytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    sys.stdout.write(
        f"{outcome.file_count} files, {len(outcome.findings)} places: {seconds:.2f} s of CPU, {mebibytes} MiB\n"
    )


if __name__ == "__main__":
    main()
