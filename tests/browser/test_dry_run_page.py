"""The dry-run's page in a real browser: it fits every width, and the browser has nothing to complain about."""

import re
from collections.abc import Callable
from html import escape
from pathlib import Path

import pytest

from booking_migrate.reports.files import render_report
from booking_migrate.reports.model_dry_run import DryRunReport
from tests.support import sample_dry_runs
from tests.support.browser import look

FRAME = """<!DOCTYPE html><html><body style="margin:0">
<iframe id="page" style="border:0;width:{width}px;height:2000px" srcdoc="{page}"></iframe>
<script>
const frame = document.getElementById("page");
frame.addEventListener("load", () => {{
  const root = frame.contentDocument.documentElement;
  const beyond = [...root.querySelectorAll("main *")].filter(
    (each) => !each.closest("svg") && each.getBoundingClientRect().right > root.clientWidth + 0.5);
  document.body.dataset.measured = [root.clientWidth, root.scrollWidth, root.querySelectorAll("svg rect").length].join(" ");
  document.body.dataset.beyond = beyond.map((each) => `${{each.tagName}}.${{each.className}}`).join(" ");
}});
</script></body></html>"""
"""The page in a frame as wide as the screen that is meant: a browser's window cannot be as narrow as a phone."""


@pytest.mark.each_value
@pytest.mark.parametrize("width", [1280, 390, 320])
@pytest.mark.parametrize(
    "report", [sample_dry_runs.eventful, sample_dry_runs.blocked, sample_dry_runs.hostile]
)
def test_the_page_fits(tmp_path: Path, report: Callable[[], DryRunReport], width: int) -> None:
    """On a desktop and on a phone nothing reaches beyond the page, bars are drawn, and the console stays empty."""
    page = tmp_path / "frame.html"
    framed = FRAME.format(width=width, page=escape(render_report(report(), ".html"), quote=True))
    page.write_text(framed, encoding="utf-8")

    dom, log = look(page.as_uri(), tmp_path / "profile")
    measured = re.search(r'data-measured="(\d+) (\d+) (\d+)" data-beyond="([^"]*)"', dom)

    assert measured
    inner, scrolled, bars = map(int, measured.groups()[:3])
    assert (width, width, "") == (inner, scrolled, measured[4])
    assert bars > 0
    assert "CONSOLE" not in log


@pytest.mark.parametrize("report", [sample_dry_runs.ready, sample_dry_runs.eventful, sample_dry_runs.hostile])
def test_the_page_stands_alone(report: Callable[[], DryRunReport]) -> None:
    """It has no script, and loads nothing from anywhere."""
    text = render_report(report(), ".html")

    assert "<script" not in text
    assert not re.search(r"""(?:src|href)=["'](?!data:,)""", text)
    assert not re.search(r"url\(|@import|https?://", text)
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text
