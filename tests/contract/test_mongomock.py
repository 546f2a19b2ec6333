"""What keeps mongomock from being a target of the conformance suite, each as an expected failure."""

from collections.abc import Callable
from typing import Any, cast

import mongomock
import pytest

from booking_migrate.stores.mongo.connection import DriverCollection
from booking_migrate.stores.mongo.rejects import CollectionRejects
from booking_migrate.stores.mongo.target import MongoTarget
from booking_migrate.stores.ports import Replacement, TargetWriter
from tests.support.targets import client_document

DOCUMENT = client_document(1)


@pytest.fixture
def target() -> TargetWriter:
    """A target over mongomock."""
    database: Any = mongomock.MongoClient()["test"]
    rejects = CollectionRejects(cast("DriverCollection", database["rejected"]), source="a", target="b")
    return MongoTarget(cast("DriverCollection", database["consolidated"]), rejects)


def cannot(raises: type[Exception], reason: str) -> pytest.MarkDecorator:
    """An expected failure of mongomock."""
    return pytest.mark.xfail(strict=True, raises=raises, reason=reason)


@pytest.mark.parametrize(
    "use",
    [
        pytest.param(
            lambda target: target.prepare(),
            marks=cannot(TypeError, "mongomock lists no collections with their options"),
            id="prepare",
        ),
        pytest.param(
            lambda target: target.write([DOCUMENT], [], []),
            marks=cannot(TypeError, "mongomock takes no raw BSON documents"),
            id="insert",
        ),
        pytest.param(
            lambda target: target.write([], [Replacement(DOCUMENT, DOCUMENT)], []),
            marks=cannot(TypeError, "mongomock does not know the driver's newer bulk operations"),
            id="replace",
        ),
        pytest.param(
            lambda target: list(target.find_client_documents([1])),
            marks=cannot(TypeError, "mongomock has no raw batches in sessions"),
            id="find",
        ),
    ],
)
def test_a_target_can_be_used(target: TargetWriter, use: Callable[[TargetWriter], None]) -> None:
    """A target is prepared, written and read."""
    use(target)
    target.abandon()
