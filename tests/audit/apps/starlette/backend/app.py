from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

from .storage import BookingStore, NewsStore, client


async def one(request):
    store = BookingStore(client())
    row = await store.by_id(request.path_params["key"])
    if row is None or row["status"] == "cancelled":
        return JSONResponse({"error": "gone"}, status_code=410)
    return JSONResponse({**pick(row, "startTime"), "price": float(row["price"])})


def pick(row, *names):
    return {name: row[name] for name in names}


async def news(request):
    rows = await NewsStore(client()).every(status="published")
    return JSONResponse([{"status": row["status"], "notes": row["notes"]} for row in rows])


async def open_ones(request):
    rows = await BookingStore(client()).open(request.user.id)
    rows.sort(key=lambda r: (r["scheduledDate"], r["startTime"]))
    minutes = sum(r["duration"] for r in rows)
    head, *rest = rows
    return JSONResponse({"next": head["sessionType"], "more": len(rest), "minutes": minutes})


app = Starlette(routes=[Route("/bookings/{key}", one), Route("/news", news), Route("/open", open_ones)])
