"""Health, the OpenAPI document, and the page on which people can try it."""

import re
from typing import Any

import httpx
import jsonschema

from service.api.documentation import PATH_EXAMPLES
from service.api.examples import SEVEN
from service.api.v2.examples import INFER_EXAMPLES
from tests.serving import FITTED

EXAMPLE_BODIES: dict[str, Any] = {
    "predict": {"images": [SEVEN]},
    "infer": INFER_EXAMPLES["classification"]["value"],
    "index": {},
}
"""Bodies for the routes that need one, by the last part of their paths."""


def has_the_form(example: Any, answer: Any) -> bool:
    """Whether an example has no fields or types that a real answer has not. The example may be shorter."""
    match example, answer:
        case dict(), dict():
            return all(name in answer and has_the_form(value, answer[name]) for name, value in example.items())
        case list(), list():
            return all(any(has_the_form(each, real) for real in answer) for each in example)
        case int() | float(), int() | float():
            return True
    return type(example) is type(answer)


def schema(client: httpx.Client) -> dict[str, Any]:
    document = client.get("/openapi.json").json()
    assert isinstance(document, dict)
    return document


def test_health_routes_answer(client: httpx.Client) -> None:
    assert client.get("/health/live").json() == {"status": "live"}
    assert client.get("/health/ready").json() == {
        "status": "ready",
        "models": sorted(path.name for path in FITTED.glob("*/")),
    }


def test_every_example_works(client: httpx.Client) -> None:
    content = schema(client)["paths"]["/predict"]["post"]["requestBody"]["content"]
    examples = content["application/json"]["examples"]
    assert len(examples) >= 3
    for example in examples.values():
        answer = client.post("/predict", json=example["value"])
        assert answer.json()["predictions"][0]["digit"] == 7, example["summary"]


def test_every_documented_media_type_is_accepted(client: httpx.Client) -> None:
    for media_type in schema(client)["paths"]["/predict"]["post"]["requestBody"]["content"]:
        assert client.post("/predict", headers={"content-type": media_type}).status_code != 415


def test_every_reference_of_the_document_resolves(client: httpx.Client) -> None:
    document = schema(client)
    references = set(re.findall(r'"\$ref": ?"([^"]*)"', client.get("/openapi.json").text))
    known = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert (
        {f"#/components/schemas/{name}" for name in ("PredictBody", "Problem", "InferRequest")} <= references <= known
    )


def test_every_possible_status_is_documented(client: httpx.Client) -> None:
    answers = schema(client)["paths"]["/predict"]["post"]["responses"]
    assert set(answers) == {"200", "400", "404", "413", "415", "422", "429", "503", "504", "default"}
    assert "HTTPValidationError" not in schema(client)["components"]["schemas"]


def test_answers_are_described_for_callers(client: httpx.Client) -> None:
    document = schema(client)
    routes = [route for methods in document["paths"].values() for route in methods.values()]
    descriptions = [answer["description"] for route in routes for answer in route["responses"].values()]
    assert document["paths"]["/predict"]["post"]["responses"]["429"]["description"] == (
        "Other work would delay the request too long, or has delayed it too long."
    )
    assert not [each for each in descriptions if "\n" in each or "Args:" in each]


def test_the_page_loads_only_local_files(client: httpx.Client) -> None:
    page = client.get("/docs")
    assert page.status_code == 200
    sources = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(sources) >= 2
    for source in sources:
        assert client.get(source).status_code == 200


def test_the_example_of_each_good_answer_has_the_form_of_a_real_answer(client: httpx.Client) -> None:
    document = schema(client)
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            media_type, content = next(iter(operation["responses"]["200"]["content"].items()))
            answer = client.request(method, path.format(**PATH_EXAMPLES), json=EXAMPLE_BODIES.get(path.split("/")[-1]))
            if path.endswith(("/load", "/unload")):
                assert answer.status_code == 403  # this service lets nobody load models
            elif media_type == "text/plain":
                assert set(content["example"].splitlines()[:2]) <= set(answer.text.splitlines())
            else:
                assert answer.status_code == 200, answer.text
                assert has_the_form(content["example"], answer.json()), path
            whole = content["schema"] | {"components": document["components"]}
            jsonschema.validate(content["example"], whole)
