"""The fast path of verify declines or agrees with the full check, of documents and of whole clients."""

from typing import Any

import bson
import pytest
from bson.datetime_ms import DatetimeMS
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.objectid import ObjectId
from hypothesis import given, settings
from hypothesis import strategies as st

from booking_migrate.bson.document import CODEC, STRING, elements
from booking_migrate.bson.layout import Layout, LayoutCache, layout_of
from booking_migrate.domain.consolidate import ClientCase, consolidate
from booking_migrate.domain.contract import WAIVABLE
from booking_migrate.domain.rules import Rules
from booking_migrate.domain.session import Converter, People, Session, read_booking
from booking_migrate.stores.ports import Duplicate
from booking_migrate.verify.client_check import ClientCheck
from booking_migrate.verify.expected import People as KnownPeople
from booking_migrate.verify.fastpath import FastPath
from booking_migrate.verify.join import ClientPair, SourceDocument, TargetDocument
from booking_migrate.verify.outcome import ClientResult, VerificationRules
from tests.support.bookings import ABSENT, BREAKING, a_booking

FLAT = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**31), 2**31 - 1),
    st.integers(-(2**63), 2**63 - 1).map(Int64),
    st.floats(),
    st.text("ab\x00\x02\x10é", max_size=8),
    st.binary(min_size=12, max_size=12).map(ObjectId),
    st.integers(-(2**62), 2**62).map(DatetimeMS),
    st.decimals(allow_nan=False, places=2, min_value=-100, max_value=100).map(Decimal128),
)


def is_read(layouts: LayoutCache, raw: bytes) -> bool:
    """Whether the slicer takes a document."""
    return bool(layouts.read(raw, (0, len(raw))))


NAMES = st.text("ab_é", min_size=1, max_size=3)


@given(
    known=st.dictionaries(NAMES, FLAT, max_size=5),
    values=st.lists(FLAT, min_size=5, max_size=5),
    tail=st.binary(max_size=12),
)
def test_a_match_is_the_one_right_reading(known: dict[str, Any], values: list[Any], tail: bytes) -> None:
    """Whatever stands in a document's strings, the values of a match are those of its elements."""
    layout = layout_of(bson.encode(known, codec_options=CODEC), frozenset({"a"}), known)
    assert layout is not None
    other = dict(zip(known, values, strict=False))
    for name, value in other.items():
        if isinstance(value, str):
            other[name] = value + tail.decode("latin-1")
    raw = bson.encode(other, codec_options=CODEC)
    parts = list(elements(raw))
    layouts = LayoutCache(frozenset({"a"}), lambda _layout: True, {})
    is_read(layouts, bson.encode(known, codec_options=CODEC))
    match = layout.match(raw, 0, len(raw))
    found = None if match is None or not is_read(layouts, raw) else match.groups()
    is_alike = [(part.name.decode(), part.kind) for part in parts] == list(layout.kinds.items())
    has_nul = any(part.kind == STRING and b"\x00" in part.value[4:-1] for part in parts)

    assert (is_alike and not has_nul) == (found is not None)
    if found is not None:
        assert [part.value for part in parts] == [found[place] for place in layout.place.values()]
        assert b"".join(part.raw for part in parts if part.name != b"a") == b"".join(
            found[place] for place in layout.kept
        )


def test_many_documents_that_are_not_read_keep_no_layout_from_being_learned() -> None:
    """However many documents of an unfit layout come first, those of a fit one are read."""
    asked: list[Layout] = []

    def is_fit(layout: Layout) -> bool:
        asked.append(layout)
        return "b" in layout.kinds

    layouts = LayoutCache(frozenset(), is_fit, {})
    assert not any(is_read(layouts, bson.encode({"a": number})) for number in range(2000))
    assert is_read(layouts, bson.encode({"b": "x"}))
    assert 2 == len(asked)


def test_many_layouts_that_are_not_read_keep_no_other_from_being_learned() -> None:
    """However many unfit layouts there are, a fit one is learned."""
    layouts = LayoutCache(frozenset(), lambda layout: "b" in layout.kinds, {})
    assert not any(is_read(layouts, bson.encode({f"a{number}": 1})) for number in range(100))
    assert is_read(layouts, bson.encode({"b": "x"}))


def test_a_text_that_imitates_fields_is_not_sliced() -> None:
    """A string with a NUL inside and an element behind it is not read as that element."""
    layouts = LayoutCache(frozenset(), lambda _layout: True, {})
    assert is_read(layouts, bson.encode({"a": "x", "b": "y"}))
    hidden = bson.encode({"a": "x\x00\x02b\x00\x02\x00\x00\x00z"})
    assert not is_read(layouts, hidden)


def test_odd_documents_have_no_layout() -> None:
    """A name that occurs twice, a nested value or a rare type is not sliced."""
    twice = bytearray(bson.encode({"a": 1, "b": 2}))
    twice[twice.index(b"b\x00")] = ord("a")
    odd = [bytes(twice), bson.encode({"a": {}}), bson.encode({"a": [1]}), bson.encode({"a": bson.Code("x")})]
    assert [None] * 4 == [layout_of(raw, frozenset(), ()) for raw in odd]


def test_layouts_are_learned_up_to_a_bound() -> None:
    """A collection of ever new layouts is declined beyond a bound, and takes no more memory."""
    layouts = LayoutCache(frozenset(), lambda _layout: True, {})
    seen = [is_read(layouts, bson.encode({f"field{number}": 1})) for number in range(100)]
    assert (24, True) == (sum(seen), all(seen[:24]))
    assert is_read(layouts, bson.encode({"field7": 2}))


CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "price": st.one_of(
            st.integers(-1, 2**31 - 1),
            st.integers(0, 2**40).map(Int64),
            st.floats(-1, 1e6),
            st.decimals(-1, 100, places=2).map(Decimal128),
            st.just(float("nan")),
        ),
        "duration": st.sampled_from([15, 14, 30.5, Int64(60), "30"]),
        "createdAt": st.one_of(st.integers(-(2**40), 2**45).map(DatetimeMS), st.just(ABSENT)),
        "updatedAt": st.integers(-(2**40), 2**45).map(DatetimeMS),
        "status": st.sampled_from(["completed", "Pending", ABSENT, None]),
        "notes": st.one_of(st.none(), st.just(ABSENT), st.text(max_size=5), st.just("é" * 1001)),
        "startTime": st.sampled_from(["9:30", "24:00"]),
        "clientEmail": st.sampled_from(["a@example.com", "nobody", ABSENT]),
        "cancelledBy": st.sampled_from(["client", "nobody", None]),
        "extra": FLAT,
        "nested": st.just({"a": 1}),
        "sessionId": st.just(1),
        "__v": st.sampled_from([0, 1.5, ABSENT]),
    },
)


@settings(max_examples=300, deadline=None)
@given(data=st.data(), changes=st.lists(st.one_of(st.just({}), CHANGES), min_size=1, max_size=5))
def test_fast_path_declines_or_agrees(data: st.DataObject, changes: list[dict[str, Any]]) -> None:
    """Of any client, with its document as it must be or with a byte changed, the fast path declines or agrees."""
    raws = [
        bson.encode(a_booking(_id=ObjectId(f"68b61bd7a4c0bf9eaa{number:06x}"), **fields), codec_options=CODEC)
        for number, fields in enumerate(changes)
    ]
    converter = Converter()
    results = [converter.convert(read_booking(raw), People()) for raw in raws]
    sessions = [result for result in results if isinstance(result, Session)]
    document = consolidate(ClientCase(sessions)).document
    target = [] if document is None else [document]
    if document is not None and data.draw(st.booleans()):
        place = data.draw(st.integers(40, len(document) - 2))
        changed = document[:place] + bytes([document[place] ^ 1]) + document[place + 1 :]
        target = [changed if _is_sound(changed) else document]
    pair = ClientPair([SourceDocument(raw) for raw in raws], [TargetDocument(raw) for raw in target])
    rules = VerificationRules(maximum_document_size=data.draw(st.sampled_from([1000, 8 * 1024 * 1024])))
    fast = FastPath(rules).check([pair])
    full = ClientCheck(rules).check(pair, KnownPeople())

    if not fast.declined:
        count = fast.bookings
        assert ClientResult(scanned=count, migrated=count, sessions=count) == full
    is_plain = all(fields == {} for fields in changes)
    if is_plain and target == [document] and rules.maximum_document_size > 1000:
        assert not fast.declined


@pytest.mark.parametrize("name", BREAKING)
def test_a_value_that_breaks_a_rule_is_declined(name: str) -> None:
    """A session that the contract refuses does not pass, although its document is made of its booking byte for byte."""
    booking = bson.encode(a_booking(**{name: BREAKING[name]}), codec_options=CODEC)
    waived = Converter(Rules(accepted=WAIVABLE)).convert(read_booking(booking), People())
    assert isinstance(waived, Session)
    document = consolidate(ClientCase([waived])).document
    assert document is not None
    pair = ClientPair([SourceDocument(booking)], [TargetDocument(document)])

    assert [pair] == FastPath(VerificationRules()).check([pair]).declined
    assert not FastPath(VerificationRules(accepted=WAIVABLE)).check([pair]).declined


def _is_sound(raw: bytes) -> bool:
    try:
        bson.decode(raw, CODEC)
    except Exception:  # noqa: BLE001 - whatever is wrong with it, no server stores it
        return False
    return True


def test_clients_are_checked_together_as_alone() -> None:
    """Of many clients checked together each gets the result that it gets alone."""
    pairs = [
        _pair(1, {}, {}),
        _pair(2, {"price": -1}),
        _pair(3, {}, {"nested": {"a": 1}}, {}),
        _pair(4, {}, {"extra": "x"}, {}),
        _pair(5, {}),
        _pair(6, *[{}] * 600),
        _pair(7, {}, {}),
    ]
    pairs[4].target = []
    pairs[6].source[1].duplicate = Duplicate.COPY
    fast_path = FastPath(VerificationRules())
    together = fast_path.check(pairs)

    assert [pairs[number] for number in (1, 2, 4, 6)] == together.declined
    assert (3, 605) == (together.clients, together.bookings)
    assert [2, 0, 0, 3, 0, 600, 0] == [fast_path.check([pair]).bookings for pair in pairs]


def _pair(number: int, *changes: dict[str, Any]) -> ClientPair:
    """A client's bookings, each with some fields changed, and the document that follows from those that can be converted."""
    raws = [
        bson.encode(
            a_booking(
                _id=ObjectId(f"68b61bd7a4c0bf9eaa{place:06x}"), clientId=ObjectId(f"{number:024x}"), **fields
            ),
            codec_options=CODEC,
        )
        for place, fields in enumerate(changes)
    ]
    results = [Converter().convert(read_booking(raw), People()) for raw in raws]
    document = consolidate(ClientCase([each for each in results if isinstance(each, Session)])).document
    return ClientPair(
        [SourceDocument(raw) for raw in raws], [] if document is None else [TargetDocument(document)]
    )
