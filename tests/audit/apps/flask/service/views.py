from operator import itemgetter

from flask import Blueprint, abort, jsonify, render_template, request

from .extensions import mongo
from .repository import Repository

pages = Blueprint("pages", __name__)


@pages.route("/bookings/<key>")
def detail(key):
    entry = Repository().get(key)
    if entry is None:
        abort(404)
    status, price = entry["status"], entry["price"]
    return render_template("detail.html", entry=entry, status=status, price=price)


@pages.route("/bookings")
def overview():
    entries = list(Repository().of_expert(request.args["expert"], state=request.args.get("state")))
    entries.sort(key=itemgetter("startTime"))
    days = {}
    for entry in entries:
        days.setdefault(entry["scheduledDate"].date(), []).append(entry)
    return jsonify(
        {
            "days": {str(day): [short(e) for e in items] for day, items in days.items()},
            "count": len(entries),
        }
    )


def short(entry):
    match entry:
        case {"sessionType": kind, "duration": minutes}:
            return f"{kind} ({minutes} min)"
        case _:
            return entry.get("notes") or entry["meetingLink"]


@pages.route("/articles")
def articles():
    found = mongo.db.articles.find({"status": "published", "price": 0}).sort("notes")
    return jsonify([{"status": each["status"], "notes": each["notes"]} for each in found])
