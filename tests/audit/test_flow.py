"""Ways that values take through real applications, each in a few lines."""

from pathlib import Path

import pytest

from booking_migrate.audit.run import AuditPlan, audit

_MODEL = "const Booking = mongoose.model('Booking');\n"

_PROMISE = (
    f"{_MODEL}const load = (id) => new Promise((resolve, reject) => {{\n"
    "  Booking.findById(id).then((data) => { resolve(data); }).catch(reject);\n});\n"
    "async function show(id) { const one = await load(id);\n  return one.status;\n}\n"
)
_VALIDATED = (
    f"{_MODEL}router.post('/', [body('a').isInt()], async (req, res) => {{\n"
    "  const errors = validationResult(req);\n"
    "  const one = await Booking.findOne();\n  res.status(201).json({ one, errors });\n});\n"
)
_FEW = (
    "const schema = new mongoose.Schema({ expertId: String, slot: String, paid: Boolean });\n"
    "schema.index({ slot: 1 });\n"
    "schema.methods.free = function () { return !this.slot; };\n"
    "mongoose.model('Booking', schema);\n"
)
_NEST = (
    "@Schema() export class Booking { @Prop() slot: string; @Prop() status: string }\n"
    "export class All { constructor(@InjectModel(Booking.name) private all: Model<HydratedDocument<Booking>>) {}\n"
    "  async slot(id: string) { const one = await this.all.findById(id);\n    return one.slot;\n  }\n}\n"
)
_OWN_ID = f"{_MODEL}app.get('/bookings/:id', async (req, res) => {{\n  await Booking.findOne({{ id: req.params.id }});\n}});\n"
FOUND = {
    "a class of few fields that is the schema of a collection with the name": (
        _NEST,
        {1: "type", 3: "booking-id", 4: "field"},
    ),
    "an id that only the application has": (_OWN_ID, {2: "route", 3: "query"}),
    "a promise that is resolved with what a query returns": (_PROMISE, {3: "booking-id", 6: "field"}),
    "a function that is passed with a list of a library's objects": (_VALIDATED, {5: "answer"}),
    "a schema with few fields of the contract, if its model has the name": (
        _FEW,
        {1: "type", 2: "index", 3: "field"},
    ),
}

_ENTRY = (
    "interface Payment { _id: string; bookingId: string; expertId: string; sessionType: string; duration: number;"
    " startTime: string; status: string; price: number }\n"
    "export const total = (all: Payment[]) => all.map((one) => one.price);\n"
)
_CLIENT = "interface Client { _id: string; clientId: string; sessions: { sessionId: string; price: number; status: string }[] }\n"


def found(folder: Path, text: str, name: str = "a.ts") -> dict[int, str]:
    """Return the rule of each line with a finding."""
    folder.joinpath(name).write_text(text)
    return {each.at[0]: each.rule.value for each in audit(AuditPlan([folder], base=folder)).findings}


@pytest.mark.parametrize("way", FOUND)
def test_bookings_are_followed(way: str, tmp_path: Path) -> None:
    """Bookings are recognised behind these."""
    text, expected = FOUND[way]

    assert expected.items() <= found(tmp_path, text).items()


def test_entries_made_of_sessions_are_right_in_code_for_the_new_structure(tmp_path: Path) -> None:
    """A type that names the booking beside its fields is an entry of a session, where client documents are known."""
    assert {1: "type", 2: "field"} == found(tmp_path, _ENTRY)
    assert {} == found(tmp_path, _ENTRY + _CLIENT)


def test_old_types_count_in_code_that_knows_the_new_structure_elsewhere(tmp_path: Path) -> None:
    """What is declared as a booking of the old structure is reported, its count and its id as well, where only the server was changed."""
    tmp_path.joinpath("server.js").write_text(f"{_MODEL}Booking.find({{ 'sessions.status': 'open' }});\n")
    text = (
        "interface Booking { _id: string; expertId: string; status: string; price: number }\n"
        "export const count = (all: Booking[]) => all.length;\n"
        "export const key = (one: Booking) => one._id;\n"
    )

    assert {1: "type", 2: "count", 3: "field"} == found(tmp_path, text)


@pytest.mark.parametrize("around", ["", "def create():\n"])
def test_decorators_are_read_after_the_statements_above_them(around: str, tmp_path: Path) -> None:
    """The prefix of a router holds for the functions below it, at the top of a module and in a factory."""
    indent = "    " if around else ""
    lines = [
        "router = APIRouter(prefix='/bookings')",
        "@router.delete('/{id}')",
        "def drop(id: str):",
        "    pass",
    ]
    text = around + "".join(f"{indent}{line}\n" for line in lines)

    assert ["route"] == list(found(tmp_path, text, "a.py").values())
