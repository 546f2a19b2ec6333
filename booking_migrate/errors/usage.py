"""The command line, the environment or the config file asks for something that makes no sense: exit code 2."""

from dataclasses import dataclass

from booking_migrate.errors.base import UsageProblem


@dataclass(eq=False)
class BadPlace(UsageProblem):
    """A place that is neither a file of a known kind nor a collection name."""

    text: str
    problem: str
    advice: str = (
        "A place is a collection name, a .jsonl, .ndjson, .json or .bson file (each also .gz), or -."
    )

    @property
    def message(self) -> str:
        return f"{self.text!r} is no place: {self.problem}"

    @property
    def hint(self) -> str:
        return self.advice


@dataclass(eq=False)
class SamePlace(UsageProblem):
    """Source and target are one and the same."""

    place: str

    @property
    def message(self) -> str:
        return f"source and target are both {self.place}"

    @property
    def hint(self) -> str:
        return "Give --target another name: a side-by-side migration never touches its source."


@dataclass(eq=False)
class MissingUri(UsageProblem):
    """A place is a collection, but nothing says on which server or in which database."""

    place: str
    lacking: str
    """``uri`` or ``db``."""

    @property
    def message(self) -> str:
        what = "server" if self.lacking == "uri" else "database"
        return f"{self.place!r} is a collection, but no {what} is given"

    @property
    def hint(self) -> str:
        if self.lacking == "uri":
            return "Give --uri or set MONGODB_URI; for a file, write a path such as ./bookings.jsonl."
        return "Give --db, or put the database's name into the connection string."


@dataclass(eq=False)
class BadConfiguration(UsageProblem):
    """An option, an environment variable or the config file has a value that cannot be used."""

    where: str
    """The config file, the variable or the option."""

    problem: str
    advice: str = ""

    @property
    def message(self) -> str:
        return f"{self.where}: {self.problem}"

    @property
    def hint(self) -> str:
        return self.advice


@dataclass(eq=False)
class MissingExtra(UsageProblem):
    """A command needs packages that are not installed."""

    command: str
    extra: str

    @property
    def message(self) -> str:
        return f"{self.command} needs packages that are not installed"

    @property
    def hint(self) -> str:
        return f"Install them: pip install 'booking-migrate[{self.extra}]'."
