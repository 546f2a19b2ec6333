"""Report files: the format by suffix, written whole or not at all."""

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from booking_migrate.errors import BadConfiguration, WriteFailed
from booking_migrate.reports.files import check_report_path, write_report
from tests.support.sample_reports import clean, rejected


@pytest.mark.parametrize(
    ("name", "beginning"),
    [
        ("r.json", "{"),
        ("r.md", "## "),
        ("r.html", "<!DOCTYPE html>"),
        ("r.xml", "<?xml"),
        ("R.HTML", "<!DOCTYPE"),
    ],
)
def test_suffix_decides_format(tmp_path: Path, name: str, beginning: str) -> None:
    """The suffix decides the format, in either case of letters."""
    write_report(tmp_path / name, rejected())

    assert (tmp_path / name).read_text(encoding="utf-8").startswith(beginning)
    assert [tmp_path / name] == list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["report", "report.pdf", "report.json.gz", ".json"])
def test_other_suffix_is_refused(tmp_path: Path, name: str) -> None:
    """Any other suffix is a wrong configuration, and the message lists the right ones."""
    with pytest.raises(BadConfiguration, match=r"\.json, \.md, \.html, \.xml"):
        check_report_path(tmp_path / name)


def test_folder_must_exist(tmp_path: Path) -> None:
    """A missing folder is found out before anything runs."""
    with pytest.raises(BadConfiguration, match="does not exist"):
        check_report_path(tmp_path / "missing" / "report.json")


def test_folder_is_no_report(tmp_path: Path) -> None:
    """A folder cannot be a report."""
    (tmp_path / "report.json").mkdir()
    with pytest.raises(BadConfiguration, match="is a folder"):
        check_report_path(tmp_path / "report.json")


def test_failed_write_keeps_the_old_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the new report cannot take its name, the old one is still there and nothing else is."""
    path = tmp_path / "report.json"
    path.write_text("old", encoding="utf-8")

    def refuse(_self: Path, _target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(WriteFailed, match="No space left"):
        write_report(path, clean())

    assert path.read_text(encoding="utf-8") == "old"
    assert [path] == list(tmp_path.iterdir())


def test_junit_has_a_case_for_each_promise(tmp_path: Path) -> None:
    """The JUnit file has one test case per promise, not per booking."""
    write_report(tmp_path / "r.xml", rejected())
    cases = ET.parse(tmp_path / "r.xml").getroot().iter("testcase")

    assert [case.attrib["name"] for case in cases] == ["every-booking-accounted-for", "no-booking-rejected"]
