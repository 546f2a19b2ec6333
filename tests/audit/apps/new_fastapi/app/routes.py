from bson import ObjectId
from fastapi import APIRouter, Depends, HTTPException
from pymongo import MongoClient

from app.models import Booking, BookingIn

router = APIRouter(prefix="/api/bookings")


def database():
    return MongoClient()["shop"]


@router.post("")
def create(body: BookingIn, user=Depends(lambda: None), db=Depends(database)):
    taken = db.bookings.find_one({"sessions": {"$elemMatch": {"expertId": body.expertId, "status": "confirmed"}}})
    if taken and any(each["status"] == "confirmed" for each in taken["sessions"]):
        raise HTTPException(400)
    session = {"sessionId": ObjectId(), "status": "pending", **body.model_dump()}
    db.bookings.update_one({"clientId": user.id}, {"$push": {"sessions": session}}, upsert=True)
    return {"data": {"session": session["sessionId"]}}


@router.get("")
def index(db=Depends(database)):
    found = db.bookings.find({"sessions.status": "pending"}).sort("updatedAt", -1).limit(20)
    return {"items": [Booking(**each) for each in found], "total": db.bookings.count_documents({})}


@router.put("/{booking_id}/cancel")
def cancel(booking_id: str, session_id: str, db=Depends(database)):
    result = db.bookings.update_one(
        {"_id": ObjectId(booking_id), "sessions.sessionId": ObjectId(session_id)},
        {"$set": {"sessions.$.status": "cancelled", "sessions.$.cancelledBy": "client"}},
    )
    return {"modified": result.modified_count}


def revenue(db, expert):
    pipeline = [
        {"$unwind": "$sessions"},
        {"$match": {"sessions.expertId": expert, "sessions.paymentStatus": "paid"}},
        {"$group": {"_id": "$sessions.currency", "total": {"$sum": "$sessions.price"}}},
    ]
    return list(db.bookings.aggregate(pipeline))


def summary(bookings: list[Booking]) -> str:
    sessions = [session for booking in bookings for session in booking.sessions]
    late = max(sessions, key=lambda session: session.scheduled_date)
    return f"{len(sessions)} of {len(bookings)} clients, last at {late.start_time}, {bookings[0].total_spent}"
