"""Whatever the OpenAPI document allows, and forbids: no 5xx, and no answer it does not name."""

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from service.access.api_keys import ApiKeys
from service.app import create_app
from service.http.request_context import Core
from service.observability.metrics import Metrics
from service.readiness import Readiness
from service.settings import Settings
from tests.e2e.service_process import ServiceProcess

pytest_plugins = ["schemathesis.pytest.plugin"]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
DEADLINE_EXCEEDED = 504
PATIENCE_S = 60.0
NOT_OURS = [
    not_a_server_error,  # looked at below, with one exception
    positive_data_acceptance,  # limits are settings, and only rules are in the document
]
OUR_OWN = "/v1/classify/"
"""The forms of others take what their readers take: a number for a yes."""
ITEM_BY_ITEM = ("/batch", "/stream")
"""A bad item is an answer within the 200 of these."""


@schemathesis.serializer("application/x-ndjson")
def serialize_lines(context: schemathesis.SerializationContext, value: object) -> bytes:
    """A stream's body is one text to OpenAPI: any text will do, most have no good line."""
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")


def make_api() -> schemathesis.BaseSchema:
    """The document as the app writes it; the tests need it before any service runs."""
    metrics = Metrics()
    readiness = Readiness(metrics, canary_timeout_s=1, canary_cache_s=1, canary_interval_s=5)
    core = Core(settings=Settings(), metrics=metrics, readiness=readiness)
    return schemathesis.openapi.from_dict(create_app(core, ApiKeys({})).openapi())


DRAWN = settings(
    derandomize=True, database=None, deadline=None, phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)  # fmt: skip
api = make_api().exclude(path_regex="^/classify/")  # the same endpoints have a version too


@api.parametrize()
@settings(DRAWN, max_examples=20)
def test_every_answer_is_in_the_document(
    case: schemathesis.Case, shared_service: ServiceProcess
) -> None:
    """Valid requests and invalid ones, each part of a request in turn."""
    check(case, case.call(base_url=shared_service.url, timeout=PATIENCE_S))


def test_requests_that_follow_from_answers(
    shared_service: ServiceProcess, pytestconfig: pytest.Config
) -> None:
    """By the links of the document: the tasks that it tells of are asked."""
    asked: set[str] = set()

    class Requests(api.as_state_machine()):  # type: ignore[misc]
        def get_call_kwargs(self, case: schemathesis.Case) -> dict[str, Any]:
            return {"base_url": shared_service.url, "timeout": PATIENCE_S}

        def validate_response(
            self, response: schemathesis.Response, case: schemathesis.Case, *_: object, **__: object
        ) -> None:
            asked.add(case.formatted_path)
            check(case, response)

    sequences = pytestconfig.getoption("--bodies") // 500
    Requests.run(settings=settings(DRAWN, max_examples=sequences, stateful_step_count=6))
    assert {"/labels", "/v1/classify/tasks/timss"} <= asked


def check(case: schemathesis.Case, response: schemathesis.Response) -> None:
    is_strict = case.path.startswith(OUR_OWN) and not case.path.endswith(ITEM_BY_ITEM)
    excluded = NOT_OURS if is_strict else [*NOT_OURS, negative_data_rejection]
    case.validate_response(response, excluded_checks=excluded)
    # The one 5xx that a client can ask for: by a deadline of next to nothing.
    asked_for_haste = "X-Request-Timeout" in (case.headers or {})
    assert response.status_code < 500 or (
        response.status_code == DEADLINE_EXCEEDED and asked_for_haste
    )
