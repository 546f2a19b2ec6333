"""Reports as files: the format by the file's suffix, written whole or not at all."""

from collections.abc import Callable
from pathlib import Path
from secrets import token_hex

from booking_migrate.errors import BadConfiguration, WriteFailed
from booking_migrate.reports.dry_run.markdown import render_dry_run_markdown
from booking_migrate.reports.dry_run.model import DryRunReport
from booking_migrate.reports.json_report import render_json
from booking_migrate.reports.junit import render_junit
from booking_migrate.reports.markdown import render_markdown
from booking_migrate.reports.model import Report


def _render_html(report: Report) -> str:
    # Here and not above: jinja2 costs as much time as the rest of the program's start.
    from booking_migrate.reports.html import render_html  # noqa: PLC0415

    return render_html(report)


def _render_dry_run_html(report: DryRunReport) -> str:
    from booking_migrate.reports.dry_run.html import render_dry_run_html  # noqa: PLC0415 - as above

    return render_dry_run_html(report)


_RENDERERS: dict[str, Callable[[Report], str]] = {
    ".json": render_json,
    ".md": render_markdown,
    ".html": _render_html,
    ".xml": render_junit,
}

_DRY_RUN_RENDERERS: dict[str, Callable[[DryRunReport], str]] = {
    **_RENDERERS,
    ".md": render_dry_run_markdown,
    ".html": _render_dry_run_html,
}


def check_report_path(path: Path) -> None:
    """Check, before anything runs, that a report can be written to a path.

    Raises:
        BadConfiguration: the suffix stands for no format, or there is no such folder.
    """
    if path.suffix.lower() not in _RENDERERS:
        known = ", ".join(_RENDERERS)
        raise BadConfiguration("--report", f"{str(path)!r} does not end in one of {known}")
    if path.is_dir():
        raise BadConfiguration("--report", f"{str(path)!r} is a folder")
    if not path.parent.is_dir():
        raise BadConfiguration("--report", f"there is no folder {str(path.parent)!r}")


def write_report(path: Path, report: Report) -> None:
    """Write a report in the format of the path's suffix: beside it first, then renamed over it.

    Raises:
        BadConfiguration: as `check_report_path`.
        WriteFailed: the file cannot be written; what was there before is still there.
    """
    check_report_path(path)
    suffix = path.suffix.lower()
    if isinstance(report, DryRunReport):
        text = _DRY_RUN_RENDERERS[suffix](report)
    else:
        text = _RENDERERS[suffix](report)
    replace_file(path, text)


def replace_file(path: Path, text: str) -> None:
    """Write a text file beside its name first, then rename it over what was there.

    Raises:
        WriteFailed: the file cannot be written; what was there before is still there.
    """
    try:
        _replace(path, text)
    except OSError as error:
        raise WriteFailed(str(path), error.strerror or str(error)) from error


def _replace(path: Path, text: str) -> None:
    beside = path.with_name(f".{path.name}.{token_hex(4)}")
    try:
        with beside.open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
