from dataclasses import dataclass
import os


@dataclass(frozen=True)
class Settings:
    url: str = os.environ.get("MONGO_URL", "")
    collection: str = "bookings"


settings = Settings()
