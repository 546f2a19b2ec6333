import os

from pymongo import MongoClient


def main():
    client = MongoClient(os.environ["MONGODB_URI"])
    with client.start_session() as session:
        db = client.get_default_database()
        old = db.bookings.find({"status": {"$in": ["cancelled", "no-show"]}}, {"_id": 1})
        ids = [each["_id"] for each in old]
        db.bookings.delete_many({"_id": {"$in": ids}}, session=session)
        db.reviews.delete_many({"bookingId": {"$in": ids}}, session=session)
        db.reviews.update_many({"status": "new"}, {"$set": {"status": "old"}})
        print(len(ids), db.bookings.estimated_document_count())


if __name__ == "__main__":
    main()
