from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, Field


class State(StrEnum):
    PENDING = "pending"
    DONE = "completed"


class BookingIn(BaseModel):
    expertId: str
    sessionType: str
    duration: int
    scheduledDate: datetime
    startTime: str
    notes: str | None = None


class BookingOut(BaseModel):
    id: str = Field(alias="_id")
    client_id: str = Field(alias="clientId")
    expert_id: str = Field(alias="expertId")
    session_type: str = Field(alias="sessionType")
    scheduled_date: datetime = Field(alias="scheduledDate")
    start_time: str = Field(alias="startTime")
    status: State = State.PENDING
    price: float
    notes: str | None = None


class Ticket(BaseModel):
    id: str
    status: str
    price: float
    notes: str | None = None
