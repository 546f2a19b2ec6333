import csv
import sys
from dataclasses import dataclass

from .repository import Repository

FIELDS = ["startTime", "status", "price"]


@dataclass
class Article:
    status: str
    price: float
    notes: str


def rows(expert):
    for entry in Repository().of_expert(expert):
        row = {name: entry.get(name) for name in FIELDS}
        row["day"] = entry["scheduledDate"].isoformat()
        yield row


def export(expert):
    writer = csv.DictWriter(sys.stdout, ["day", *FIELDS])
    for row in rows(expert):
        writer.writerow(row)


def total(articles: list[Article]) -> float:
    return sum(article.price for article in articles if article.status == "sold" and article.notes)
