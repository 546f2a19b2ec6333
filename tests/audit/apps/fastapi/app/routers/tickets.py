from fastapi import APIRouter, Depends

from app.database import get_database
from app.models import Ticket

router = APIRouter(prefix="/api/tickets")


@router.get("")
def index(db=Depends(get_database)) -> list[Ticket]:
    found = db.tickets.find({"status": "open", "price": {"$gt": 1}}).sort("price", -1).limit(5)
    return [Ticket(**each) for each in found if each["notes"] or each.get("status")]


@router.get("/count")
def count(db=Depends(get_database)):
    return {"open": db.tickets.count_documents({"status": "open"}), "status": "ok"}
