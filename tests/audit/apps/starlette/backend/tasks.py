import pandas as pd
from celery import shared_task
from pymongo import DESCENDING, MongoClient

from .settings import settings

db = MongoClient(settings.url).get_database("app")


@shared_task
def weekly():
    frame = pd.DataFrame(list(db[settings.collection].find({"paymentStatus": "paid"}, projection=["price", "currency"])))
    return frame.groupby("currency")["price"].sum().to_dict()


@shared_task
def purge(day):
    latest = db.bookings.find_one(sort=[("scheduledDate", DESCENDING)])
    if latest and latest.get("scheduledDate") < day:
        db.bookings.delete_many({"scheduledDate": {"$lt": day}})
    db.logs.delete_many({"status": "old", "notes": {"$exists": False}})


@shared_task
def mirror(change):
    with db.bookings.watch([{"$match": {"fullDocument.status": "confirmed"}}]) as stream:
        for event in stream:
            document = event["fullDocument"]
            print(document["meetingLink"])
