import httpx


def upcoming(base: str) -> list[str]:
    answer = httpx.get(f"{base}/api/bookings")
    return [each["startTime"] for item in answer.json()["items"] for each in item["sessions"]]


def cancel(base: str, identifier: str, session: str) -> None:
    httpx.put(f"{base}/api/bookings/{identifier}/cancel", json={"sessionId": session})
