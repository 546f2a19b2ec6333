"""The options of the booking service's commands, beyond those that all commands share (`options`)."""

from typing import Annotated

from booking_migrate.cli.option_values import parse_size, parse_waiver, waivable
from booking_migrate.cli.options import option
from booking_migrate.domain.rejection import Reason

_OFFERS = "What experts offer"
_RULES = "What may pass"
_SERVING = "Serving"

Live = Annotated[
    str,
    option(
        "--source",
        panel="Places",
        metavar="COLLECTION",
        help="The bookings: old ones, client documents, or both.",
    ),
]
ExpertAvailableField = Annotated[
    str,
    option(
        "--expert-available-field",
        panel=_OFFERS,
        metavar="FIELD",
        help="An expert's field that is false if nobody can book; without it, everybody can.",
    ),
]
ExpertTypesField = Annotated[
    str,
    option(
        "--expert-types-field",
        panel=_OFFERS,
        metavar="FIELD",
        help="An expert's field with what it offers: \\[{type, price, currency}].",
    ),
]
Currency = Annotated[
    str,
    option("--currency", panel=_OFFERS, metavar="CODE", help="The currency of a price that names none."),
]
Host = Annotated[str, option("--host", panel=_SERVING, metavar="ADDRESS", help="The address to listen on.")]
Port = Annotated[
    int,
    option(
        "--port", panel=_SERVING, metavar="N", min=0, max=65535, help="The port; 0 takes any that is free."
    ),
]
InsecureUser = Annotated[
    str | None,
    option(
        "--insecure-user",
        panel=_SERVING,
        metavar="ID",
        show_default=False,
        help="Without any token, everybody is this user: for trials on this machine only.",
    ),
]
CreateIndexes = Annotated[
    bool,
    option(
        "--create-indexes/--no-create-indexes",
        panel=_SERVING,
        show_default=False,
        help="Create the indexes that are missing, instead of refusing to start.",
    ),
]
MaxRequests = Annotated[
    int,
    option(
        "--max-requests",
        panel=_SERVING,
        metavar="N",
        min=1,
        max=1000,
        help="Requests that are worked on at once.",
    ),
]
MaxWaiting = Annotated[
    int,
    option(
        "--max-waiting",
        panel=_SERVING,
        metavar="N",
        min=0,
        max=100_000,
        help="Requests that may wait for their turn; one more is sent away with 503.",
    ),
]
MaxSeconds = Annotated[
    float,
    option(
        "--max-seconds",
        panel=_SERVING,
        metavar="SECONDS",
        min=0.1,
        max=300,
        help="How long a body may take to arrive, and the database to read or to write.",
    ),
]
MaxBodySize = Annotated[
    int,
    option(
        "--max-body-size",
        panel=_SERVING,
        metavar="SIZE",
        parser=parse_size,
        show_default="64KiB",
        help="The largest body of a request.",
    ),
]
Accept = Annotated[
    list[Reason] | None,
    option(
        "--accept",
        panel=_RULES,
        metavar="REASON",
        parser=parse_waiver,
        autocompletion=waivable,
        show_default=False,
        help="Show and take bookings that break this rule, as migrate --accept does. May be repeated.",
    ),
]
MaxDocumentSize = Annotated[
    int,
    option(
        "--max-document-size",
        panel=_RULES,
        metavar="SIZE",
        parser=parse_size,
        show_default="8MiB",
        help="A client document that would become larger takes no more sessions.",
    ),
]
