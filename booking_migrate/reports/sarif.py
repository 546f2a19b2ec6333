"""An audit as SARIF 2.1.0, for code scanning."""

import json
from typing import Any
from urllib.parse import quote

from booking_migrate.audit.findings import RULES, Confidence
from booking_migrate.reports.audit import AuditReport, CodePlace
from booking_migrate.reports.model import Report

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_LEVELS = {Confidence.CERTAIN: "error", Confidence.LIKELY: "warning", Confidence.LOOK: "note"}
_FINGERPRINT = "bookingMigrate/v1"
_OF_GITHUB = "primaryLocationLineHash"
"""The one that GitHub knows an alert by; without it, it makes its own of the lines around."""

_MOST = 25_000
"""How many results code scanning takes of a run."""


def render_sarif(report: Report) -> str:
    """Return the places of an audit as a SARIF log; of a command that failed, a run that says so."""
    places = report.places if isinstance(report, AuditReport) else ()
    notices = [
        {"level": "warning", "message": {"text": f"{each.path}: {each.problem}"}}
        for each in (report.unread if isinstance(report, AuditReport) else ())
    ]
    if report.error is not None:
        notices.append({"level": "error", "message": {"text": report.error.message}})
    invocation: dict[str, Any] = {"executionSuccessful": report.error is None}
    if notices:
        invocation["toolExecutionNotifications"] = notices
    run = {
        "tool": {"driver": _driver(report)},
        "invocations": [invocation],
        "columnKind": "unicodeCodePoints",
        "results": [_result(each) for each in places[:_MOST]],
    }
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2) + "\n"


def _driver(report: Report) -> dict[str, Any]:
    return {
        "name": "booking-migrate",
        "semanticVersion": report.tool_version,
        "rules": [
            {
                "id": rule.value,
                "shortDescription": {"text": f"The code expects {text.expects}."},
                "fullDescription": {"text": text.why},
                "help": {"text": f"{text.why} Until it is changed, what helps: {text.bridge}."},
                "defaultConfiguration": {"level": "warning"},
            }
            for rule, text in RULES.items()
        ],
    }


def _result(place: CodePlace) -> dict[str, Any]:
    text = f"{place.old} is {place.new} now: {RULES[place.rule].why} {place.suggestion}"
    return {
        "ruleId": place.rule.value,
        "ruleIndex": list(RULES).index(place.rule),
        "level": _LEVELS[place.confidence],
        "message": {"text": text},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": quote(place.path)},
                    "region": {"startLine": place.line, "startColumn": place.column},
                }
            }
        ],
        "partialFingerprints": {_FINGERPRINT: place.fingerprint, _OF_GITHUB: f"{place.fingerprint}:1"},
        "properties": {"confidence": place.confidence.value, "bridge": place.bridge.value},
    }
