"""No data can break a report, whatever its format."""

import json
from io import StringIO
from xml.etree import ElementTree as ET

import pytest
from rich.console import Console

from booking_migrate.reports.files import render_report
from booking_migrate.reports.terminal import render_terminal
from tests.support.sample_reports import hostile

ENOUGH = 30_000
"""Characters; the sample holds an id of a million."""


def _screen(width: int) -> str:
    screen = StringIO()
    Console(file=screen, width=width).print(render_terminal(hostile(), width))
    return screen.getvalue()


def test_html_holds_no_script() -> None:
    """A script tag in an id shows as text; nothing is loaded from elsewhere."""
    page = render_report(hostile(), ".html")

    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "http" not in page
    assert len(page) < ENOUGH


def test_json_is_ascii_and_parses() -> None:
    """The JSON report is valid under any encoding of standard output."""
    text = render_report(hostile(), ".json")

    assert text.isascii()
    assert json.loads(text)["counts"]["rejected"] == 2
    assert len(text) < ENOUGH


def test_junit_parses() -> None:
    """Control characters, which XML cannot hold, do not reach the JUnit file."""
    root = ET.fromstring(render_report(hostile(), ".xml"))

    assert root.attrib["failures"] == "1"
    assert "\\x1b[2J" in (root.findtext(".//failure") or "")


def test_markdown_shows_markup_as_text() -> None:
    """Pipes, tags and backticks of an id are escaped, so a table keeps its columns."""
    text = render_report(hostile(), ".md")
    row = next(line for line in text.splitlines() if line.startswith("| email-invalid"))

    assert row.replace("\\|", "").count("|") == 4
    assert "\\<script\\>" in row
    assert len(text) < ENOUGH


@pytest.mark.parametrize("width", [20, 80, 200])
def test_terminal_text_holds_no_escape_codes(width: int) -> None:
    """Neither rich's markup nor a terminal's escape codes work from within data."""
    text = _screen(width)

    assert "\x1b" not in text
    assert "[bold" in text
    assert len(text) < ENOUGH
    assert max(map(len, text.splitlines())) <= width
