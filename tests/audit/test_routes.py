"""Routes that the application serves: those that take the id of a booking, and answers that hold bookings."""

from pathlib import Path

import pytest

from booking_migrate.audit.findings import Finding
from booking_migrate.audit.run import AuditPlan, audit

_MONGOOSE = "const Booking = mongoose.model('Booking');\n"
_PYMONGO = "from pymongo import MongoClient\nbookings = MongoClient().app.bookings\n"

ANSWERS = {
    "express.js": f"{_MONGOOSE}router.get('/', async (req, res) => {{\n  const found = await Booking.find();\n  res.json({{ success: true, data: {{ bookings: found }} }});\n}});\n",
    "status.js": f"{_MONGOOSE}router.post('/', async (q, r) => {{\n  const made = await Booking.findOne();\n  return r.status(201).json(made);\n}});\n",
    "send.js": f"{_MONGOOSE}app.get('/', async (req, res) => {{\n  const found = await Booking.find();\n  res.status(200).send(found);\n}});\n",
    "spread.js": f"{_MONGOOSE}router.get('/', async (req, res) => {{\n  const one = await Booking.findOne();\n  res.json({{ ...one.toObject(), late: true }});\n}});\n",
    "koa.js": f"{_MONGOOSE}router.get('/', async (ctx) => {{\n  const found = await Booking.find();\n  ctx.body = {{ found }};\n}});\n",
    "fastify.js": f"{_MONGOOSE}fastify.get('/', async () => {{\n  const found = await Booking.find();\n  return {{ found }};\n}});\n",
    "hono.ts": f"{_MONGOOSE}app.get('/', async (c) => {{\n  const found = await Booking.find();\n  return c.json(found);\n}});\n",
    "next.ts": f"import {{ NextResponse }} from 'next/server';\n{_MONGOOSE}export async function GET() {{ const found = await Booking.find();\n  return NextResponse.json(found);\n}}\n",
    "lambda.js": f"{_MONGOOSE}exports.handler = async () => {{\n  const found = await Booking.find();\n  return {{ statusCode: 200, body: JSON.stringify(found) }};\n}};\n",
    "nest.ts": f"{_MONGOOSE}@Controller('bookings')\nexport class All {{\n  @Get() all() {{ return Booking.find(); }}\n}}\n",
    "fastapi.py": f"{_PYMONGO}@router.get('/')\nasync def all_of_them():\n    return {{'items': list(bookings.find())}}\n",
    "flask.py": f"{_PYMONGO}@app.route('/')\ndef all_of_them():\n    return jsonify(list(bookings.find()))\n",
    "template.py": f"{_PYMONGO}@app.route('/')\ndef page():\n    return render_template('all.html', found=list(bookings.find()))\n",
    "render.js": f"{_MONGOOSE}app.get('/', async (req, res) => {{\n  const found = await Booking.find();\n  res.render('all', {{ found }});\n}});\n",
    "socket.js": f"{_MONGOOSE}io.on('connection', async (socket) => {{\n  const one = await Booking.findOne();\n  socket.emit('changed', {{ one }});\n}});\n",
    "room.js": f"const io = require('socket.io')(server);\n{_MONGOOSE}async function tell() {{\n  const one = await Booking.findOne();\n  io.to('all').emit('changed', one);\n}}\n",
    "starlette.py": f"{_PYMONGO}async def all_of_them(request):\n    found = list(bookings.find())\n    return JSONResponse(found)\n",
}  # fmt: skip


def found(folder: Path, rule: str) -> list[Finding]:
    """Audit a folder; return the findings of a rule."""
    return [each for each in audit(AuditPlan([folder], base=folder)).findings if each.rule == rule]


@pytest.mark.parametrize("name", ANSWERS)
def test_answers_that_hold_bookings_are_reported(name: str, tmp_path: Path) -> None:
    """What a route answers is another shape with the new structure, however the framework is called with it."""
    text = ANSWERS[name]
    tmp_path.joinpath(name).write_text(text)
    line = next(number for number, line in enumerate(text.split("\n"), 1) if _is_answer(line))

    assert [(line, "likely")] == [(each.at[0], each.confidence) for each in found(tmp_path, "answer")]


