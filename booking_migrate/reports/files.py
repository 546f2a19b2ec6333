"""Reports as files: the format by the file's suffix, written whole or not at all."""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from pkgutil import resolve_name
from secrets import token_hex
from typing import TYPE_CHECKING

from booking_migrate.errors import BadConfiguration
from booking_migrate.reports.model import Report, render_json
from booking_migrate.stores.files.atomic import write_failures

if TYPE_CHECKING:
    from booking_migrate.reports.page import Page

_PAGE_RENDERERS = {
    ".md": "booking_migrate.reports.ci:render_markdown",
    ".html": "booking_migrate.reports.html:render_html",
    ".xml": "booking_migrate.reports.ci:render_junit",
}
_SUFFIXES = (".json", *_PAGE_RENDERERS)
_SARIF, _SARIF_COMMAND = ".sarif", "audit-code"
"""A format for places in code, and the command that finds some."""


def render_report(report: Report, suffix: str) -> str:
    """Return a report in the format of a file's suffix, such as ``.md``."""
    if suffix == ".json":
        return render_json(report)
    if suffix == _SARIF:
        sarif: str = resolve_name("booking_migrate.reports.sarif:render_sarif")(report)
        return sarif
    # Imported when used, because most runs write no report: jinja2 takes as long to load as the rest of the program.
    page = resolve_name("booking_migrate.reports.pages:page_of")(report)
    render: Callable[[Page], str] = resolve_name(_PAGE_RENDERERS[suffix])
    return render(page)


def check_report_path(path: Path, command: str = "") -> None:
    """Check, before anything runs, that a command's report can be written to a path.

    Raises:
        BadConfiguration: the suffix does not stand for a format, or as `check_output_path`.
    """
    suffixes = (*_SUFFIXES, _SARIF) if command == _SARIF_COMMAND else _SUFFIXES
    if path.suffix.lower() not in suffixes:
        known = ", ".join(suffixes)
        raise BadConfiguration("--report", f"{str(path)!r} does not end in one of {known}")
    check_output_path("--report", path)


def check_output_path(option: str, path: Path) -> None:
    """Check, before anything runs, that a file can be written to the path that an option names.

    Raises:
        BadConfiguration: it is a folder or a device, or its folder does not exist or may not be written.
    """
    if path.is_dir():
        raise BadConfiguration(option, f"{str(path)!r} is a folder")
    if path.exists() and not path.is_file():
        raise BadConfiguration(option, f"{str(path)!r} is not a regular file")
    if not path.parent.is_dir():
        raise BadConfiguration(option, f"the folder {str(path.parent)!r} does not exist")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise BadConfiguration(option, f"the folder {str(path.parent)!r} may not be written")


def write_report(path: Path, report: Report) -> None:
    """Write a report in the format of the path's suffix: beside it first, then renamed over it.

    Args:
        path: one that `check_report_path` has let pass.
        report: what to write.

    Raises:
        WriteFailed: the file cannot be written; what was there before is still there.
    """
    replace_file(path, render_report(report, path.suffix.lower()))


def replace_file(path: Path, text: str) -> None:
    """Write a text file beside its name first, then rename it over what was there.

    Raises:
        WriteFailed: the file cannot be written; what was there before is still there.
    """
    beside = path.with_name(f".{path.name}.{token_hex(4)}")
    with write_failures(str(path)):
        try:
            with beside.open("x", encoding="utf-8", newline="\n") as file:
                file.write(text)
            beside.replace(path)
        finally:
            # The reason why it cannot be written may keep it from being removed, too; the first one is what counts.
            with suppress(OSError):
                beside.unlink(missing_ok=True)
