"""The document says what the service does: examples work, answers fit, errors are listed."""

import json
import re
from typing import Any

import jsonschema
import pytest

from service.errors import HTTP_STATUS, ServiceError, to_error_document, to_headers
from service.protocols.routes import OTHER_PROTOCOLS
from service.schemas import ErrorDocument
from tests.service.fake_service import run_fake_service

CLASSIFY_JSON = [
    "/v1/classify/problem",
    "/v1/classify/problem/batch",
    "/v1/classify/dialogue-turn",
    "/v1/classify/dialogue-turn/batch",
    "/v1/classify/dialogue",
    "/classify/problem",
]


@pytest.mark.parametrize("path", CLASSIFY_JSON)
async def test_the_example_of_a_body_works_when_pasted(path: str) -> None:
    async with run_fake_service() as service:
        document = (await service.client.get("/openapi.json")).json()
        content = document["paths"][path]["post"]["requestBody"]["content"]
        example = content["application/json"]["example"]
        response = await service.client.post(path, json=example)
    assert response.status_code == 200, response.text
    assert response.json().get("failed", 0) == 0


@pytest.mark.parametrize("path", ["/v1/classify/problem/stream", "/classify/dialogue-turn/stream"])
async def test_lines_are_described_one_by_one(path: str) -> None:
    """What the document says of each line holds for its example and for the answer to that."""
    async with run_fake_service() as service:
        document = (await service.client.get("/openapi.json")).json()
        operation = document["paths"][path]["post"]
        asked = operation["requestBody"]["content"]["application/x-ndjson"]
        told = operation["responses"]["200"]["content"]["application/x-ndjson"]
        response = await service.client.post(
            path, content=asked["example"], headers={"content-type": "application/x-ndjson"}
        )
    answer = response.text
    for described, text in ((asked, asked["example"]), (told, answer)):
        schema = {**described["itemSchema"], "components": document["components"]}
        lines = [json.loads(line) for line in text.splitlines()]
        assert len(lines) >= 2
        for line in lines:
            jsonschema.validate(line, schema)
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({"no": "line"}, schema)


async def test_every_reference_of_the_document_leads_somewhere() -> None:
    async with run_fake_service() as service:
        document = (await service.client.get("/openapi.json")).json()
    schemas = document["components"]["schemas"]
    references = set(find_references(document))
    assert {"ProblemItem", "DialogueTurnItem", "Answer", "ErrorDocument"} <= set(schemas)
    assert references and all(name in schemas for name in references)


async def test_every_route_lists_its_errors_as_problems() -> None:
    async with run_fake_service() as service:
        document = (await service.client.get("/openapi.json")).json()
    for path, methods in document["paths"].items():
        for operation in methods.values():
            assert operation["summary"], path
            is_foreign = OTHER_PROTOCOLS in operation.get("tags", ())
            for status, response in operation["responses"].items():
                is_problem = int(status) >= 400 and not is_foreign
                assert ("application/problem+json" in response.get("content", {})) == is_problem
            if "/classify/" in path:
                assert {"200", "413", "415", "422", "429", "500", "503"} <= set(
                    operation["responses"]
                )


async def test_every_path_of_classification_has_a_version_and_goes_without() -> None:
    async with run_fake_service() as service:
        paths = (await service.client.get("/openapi.json")).json()["paths"]
    versioned = [path for path in paths if path.startswith("/v1/classify/")]
    assert len(versioned) == 10
    assert [path for path in paths if path.startswith("/classify/")] == [
        path.removeprefix("/v1") for path in versioned
    ]
    assert list(paths).index(versioned[-1]) < list(paths).index("/classify/problem")
    for path in versioned:
        documented, other = paths[path]["post"], paths[path.removeprefix("/v1")]["post"]
        assert f"`{path}`" in other["description"] and "description" not in documented
        assert not other.get("deprecated")
        own = ("operationId", "tags", "description")
        same = [{k: v for k, v in each.items() if k not in own} for each in (documented, other)]
        assert same[0] == same[1]