def _is_answer(line: str) -> bool:
    return any(
        part in line for part in ("json(", "send(", "render(", "emit(", "ctx.body", "return", "JSONResponse(")
    )


@pytest.mark.parametrize(
    "answer",
    [
        "res.json({ total: 1, ids: found.map((one) => String(one.price)) })",
        "res.json(await User.find())",
        "mailer.send(found)",
        "res.json()",
        "cache.set('all', found)",
    ],
)
def test_answers_without_bookings_are_not_reported(answer: str, tmp_path: Path) -> None:
    """An answer that is made of values of bookings, or of something else, keeps its shape."""
    tmp_path.joinpath("a.js").write_text(
        f"{_MONGOOSE}const User = mongoose.model('User');\n"
        f"router.get('/', async (req, res) => {{\n  const found = await Booking.find();\n  {answer};\n}});\n"
    )

    assert [] == found(tmp_path, "answer")


def test_an_answer_of_code_that_reads_sessions_is_right(tmp_path: Path) -> None:
    """Where the sessions of what is answered are read, the answer is meant to be a client document."""
    tmp_path.joinpath("a.js").write_text(
        f"{_MONGOOSE}router.get('/', async (req, res) => {{\n"
        "  const one = await Booking.findOne({ clientId: req.user.id });\n"
        "  if (one.sessions.length) res.json(one);\n}});\n"
    )

    assert [] == found(tmp_path, "answer")


