"""Bad moments with references to bookings from other collections and from code; on a replica set without access control."""

from tests.support.booking_lines import booking
from tests.support.killed_calls import killed_around
from tests.support.scenes import Scene, Situation, entering

REFERENCES: dict[str, Situation] = {}

situation = entering(REFERENCES)

_REWRITE = ("references", "rewrite", "--yes", "--field", "payments.bookingId", "--batch-size", "2")


def _cut_over(scene: Scene) -> None:
    """Bookings that were cut over, with payments that hold their old ids."""
    scene.bookings()
    payments = [{"_id": number, "bookingId": booking(number)["_id"]} for number in range(6)]
    scene.database.payments.insert_many(payments)
    scene.done("migrate")
    scene.done("verify")
    scene.done("cutover", "--yes")


@situation("50-references-rewrite-killed")
def _(scene: Scene) -> None:
    _cut_over(scene)
    writes = "booking_migrate.stores.mongo.referring_writes:MongoReferringWrites"
    killed_around(f"after {writes}.write", 1, scene.environment, *_REWRITE)
    scene.show("status")


@situation("51-rollback-with-rewritten-references")
def _(scene: Scene) -> None:
    _cut_over(scene)
    scene.done(*_REWRITE)
    scene.show("rollback", "--yes")


@situation("52-legacy-ids-that-references-need")
def _(scene: Scene) -> None:
    _cut_over(scene)
    scene.show("finalize", "--yes", "--drop-legacy-ids")
    scene.done("finalize", "--yes", "--drop-legacy-ids", "--leave-references")
    scene.show("rollback", "--references", "--yes", "--field", "payments.bookingId")


@situation("53-code-with-the-old-shape")
def _(scene: Scene) -> None:
    code = scene.folder / "list.js"
    code.write_text("db.collection('bookings').find({ status: 'pending' });\n", encoding="utf-8")
    scene.show("audit-code", str(code), "--root", str(scene.folder))
