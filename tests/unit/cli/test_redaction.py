"""No part of a connection string that is secret gets into a text."""

import pytest

from booking_migrate.cli.streams import named_server, redact, secrets_of


@pytest.mark.parametrize(
    "uri",
    [
        "mongodb://ann:s3cret@db.example:27017/shop",
        "mongodb+srv://ann:s3cret@cluster.example/?retryWrites=true",
        "mongodb://ann:p%40ss:s3cret@host",
        "mongodb://ann:p@ss/s3cret@host",
        "mongodb://ann:a+s3cret+b@host",
    ],
)
def test_password_is_masked(uri: str) -> None:
    """The password is masked in a text that quotes the connection string, even if nobody says what it was."""
    assert "s3cret" not in redact(f"cannot read {uri!r}")


@pytest.mark.parametrize("form", ["p%40ss:w", "p@ss:w", "ann:p%40ss:w", "mongodb://ann:p%40ss:w@host/db"])
def test_literal_password_is_masked(form: str) -> None:
    """The password is masked by itself too, encoded and decoded."""
    secrets = secrets_of("mongodb://ann:p%40ss:w@host/db")

    assert redact(f"auth failed for <{form}>", secrets) == "auth failed for <***>"


def test_key_file_password_is_masked() -> None:
    """Passwords among the parameters are secret as well."""
    secrets = secrets_of("mongodb://host/?tls=true&tlsCertificateKeyFilePassword=open%20sesame&w=1")

    assert redact("wrong: open sesame, open%20sesame", secrets) == "wrong: ***, ***"


def test_other_text_stays() -> None:
    """A text without a connection string stays as it is."""
    text = "ann@example.org, 12:30 @ noon, mongodb://host:27017/shop"

    assert text == redact(text, secrets_of("mongodb://host:27017/other"))


def test_a_connection_string_that_lost_a_slash() -> None:
    """A path collapses two slashes into one; the password stays hidden."""
    assert "secret" not in redact("mongodb:/bob:secret@host/db cannot be used")


@pytest.mark.parametrize(
    ("uri", "server"),
    [
        ("mongodb://ann:s3cret@db.example:27017/shop", ("db.example:27017", "shop")),
        ("mongodb://a:1,b:2,[::1]:3/?replicaSet=rs", ("a:1,b:2,[::1]:3", None)),
        ("mongodb+srv://ann:s3cret@cluster.example/?retryWrites=true", ("cluster.example", None)),
        ("mongodb://host", ("host", None)),
        ("mongodb://ann:p@ss/s3cret@host/shop", (None, None)),
        ("mongodb:/ann:s3cret@host/shop", (None, None)),
        ("mongodb://ann:s3cret", (None, None)),
        ("s3cret", (None, None)),
        (None, (None, None)),
    ],
)
def test_hosts_and_database_of_a_connection_string(
    uri: str | None, server: tuple[str | None, str | None]
) -> None:
    """A report names hosts and database only where it is certain that they are not part of a password."""
    assert server == named_server(uri, None)


def test_a_database_named_beside_the_connection_string_counts_first() -> None:
    """`--db` names the database of the report."""
    assert named_server("mongodb://host/other", "shop") == ("host", "shop")
