"""What is waited for: entered by threads, or found by looking."""

from booking_migrate.stores.waits import Gone, Waits


def test_the_longest_wait_counts() -> None:
    """Of several waits the first one is shown, and none when they are over."""
    waits = Waits()
    first, second = waits.begin("a primary", 60), waits.begin("a majority", 60)

    assert first is waits.current()
    waits.end(first)
    assert second is waits.current()
    assert None is waits.current(since=second.began + 1)
    waits.end(second)
    assert None is waits.current()


def test_what_is_watched() -> None:
    """What is found by looking begins and ends by itself, and is looked at until it is gone."""
    waits = Waits()
    looks = iter([None, ("a primary", 60.0), ("a primary", 60.0), None, ("a primary", 60.0), Gone()])

    def waited_for() -> tuple[str, float] | None:
        found = next(looks)
        if isinstance(found, Gone):
            raise found
        return found

    waits.watch(waited_for)
    found = [waits.current() for _ in range(7)]

    assert [None, "a primary", "a primary", None, "a primary", None, None] == [
        None if wait is None else wait.what for wait in found
    ]
    assert found[1] is found[2]
    assert found[4] is not found[1]
