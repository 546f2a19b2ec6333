"""Bad moments with access control, and on a server without transactions."""

from tests.support.scenes import Scene, Situation, entering
from tests.support.situations import CUTOVER

GUARDED: dict[str, Situation] = {}
"""On a replica set with access control: `Scene.uri` is that of an administrator."""

STANDALONE: dict[str, Situation] = {}

guarded, standalone = entering(GUARDED), entering(STANDALONE)


@guarded("03-no-database")
def _(scene: Scene) -> None:
    # Here and not on the server of all tests, which may have other databases.
    scene.bookings()
    scene.show("migrate", env={"BOOKING_MIGRATE_DB": None})


@guarded("04-wrong-password")
def _(scene: Scene) -> None:
    scene.uri = scene.uri.replace("secret", "wrong")
    scene.show("migrate")


@guarded("05-authsource-forgotten")
def _(scene: Scene) -> None:
    scene.uri = scene.uri.partition("?")[0] + scene.database.name
    scene.show("migrate")


@guarded("06-no-credentials")
def _(scene: Scene) -> None:
    scene.uri = scene.uri.replace("admin:secret@", "")
    scene.show("migrate")


def _as_user(scene: Scene, *roles: str) -> None:
    name = f"user{len(roles)}-{scene.database.name}"
    scene.database.command("createUser", name, pwd="pw", roles=list(roles))
    scene.uri = scene.uri.replace("admin:secret", f"{name}:pw").replace(
        "authSource=admin", f"authSource={scene.database.name}"
    )


@guarded("07-read-only-user")
def _(scene: Scene) -> None:
    scene.bookings()
    _as_user(scene, "read")
    scene.show("migrate")


@guarded("08-cutover-without-the-privilege")
def _(scene: Scene) -> None:
    scene.bookings()
    _as_user(scene, "readWrite")
    scene.done("migrate")
    scene.done("verify")
    scene.show(*CUTOVER)


@guarded("09-max-lag-without-the-privilege")
def _(scene: Scene) -> None:
    scene.bookings()
    _as_user(scene, "readWrite")
    scene.show("migrate", "--max-lag", "10")


@guarded("init-empty-database")
def _(scene: Scene) -> None:
    # Here and not on the server of all tests, which may have other databases.
    other = scene.database.client[f"{scene.database.name}_2025"]
    other.orders.insert_one({"total": 5})
    scene.show("init")
    scene.database.client.drop_database(other.name)


@standalone("20-damage-where-changes-are-unknown")
def _(scene: Scene) -> None:
    scene.bookings()
    scene.done("migrate")
    scene.database.bookings_consolidated.update_one({}, {"$set": {"sessions.0.notes": "damaged"}})
    scene.show("verify", "--recheck", "0")


@standalone("45-in-place-without-transactions")
def _(scene: Scene) -> None:
    scene.bookings()
    scene.show("migrate", "--in-place")
