from bson import ObjectId
from fastapi import APIRouter, Depends, HTTPException
from pymongo import ASCENDING, DESCENDING

from app.database import get_database
from app.models import BookingIn, BookingOut, State

router = APIRouter(prefix="/api/bookings")


@router.post("", status_code=201)
def create(body: BookingIn, user=Depends(lambda: None), db=Depends(get_database)):
    taken = db.bookings.find_one(
        {"expertId": ObjectId(body.expertId), "scheduledDate": body.scheduledDate, "status": "confirmed"}
    )
    if taken:
        raise HTTPException(400, f"taken until {taken['endTime']}")
    document = body.model_dump()
    document["clientId"] = user.id
    document["status"] = State.PENDING
    result = db.bookings.insert_one(document)
    return {"data": {"booking": str(result.inserted_id)}}


@router.get("")
def index(page: int = 1, size: int = 20, status: str | None = None, db=Depends(get_database)):
    where = {}
    if status:
        where["status"] = status
    found = (
        db["bookings"]
        .find(where)
        .sort([("scheduledDate", DESCENDING), ("startTime", ASCENDING)])
        .skip((page - 1) * size)
        .limit(size)
    )
    total = db["bookings"].count_documents(where)
    return {"items": [BookingOut(**each) for each in found], "total": total}


@router.get("/{booking_id}")
def show(booking_id: str, db=Depends(get_database)) -> BookingOut:
    document = db.bookings.find_one({"_id": ObjectId(booking_id)})
    if document is None:
        raise HTTPException(404)
    return BookingOut.model_validate(document)


@router.post("/{booking_id}/cancel")
def cancel(booking_id: str, reason: str = "", db=Depends(get_database)):
    answer = db.bookings.update_one(
        {"_id": ObjectId(booking_id)},
        {"$set": {"status": "cancelled", "cancellationReason": reason}},
    )
    return {"modified": answer.modified_count}
