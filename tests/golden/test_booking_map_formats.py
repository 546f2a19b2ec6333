"""Every format of the reports of references map and references keep, byte for byte."""

from collections.abc import Callable
from io import StringIO

import pytest
from rich.console import Console

from booking_migrate.references.keep import KeptIndex
from booking_migrate.references.map import MapCounts
from booking_migrate.reports.booking_map import report_of_kept_index, report_of_map
from booking_migrate.reports.files import render_report
from booking_migrate.reports.model import Report
from booking_migrate.reports.terminal import render_terminal

Check = Callable[[str, str], None]
_RUN = "20261123T151100Z-ab12cd"


def _sample(report: Report) -> Report:
    return report.model_copy(update={"tool_version": "1.2.3", "database": "shop"})


REPORTS = {
    "map-derived": report_of_map(
        MapCounts(entries=998, clients=120),
        run_id=_RUN,
        source="bookings",
        target="clients",
        place="map.csv",
        read_from=None,
        left_out=2,
        repeated=0,
        counts=None,
        changed=True,
        seconds=0.4,
    ),
    "map-read": report_of_map(
        MapCounts(entries=1_000_000, clients=80_000),
        run_id=_RUN,
        source="bookings",
        target="clients",
        place="booking_ids",
        read_from="bookings",
        left_out=0,
        repeated=3,
        counts=None,
        changed=True,
        seconds=12.5,
    ),
    "kept-index": report_of_kept_index(
        KeptIndex("bookings", "booking_migrate_legacy_ids", is_made=True), run_id=_RUN, seconds=0.1
    ),
}


@pytest.mark.parametrize("suffix", ["json", "md", "html", "xml"])
@pytest.mark.parametrize("name", REPORTS)
def test_report_file(name: str, suffix: str, check_golden: Check) -> None:
    """A report file is the golden one."""
    check_golden(f"{name}.{suffix}", render_report(_sample(REPORTS[name]), f".{suffix}"))


@pytest.mark.parametrize("width", [40, 100])
@pytest.mark.parametrize("name", REPORTS)
def test_terminal_text(name: str, width: int, check_golden: Check) -> None:
    """The text on a terminal is the golden one, wide and narrow."""
    screen = StringIO()
    Console(file=screen, width=width).print(render_terminal(_sample(REPORTS[name]), width))

    check_golden(f"{name}.{width}.txt", screen.getvalue())