async def test_operations_have_short_names_of_their_own() -> None:
    async with run_fake_service() as service:
        paths = (await service.client.get("/openapi.json")).json()["paths"]
    names = [each["operationId"] for methods in paths.values() for each in methods.values()]
    assert len(names) == len(set(names)) > 25
    for name in names:
        assert re.fullmatch(r"[a-z]+(_[a-z0-9]+)+", name) and len(name) <= 40, name
    assert paths["/v1/classify/problem"]["post"]["operationId"] == "classify_problem"


async def test_limits_are_told_by_the_document_and_by_models() -> None:
    changes = {"max_text_characters": 30, "max_batch_items": 3, "max_context_turns": 2,
               "max_dialogue_turns": 5, "request_timeout_s": 7.0, "max_request_timeout_s": 9.0,
               "max_body_bytes": 5000}  # fmt: skip
    async with run_fake_service(**changes) as service:
        document = (await service.client.get("/openapi.json")).json()
        limits = (await service.client.get("/models")).json()["limits"]
    assert document["info"]["x-limits"] == limits
    assert changes.items() <= limits.items() and limits["min_request_timeout_s"] == 0.1
    forms = {
        name: each.get("properties") for name, each in document["components"]["schemas"].items()
    }
    for name in ("ProblemItem", "DialogueTurnItem", "Turn", "SpokenTurn"):
        assert forms[name]["text"]["maxLength"] == 30
    assert forms["DialogueTurnItem"]["previous"]["maxItems"] == 2
    assert forms["ProblemBatch"]["items"]["maxItems"] == 3
    assert forms["Dialogue"]["turns"]["maxItems"] == 5
    for path, by_default in (("/v1/classify/problem", 7.0), ("/v1/classify/problem/stream", 9.0)):
        operation = document["paths"][path]["post"]
        header = operation["parameters"][-1]
        assert header["name"] == "X-Request-Timeout"
        assert header["schema"]["maximum"] == 9.0 and header["schema"]["default"] == by_default
    assert "5,000 bytes" in document["paths"]["/predict"]["post"]["requestBody"]["description"]


async def test_what_the_document_calls_too_long_is_refused() -> None:
    async with run_fake_service(max_text_characters=30) as service:
        schemas = (await service.client.get("/openapi.json")).json()["components"]["schemas"]
        longest = schemas["ProblemItem"]["properties"]["text"]["maxLength"]
        answers = [
            await service.client.post("/v1/classify/problem", json={"text": "题" * length})
            for length in (longest, longest + 1)
        ]
    assert [answer.status_code for answer in answers] == [200, 422]


async def test_the_docs_page_needs_nothing_from_elsewhere() -> None:
    async with run_fake_service() as service:
        page = await service.client.get("/docs")
        assert page.status_code == 200
        links = re.findall(r'(?:src|href)="([^"]+)"', page.text)
        assert "docs/assets/swagger-ui-bundle.js" in links
        for link in links:
            assert not link.startswith(("/", "http"))
            assert (await service.client.get(f"/{link}")).status_code == 200
    assert sum(link.endswith(".js") for link in links) == 2


def test_the_set_of_errors_is_closed_and_each_has_its_own_name() -> None:
    assert set(HTTP_STATUS) == set(find_subclasses(ServiceError))
    slugs = [error.slug for error in HTTP_STATUS]
    assert len(set(slugs)) == len(slugs)


@pytest.mark.parametrize("kind", HTTP_STATUS)
def test_an_error_becomes_a_problem(kind: type[ServiceError]) -> None:
    error = kind("a sentence", retry_after_s=2.2)
    problem = to_error_document(error, request_id="r1")
    assert ErrorDocument.model_validate(problem).status == HTTP_STATUS[kind] == error.status
    assert problem["type"] == f"urn:ncal-serve:error:{kind.slug}"
    assert to_headers(error)["Retry-After"] == "3"
    assert "Retry-After" not in to_headers(kind("a sentence"))
    json.dumps(problem)


def find_references(node: Any) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"].rpartition("/")[2]] if isinstance(node.get("$ref"), str) else []
        return own + [name for child in node.values() for name in find_references(child)]
    if isinstance(node, list):
        return [name for child in node for name in find_references(child)]
    return []


def find_subclasses(kind: type[ServiceError]) -> list[type[ServiceError]]:
    children = kind.__subclasses__()
    return children + [each for child in children for each in find_subclasses(child)]
