from datetime import datetime

from pydantic import BaseModel, Field


class Session(BaseModel):
    session_id: str = Field(alias="sessionId")
    expert_id: str = Field(alias="expertId")
    session_type: str = Field(alias="sessionType")
    scheduled_date: datetime = Field(alias="scheduledDate")
    start_time: str = Field(alias="startTime")
    status: str = "pending"
    price: float


class Booking(BaseModel):
    id: str = Field(alias="_id")
    client_id: str = Field(alias="clientId")
    sessions: list[Session]
    total_sessions: int = Field(alias="totalSessions")
    total_spent: float = Field(alias="totalSpent")


class BookingIn(BaseModel):
    expertId: str
    sessionType: str
    duration: int
    scheduledDate: datetime
    startTime: str
