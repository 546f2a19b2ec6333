import httpx


def upcoming(base: str) -> list[str]:
    answer = httpx.get(f"{base}/api/bookings", params={"status": "confirmed"})
    if answer.status_code != 200:
        return []
    return [item["startTime"] for item in answer.json()["items"]]


def cancel(base: str, identifier: str) -> None:
    httpx.post(f"{base}/api/bookings/{identifier}/cancel", json={"reason": "late"})


def tickets(base: str) -> list[str]:
    return [item["status"] for item in httpx.get(f"{base}/api/tickets").json()]
