"""Which server and which database a run is about, known early and connected to late."""

from __future__ import annotations

from typing import TYPE_CHECKING

from booking_migrate.errors import BookingMigrateError, MissingUri

if TYPE_CHECKING:
    from pymongo import MongoClient

    from booking_migrate.bson.document import Document
    from booking_migrate.stores.mongo.client_ranges import Address
    from booking_migrate.stores.mongo.connection import DriverCollection


class Connection:
    """One client, shared by everything that a run reads and writes; made when the first collection is asked for.

    The driver is not imported before that, and no server is contacted before the collection is used, unless the
    connection string names a single member of a replica set: that has to be the primary.
    """

    def __init__(self, uri: str | None = None, database: str | None = None) -> None:
        """Keep what the user passed.

        Args:
            uri: the connection string, if any.
            database: the database's name, if any; else the one in the connection string's path counts.
        """
        # A file with a secret ends with a line end, which does not belong to it.
        self._uri = uri.strip() if uri else uri
        self._database = database
        self._client: MongoClient[Document] | None = None

    @property
    def is_given(self) -> bool:
        """Return whether there is a connection string."""
        return bool(self._uri)

    def collection(self, name: str) -> DriverCollection:
        """Return a collection of the database.

        Raises:
            MissingUri: no server, or no database, is given.
            BadConfiguration: the connection string or the database's name cannot be used.
            ConnectionProblem: a single member is named, and it is not the primary or does not answer.
            AuthenticationModuleMissing: it needs a module that is not installed.
        """
        if not self._uri:
            raise MissingUri(name, "uri")
        from booking_migrate.stores.mongo import connection as driver  # noqa: PLC0415 - the driver is slow to import

        if self._client is None:
            driver.check_uri(self._uri)
        if not self._database:
            self._database = driver.find_database_name(self._uri, name)
        if self._client is None:
            client = driver.make_client(self._uri)
            try:
                driver.check_member(client)
            except BookingMigrateError:
                client.close()
                raise
            self._client = client
        return driver.open_collection(self._client, self._database, name)

    def contact(self, name: str) -> None:
        """Find the server, or fail as soon as the time for that is over; what is read later waits for an election.

        Args:
            name: any collection, for messages.

        Raises:
            ConnectionProblem: no server answers, or it does not accept the user.
            MissingUri, BadConfiguration: as `collection`.
        """
        from booking_migrate.stores.mongo.connection import contact  # noqa: PLC0415 - the driver is slow to import

        contact(self.collection(name))

    def await_majority(self, name: str) -> None:
        """Wait until a majority of the replica set has everything that the primary has taken.

        Args:
            name: a collection that the user may read.

        Raises:
            NoMajority: that does not happen in time.
            ConnectionProblem, NotPermitted: the server cannot be asked.
            MissingUri, BadConfiguration: as `collection`.
        """
        from booking_migrate.stores.mongo.majority import await_majority  # noqa: PLC0415 - the driver is slow to import

        await_majority(self.collection(name))

    def address(self, name: str) -> Address:
        """Return where a collection is that `collection` was asked for."""
        from booking_migrate.stores.mongo.client_ranges import Address  # noqa: PLC0415 - the driver is slow to import

        return Address(self._uri or "", self._database or "", name)

    def close(self) -> None:
        """Close the client, if there is one. May be called twice."""
        if self._client is not None:
            self._client.close()
            self._client = None
