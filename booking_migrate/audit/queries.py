"""Filters, updates, projections, orders, indexes and documents: which of their paths moved."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from booking_migrate.audit import members, routes
from booking_migrate.audit.arguments import Arguments
from booking_migrate.audit.findings import Confidence, Rule
from booking_migrate.audit.paths import ID, LEGACY_ID, MOVED, NEW_PATHS, SESSION_ID, SESSIONS
from booking_migrate.audit.scopes import Scope
from booking_migrate.audit.syntax import Call, Mapping, Place
from booking_migrate.audit.values import (
    ELEMENTS,
    SPREAD,
    Booking,
    Bookings,
    Constant,
    Instance,
    Origin,
    Value,
    ordered,
)

if TYPE_CHECKING:
    from booking_migrate.audit.analysis import Analysis

LOGICAL = frozenset({"$or", "$and", "$nor"})
_INTERNAL = frozenset({ELEMENTS, SPREAD})
_OWN_ID = "id"
_SHOWN = 3


def certainty(origin: Origin) -> Confidence:
    """Return how sure it is that something is about bookings."""
    return Confidence.CERTAIN if origin.is_certain else Confidence.LIKELY


def old_name(analysis: "Analysis", path: str) -> str:
    """Return the field of a dotted path if it moved; empty if not."""
    head = path.partition(".")[0]
    return head if head != ID and analysis.moved(head) else ""


def knows_sessions(analysis: "Analysis", path: str, origin: Origin) -> None:
    """Remember that code with a path into the sessions knows the new structure."""
    if path.partition(".")[0] == SESSIONS:
        analysis.aware.add(origin)
        analysis.learn_new_shape()


def listed(names: list[str]) -> str:
    """Return names as text, the first few of them."""
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def places(
    analysis: "Analysis", site: object, arguments: Arguments
) -> Iterator[tuple[Scope, Place, list[str]]]:
    """Yield the paths of an object: those of the literal at once, those that were added later each separately."""
    names = analysis.store.names(site)
    if not isinstance(site, Mapping):
        yield arguments.scope, arguments.at, [name for name in names if name not in _INTERNAL]
        return
    scope = analysis.scope_of(site) or arguments.scope
    own = {entry.key for entry in site.entries}
    yield scope, site.at, [name for name in names if name in own]
    for name, at in names.items():
        if name not in own and name not in _INTERNAL:
            yield scope, at, [name]


def literals(value: Value) -> list[Instance]:
    """Return the objects that a value may be; if literals are among them, a declared type says nothing more."""
    objects = [atom for atom in ordered(value) if isinstance(atom, Instance)]
    return [atom for atom in objects if isinstance(atom.site, Mapping)] or objects


def check_filter(
    analysis: "Analysis",
    value: Value,
    arguments: Arguments,
    origin: Origin,
    *,
    is_removal: bool = False,
    seen: frozenset[object] = frozenset(),
) -> bool:
    """Report what moved of a filter; return whether anything did."""
    found = False
    for atom in literals(value):
        if atom.site in seen:
            continue
        inner = seen | {atom.site}
        for scope, at, names in places(analysis, atom.site, arguments):
            found |= _check_names(analysis, names, scope, at, arguments, origin, is_removal=is_removal)
            for name in names:
                part = analysis.store.get(atom.site, name)
                if name in LOGICAL:
                    part = members.elements(analysis, part)
                    found |= check_filter(analysis, part, arguments, origin, seen=inner)
        spread = analysis.store.get(atom.site, SPREAD)
        found |= check_filter(analysis, spread, arguments, origin, is_removal=is_removal, seen=inner)
    return found


def _check_names(
    analysis: "Analysis",
    names: list[str],
    scope: Scope,
    at: Place,
    arguments: Arguments,
    origin: Origin,
    *,
    is_removal: bool,
) -> bool:
    for name in names:
        knows_sessions(analysis, name, origin)
    analysis.own((name.partition(".")[0] for name in names), at)
    found = [name for name in names if old_name(analysis, name)]
    if _OWN_ID in names and not analysis.knows_new_shape:
        # It is stored by this name: what Mongoose calls id is not stored, and queries do not know it.
        found.append(_OWN_ID)
        routes.looked_up(analysis, arguments.scope)
    if found:
        fields = ", ".join(f"{name}: ..." for name in found)
        if len(found) > 1:
            suggestion = (
                f"{{ {SESSIONS}: {{ $elemMatch: {{ {fields} }} }} }}: all of it must hold for one session"
            )
        else:
            suggestion = f"{{ '{SESSIONS}.{found[0]}': ... }}, and pick the sessions that match"
        new = ", ".join(f"{SESSIONS}.{name}" for name in found[:_SHOWN])
        analysis.report(Rule.QUERY, scope, at, certainty(origin), listed(found), new, suggestion)
    if ID in names and not any(name.startswith(SESSIONS) for name in names):
        report_id(analysis, arguments, origin, is_removal=is_removal)
    return bool(found)


def report_id(
    analysis: "Analysis", arguments: Arguments, origin: Origin, *, is_removal: bool = False
) -> None:
    """Report that a booking is looked up by its id."""
    routes.looked_up(analysis, arguments.scope)
    suggestion = f"{{ '{SESSIONS}.{SESSION_ID}': id }}; for ids from before the migration {{ '{SESSIONS}.{LEGACY_ID}': id }}"
    if is_removal:
        suggestion = (
            f"take the session out of its document: {{ $pull: {{ {SESSIONS}: {{ {SESSION_ID}: id }} }} }}"
        )
    analysis.report(
        Rule.BOOKING_ID,
        arguments.scope,
        arguments.at,
        certainty(origin),
        ID,
        NEW_PATHS[ID],
        suggestion,
        origin,
        is_of_documents=True,
    )


def report_count(analysis: "Analysis", arguments: Arguments, origin: Origin) -> None:
    """Report that documents are counted by what moved into the sessions."""
    analysis.report(
        Rule.COUNT,
        arguments.scope,
        arguments.at,
        certainty(origin),
        "number of documents",
        "number of sessions",
        "unwind the sessions, match them, and count",
    )


def check_field(analysis: "Analysis", path: str, arguments: Arguments, origin: Origin) -> None:
    """Report a single path that moved."""
    knows_sessions(analysis, path, origin)
    if name := old_name(analysis, path):
        analysis.report(
            Rule.QUERY,
            arguments.scope,
            arguments.at,
            certainty(origin),
            path,
            analysis.moved(name) or "",
            f"'{SESSIONS}.{path}'",
        )


def check_update(analysis: "Analysis", value: Value, arguments: Arguments, origin: Origin) -> None:
    """Report what an update writes at the top of the document."""
    for atom in value:
        if isinstance(atom, Booking):
            _report_update(analysis, ["the whole document"], arguments.scope, arguments.at, origin)
        if not isinstance(atom, Instance):
            continue
        for scope, at, names in places(analysis, atom.site, arguments):
            _check_written(analysis, names, scope, at, origin)
            for name in names:
                if name.startswith("$"):
                    check_update(analysis, analysis.store.get(atom.site, name), arguments, origin)
        stages = members.elements(analysis, frozenset({atom}))
        spread = analysis.store.get(atom.site, SPREAD)
        check_update(analysis, frozenset(a for a in stages | spread if a != atom), arguments, origin)


def _check_written(analysis: "Analysis", names: list[str], scope: Scope, at: Place, origin: Origin) -> None:
    for name in names:
        knows_sessions(analysis, name, origin)
    analysis.own((name.partition(".")[0] for name in names), at)
    if found := [name for name in names if old_name(analysis, name)]:
        _report_update(analysis, found, scope, at, origin)


def _report_update(analysis: "Analysis", names: list[str], scope: Scope, at: Place, origin: Origin) -> None:
    first = names[0]
    suggestion = (
        f"{{ $set: {{ '{SESSIONS}.$[s].{first}': ... }} }} with arrayFilters: [{{ 's.{SESSION_ID}': id }}]"
    )
    new = ", ".join(f"{SESSIONS}.$[s].{name}" for name in names[:_SHOWN])
    analysis.report(Rule.WRITE, scope, at, certainty(origin), listed(names), new, suggestion)


def check_projection(analysis: "Analysis", value: Value, arguments: Arguments, origin: Origin) -> None:
    """Report what moved of the fields that are asked for."""
    names = names_in(analysis, value)
    for name in names:
        knows_sessions(analysis, name, origin)
    if found := [name for name in names if old_name(analysis, name)]:
        fields = ", ".join(f"'{SESSIONS}.{name}': 1" for name in found[:_SHOWN])
        new = ", ".join(f"{SESSIONS}.{name}" for name in found[:_SHOWN])
        analysis.report(
            Rule.QUERY,
            arguments.scope,
            arguments.at,
            certainty(origin),
            listed(found),
            new,
            f"{{ {fields} }}",
        )


def check_order(
    analysis: "Analysis", option: str, value: Value, arguments: Arguments, origin: Origin
) -> None:
    """Report an order by what moved; by what did not, or skip and limit, if documents still count as bookings."""
    names = names_in(analysis, value) if option == "sort" else []
    for name in names:
        knows_sessions(analysis, name, origin)
    found = [name for name in names if old_name(analysis, name)]
    suggestion = f"unwind {SESSIONS}, then sort, skip and limit; or sort the sessions of each document"
    if found:
        new = ", ".join(f"{SESSIONS}.{name}" for name in found[:_SHOWN])
        analysis.report(
            Rule.ORDER, arguments.scope, arguments.at, certainty(origin), listed(found), new, suggestion
        )
    else:
        analysis.report_documents(
            Rule.ORDER,
            arguments.scope,
            arguments.at,
            f"{option} of documents",
            f"{option} of sessions",
            suggestion,
            origin,
        )


def check_index(analysis: "Analysis", value: Value, arguments: Arguments) -> None:
    """Report an index over what moved."""
    names = names_in(analysis, value)
    for atom in value:
        if isinstance(atom, Instance):
            for each in ordered(members.elements(analysis, frozenset({atom}))):
                if isinstance(each, Instance):
                    for part in ("key", "0", "document"):
                        names += names_in(analysis, analysis.store.get(each.site, part))
    if found := [name for name in dict.fromkeys(names) if old_name(analysis, name)]:
        new = ", ".join(f"{SESSIONS}.{name}" for name in found)
        suggestion = f"index {new}; a rule that holds between sessions of one document must be checked by the application"
        analysis.report(
            Rule.INDEX, arguments.scope, arguments.at, Confidence.CERTAIN, listed(found), new, suggestion
        )


def names_in(analysis: "Analysis", value: Value, depth: int = 0) -> list[str]:
    """Return the paths in a specification: ``{a: 1}``, ``"a -b"``, ``[("a", 1)]``, ``["a"]``."""
    names: list[str] = []
    for atom in ordered(value):
        if isinstance(atom, Constant):
            names += [part.lstrip("+-") for part in atom.text.split()]
        elif isinstance(atom, Instance) and depth < 3:  # noqa: PLR2004 - a list of pairs is the deepest
            known = analysis.store.names(atom.site)
            names += [name for name in known if name not in _INTERNAL and not name.isdigit()]
            is_pair = "0" in known and depth > 0
            for name in known:
                if name == "0" or (not is_pair and (name.isdigit() or name in _INTERNAL)):
                    names += names_in(analysis, analysis.store.get(atom.site, name), depth + 1)
    return names


def check_documents(analysis: "Analysis", value: Value, arguments: Arguments, origin: Origin) -> None:
    """Report documents that are stored in the old structure."""
    names: set[str] = set()
    for atom in value | members.elements(analysis, value):
        if isinstance(atom, Booking | Bookings):
            names |= {"status"} & MOVED.keys()
        elif isinstance(atom, Instance):
            names |= _all_names(analysis, atom, set())
    if SESSIONS in names:
        analysis.aware.add(origin)
        return
    found = [name for name in MOVED if name in names]
    if found:
        analysis.own(names, arguments.at)
        suggestion = f"push a session into the client's document: {{ $push: {{ {SESSIONS}: {{ {SESSION_ID}, ... }} }} }} with upsert by clientId"
        analysis.report(
            Rule.WRITE,
            arguments.scope,
            arguments.at,
            certainty(origin),
            listed(found),
            f"{SESSIONS}[]",
            suggestion,
        )


def _all_names(analysis: "Analysis", atom: Instance, seen: set[object]) -> set[str]:
    """Return the names of the properties of an object, those spread into it as well."""
    seen.add(atom.site)
    names = set(analysis.store.names(atom.site))
    for inner in analysis.store.get(atom.site, SPREAD):
        if isinstance(inner, Instance) and inner.site not in seen:
            names |= _all_names(analysis, inner, seen)
        elif isinstance(inner, Booking):
            names |= MOVED.keys()
    return names


def check_bulk(analysis: "Analysis", value: Value, arguments: Arguments, origin: Origin) -> None:
    """Report the operations of a bulk write."""
    for atom in members.elements(analysis, value):
        if isinstance(atom, Instance):
            get = analysis.store.get
            if isinstance(atom.site, Call):
                arguments = Arguments(atom.site, arguments.scope, [], {})
            check_filter(analysis, get(atom.site, "filter"), arguments, origin)
            check_update(analysis, get(atom.site, "update"), arguments, origin)
            check_documents(analysis, get(atom.site, "document"), arguments, origin)
            for name in analysis.store.names(atom.site):
                for inner in analysis.store.get(atom.site, name):
                    if isinstance(inner, Instance):
                        check_filter(analysis, get(inner.site, "filter"), arguments, origin)
                        check_update(analysis, get(inner.site, "update"), arguments, origin)
                        check_documents(analysis, get(inner.site, "document"), arguments, origin)
