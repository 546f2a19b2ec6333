"""The report as JSON: the form that programs read."""

import json

from booking_migrate.reports.model import Report


def render_json(report: Report) -> str:
    """One JSON document, indented, with a line end; keys in the order of the model.

    Plain ASCII, so that it is valid JSON under whatever encoding standard output has.
    """
    return json.dumps(report.model_dump(mode="json"), indent=2) + "\n"
