"""Bad moments with a config file and variables, and what `init` makes of databases; on a replica set without access control."""

from tests.support.booking_lines import EXPERT, booking, client
from tests.support.bookings import ABSENT
from tests.support.scenes import Scene, Situation, entering

CONFIGURED: dict[str, Situation] = {}

configured = entering(CONFIGURED)


@configured("43-config-typo")
def _(scene: Scene) -> None:
    config = scene.folder / "booking-migrate.toml"
    config.write_text('acept = ["price-negative"]\n', encoding="utf-8")
    scene.show("migrate", "--config", str(config))


@configured("43-config-wrong-value")
def _(scene: Scene) -> None:
    config = scene.folder / "booking-migrate.toml"
    config.write_text('source = "bookings"\n\n[migrate]\nworkers = "all"\n', encoding="utf-8")
    scene.show("migrate", "--config", str(config))


@configured("43-config-wrong-contract")
def _(scene: Scene) -> None:
    config = scene.folder / "booking-migrate.toml"
    config.write_text('[contract]\ncurrencies = "INR"\n', encoding="utf-8")
    scene.show("migrate", "--config", str(config))


@configured("43-config-not-toml")
def _(scene: Scene) -> None:
    config = scene.folder / "booking-migrate.toml"
    config.write_text("source = bookings\n", encoding="utf-8")
    scene.show("migrate", "--config", str(config))


@configured("43-variable-typo")
def _(scene: Scene) -> None:
    scene.show("migrate", env={"BOOKING_MIGRATE_SORCE": "bookings_2026"})


@configured("43-variable-wrong-value")
def _(scene: Scene) -> None:
    scene.show("migrate", env={"BOOKING_MIGRATE_WORKERS": "all"})


@configured("init")
def _(scene: Scene) -> None:
    _old_platform(scene)
    scene.show("init", "--output", "-")
    path = str(scene.folder / "booking-migrate.toml")
    scene.show("init", "--output", path)
    scene.show("init", "--output", path)


@configured("init-several-candidates")
def _(scene: Scene) -> None:
    _old_platform(scene)
    scene.database.members.insert_many(list(scene.database.users.find()))
    scene.database.bookings_eu.insert_many(list(map(booking, range(8))))
    scene.show("init", "--output", "-")
    scene.show("init", "--source", "bookings", "--users", "users", "--output", "-")


def _old_platform(scene: Scene) -> None:
    """Bookings of both generations, some of them wrong, users, experts and payments."""
    old = dict.fromkeys(("clientUserId", "clientEmail", "expertUserId", "expertEmail"), ABSENT)
    wrong = (booking(20, status="canceled"), booking(21, currency="usd", source="import"))
    scene.bookings(8, *(booking(8 + number, **old) for number in range(4)), *wrong)
    people = [
        {"_id": client(number), "user_id": f"111{number}", "email": f"u{number}@example.org"}
        for number in range(4)
    ]
    scene.database.users.insert_many(people)
    scene.database.experts.insert_one({"_id": EXPERT, "userId": client(0)})
    scene.database.payments.insert_many([{"bookingId": booking(number)["_id"]} for number in range(6)])
