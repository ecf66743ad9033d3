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
    "/classify/problem",
    "/classify/problem/batch",
    "/classify/dialogue-turn",
    "/classify/dialogue-turn/batch",
    "/classify/dialogue",
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


@pytest.mark.parametrize("path", ["/classify/problem/stream", "/classify/dialogue-turn/stream"])
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
    assert {"Problem", "DialogueTurn", "Answer", "ErrorDocument"} <= set(schemas)
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
            if path.startswith("/classify") and not is_foreign:
                assert {"200", "413", "415", "422", "429", "500", "503"} <= set(
                    operation["responses"]
                )


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