ROUTES = {
    "mounted": (
        {
            "app.js": "const app = require('express')();\napp.use('/api/bookings', require('./b'));\n",
            "b.js": "const router = require('express').Router();\nrouter.put('/:id/confirm', auth, (req, res) => {});\nmodule.exports = router;\n",
        },
        "bookings/{id}/confirm by booking",
    ),
    "twice": (
        {
            "app.ts": "import api from './api';\nconst app = express();\napp.use('/api', api);\n",
            "api.ts": "import { Router } from 'express';\nimport one from './b';\nconst api = Router();\napi.use('/bookings', one);\nexport default api;\n",
            "b.ts": "import { Router } from 'express';\nconst router = Router();\nrouter.put('/:bookingId', (req, res) => {});\nexport default router;\n",
        },
        "bookings/{id} by booking",
    ),
    "whole": (
        {"a.js": "app.delete('/bookings/:id', (req, res) => {});\n"},
        "bookings/{id} by booking",
    ),
    "chained": (
        {"a.js": "app.route('/bookings/:id').get(auth, (q, r) => {}).patch((q, r) => {});\n"},
        "bookings/{id} by booking",
    ),
    "koa": (
        {
            "a.js": "const Router = require('@koa/router');\nconst r = new Router({ prefix: '/bookings' });\nr.patch('/:id', async (ctx) => {});\n"
        },
        "bookings/{id} by booking",
    ),
    "fastify": (
        {
            "a.js": "async function routes(server) {\n  server.put('/:id', async () => {});\n}\nfastify.register(routes, { prefix: '/bookings' });\n"
        },
        "bookings/{id} by booking",
    ),
    "nest": (
        {"a.ts": "@Controller('bookings')\nexport class B {\n  @Patch(':id/pay') pay(@Param('id') id: string) {}\n}\n"},
        "bookings/{id}/pay by booking",
    ),
    "fastapi": (
        {"a.py": "router = APIRouter(prefix='/bookings')\n@router.post('/{booking_id}/cancel')\ndef cancel(booking_id: str):\n    pass\n"},
        "bookings/{id}/cancel by booking",
    ),
    "flask": (
        {"a.py": "@app.route('/bookings/<int:id>', methods=['DELETE'])\ndef drop(id):\n    pass\n"},
        "bookings/{id} by booking",
    ),
    "next": (
        {
            "web/app/api/bookings/[id]/route.ts": "export async function GET() {}\nexport async function PATCH(request, { params }) {}\n"
        },
        "bookings/{id} by booking",
    ),
    "pages": (
        {
            "pages/api/bookings/[bookingId].js": f"{_MONGOOSE}export default async (req, res) => {{ await Booking.findById(req.query.bookingId); }};\n"
        },
        "bookings/{id} by booking",
    ),
    "look-up": (
        {"a.js": f"{_MONGOOSE}router.delete('/cancel/:key', async (q, r) => {{ await Booking.findByIdAndDelete(q.params.key); }});\n"},
        "bookings/{id} by booking",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ROUTES)
def test_server_routes_that_take_the_id_of_a_booking_are_reported(name: str, tmp_path: Path) -> None:
    """A route by the id of a booking has to take the sessionId as well, wherever the router is mounted."""
    code, expected = ROUTES[name]
    for path, text in code.items():
        tmp_path.joinpath(path).parent.mkdir(parents=True, exist_ok=True)
        tmp_path.joinpath(path).write_text(text)

    assert {expected} == {each.old for each in found(tmp_path, "route")}


@pytest.mark.parametrize(
    "route",
    [
        "app.put('/bookings/:id/sessions/:sessionId', (req, res) => {});",
        "app.put('/bookings/:id', (req, res) => { close(req.params.id, req.body.sessionId); });",
        "app.get('/bookings/:id', (req, res) => {});",
        "app.get('/bookings/user/:userId', (req, res) => {});",
        "app.put('/bookings/:expertId', (req, res) => {});",
        "app.put('/orders/:id', (req, res) => {});",
        "app.get('/bookings', (req, res) => {});",
    ],
)
def test_other_server_routes_are_not_reported(route: str, tmp_path: Path) -> None:
    """Routes that name the session, that are by another id, or of something else, can stay."""
    tmp_path.joinpath("a.js").write_text(f"{route}\n")

    assert [] == found(tmp_path, "route")


@pytest.mark.parametrize(
    "use",
    [
        "booking.room",
        "Booking.find({ room: 1 })",
        "Booking.find().populate('room')",
        "Booking.find().sort('room')",
        "Booking.updateOne({}, { room: 2 })",
    ],
)
def test_fields_that_only_this_application_has_moved_as_well(use: str, tmp_path: Path) -> None:
    """Fields of the schema that the contract does not know are carried in the session: they are looked for, too."""
    tmp_path.joinpath("b.js").write_text(
        "const schema = new mongoose.Schema({ expertId: String, status: String, room: { type: ObjectId, ref: 'Room' } });\n"
        "module.exports = mongoose.model('Booking', schema);\n"
    )
    tmp_path.joinpath("a.js").write_text(
        f"const Booking = require('./b');\nasync function f() {{\n  const booking = await Booking.findOne();\n  {use};\n}}\n"
    )
    places = audit(AuditPlan([tmp_path], base=tmp_path)).findings

    assert [("a.js", 4, "room")] == [
        (each.path, each.at[0], each.old) for each in places if each.path == "a.js"
    ][-1:]


def test_fields_that_only_a_query_names_moved_as_well(tmp_path: Path) -> None:
    """Without a schema, what queries and updates name is known to be a field of bookings; not in code for the new structure."""
    text = f"{_PYMONGO}bookings.update_one({{'room': 1}}, {{'$set': {{'seen': True}}}})\nfirst = bookings.find_one()\nprint(first['room'], first['seen'])\n"
    tmp_path.joinpath("a.py").write_text(text)
    before = audit(AuditPlan([tmp_path], base=tmp_path)).findings
    tmp_path.joinpath("b.py").write_text(f"{_PYMONGO}bookings.find({{'sessions.status': 'open'}})\n")
    after = audit(AuditPlan([tmp_path], base=tmp_path)).findings

    assert [(3, "room"), (3, "seen"), (5, "room"), (5, "seen")] == [(each.at[0], each.old) for each in before]
    assert () == after
