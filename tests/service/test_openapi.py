"""Requests made up from the API's own description are answered as it says, and never with 500."""

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)

from booking_migrate.service.http.gate import PROBES
from tests.support.platform import user
from tests.support.service import Service, token

OPERATIONS = {
    ("/api/bookings", "POST"),
    ("/api/bookings", "GET"),
    ("/api/bookings/{bookingId}", "GET"),
    ("/api/bookings/{bookingId}/sessions/{sessionId}", "GET"),
    ("/api/bookings/{bookingId}/confirm", "PUT"),
    ("/api/bookings/{bookingId}/cancel", "PUT"),
    ("/api/bookings/{bookingId}/complete", "PUT"),
    ("/health", "GET"),
    ("/ready", "GET"),
}


@pytest.fixture(scope="module")
def described(inputs: Service) -> schemathesis.BaseSchema:
    """The API as it describes itself."""
    schema = schemathesis.openapi.from_url(f"{inputs.url}/openapi.json")
    # Headers are not made up: of a request with a malformed one the service never learns, and the token is given.
    schema.config.generation.update(with_security_parameters=False)
    return schema


def test_every_request_is_described(described: schemathesis.BaseSchema) -> None:
    """The description has these requests and no others."""
    paths = described.raw_schema["paths"]

    assert OPERATIONS == {(path, method.upper()) for path, methods in paths.items() for method in methods}


@pytest.mark.parametrize(
    ("path", "method", "mode"),
    [
        (path, method, mode)
        for path, method in sorted(OPERATIONS)
        for mode in GenerationMode
        # Nothing can be wrong with a request that takes nothing.
        if path not in PROBES or mode is GenerationMode.POSITIVE
    ],
)
def test_requests_from_the_description(
    described: schemathesis.BaseSchema, path: str, method: str, mode: GenerationMode
) -> None:
    """Sound and unsound requests get an answer that the description has, in the form that it has."""
    operation = described[path][method]
    headers = {"Authorization": f"Bearer {token(user(0))}"}

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(max_examples=25, suppress_health_check=list(HealthCheck))
    def ask(case: schemathesis.Case[Any]) -> None:
        case.call_and_validate(
            headers=headers,
            checks=[
                not_a_server_error,
                content_type_conformance,
                negative_data_rejection,
                response_schema_conformance,
                status_code_conformance,
            ],
        )

    ask()
