"""Views over a collection (MongoDB manual, core/views)."""

from typing_extensions import override

from booking_migrate.errors import PlaceNotFound, UnusablePlace
from booking_migrate.stores.mongo.administration import run_durably
from booking_migrate.stores.mongo.connection import DriverCollection, describe
from booking_migrate.stores.mongo.failures import writing
from booking_migrate.stores.mongo.retry import attempts
from booking_migrate.stores.mongo.servers import hosts_of
from booking_migrate.stores.mongo.view_pipelines import new_shape, old_shape
from booking_migrate.stores.views import PeopleNames, Shape, ViewStore


class MongoViews(ViewStore):
    """See `ViewStore` for the promises."""

    def __init__(self, collection: DriverCollection) -> None:
        """Take the collection that the views are over."""
        self._collection = collection

    @override
    def create(self, name: str, shape: Shape, people: PeopleNames) -> bool:
        listed = describe(self._collection, waits=False)
        if listed is None:
            raise PlaceNotFound(
                self._collection.name, self._collection.database.name, hosts_of(self._collection)
            )
        if listed["type"] != "collection":
            raise UnusablePlace(self._collection.name, f"it is a {listed['type']}")
        pipeline = list(old_shape() if shape is Shape.OLD else new_shape(people))
        there = describe(self._collection.database[name])
        if there is not None:
            options = there.get("options", {})
            if options.get("viewOn") == self._collection.name and options.get("pipeline") == pipeline:
                return False
            raise UnusablePlace(name, f"there is a {there['type']} of that name already")
        with writing(self._collection):
            for attempt in attempts():
                with attempt:
                    run_durably(
                        self._collection.database,
                        {"create": name, "viewOn": self._collection.name, "pipeline": pipeline},
                    )
        return True

    @override
    def drop(self, name: str) -> bool:
        there = describe(self._collection.database[name], waits=False)
        if there is None:
            return False
        if there["type"] != "view":
            raise UnusablePlace(name, f"it is a {there['type']}, not a view")
        if there["options"].get("viewOn") != self._collection.name:
            raise UnusablePlace(name, f"it is a view over {there['options'].get('viewOn')}")
        with writing(self._collection):
            for attempt in attempts():
                with attempt:
                    self._collection.database.drop_collection(name)
        return True
