"""What browsers are told, with each kind of answer."""

import re
from base64 import b64encode
from hashlib import sha256

import httpx
import pytest

from service.security.headers import ALWAYS
from tests.serving import running

ASKED = {
    "an answer": ("GET", "/models", 200),
    "a problem": ("POST", "/predict", 415),
    "an error of the other protocol": ("GET", "/v2/models/none", 404),
    "nowhere": ("GET", "/nowhere", 404),
    "a method that is none": ("DELETE", "/predict", 405),
    "a file": ("GET", "/static-offline-docs/swagger-ui.css", 200),
    "the metrics": ("GET", "/metrics", 200),
}


@pytest.mark.parametrize(("method", "path", "status"), ASKED.values(), ids=ASKED.keys())
def test_every_answer_says_what_may_be_done_with_it(client: httpx.Client, method: str, path: str, status: int) -> None:
    answer = client.request(method, path)
    assert answer.status_code == status
    assert {name: answer.headers.get(name) for name in ALWAYS} == ALWAYS
    assert "strict-transport-security" not in answer.headers
    assert "server" not in answer.headers


def test_the_page_of_the_documentation_may_run_its_own_script_alone(client: httpx.Client) -> None:
    page = client.get("/docs")
    policy = page.headers.get_list("content-security-policy")
    assert len(policy) == 1
    directives = dict(directive.strip().split(" ", 1) for directive in policy[0].split(";"))
    assert directives["default-src"] == "'none'"
    (script,) = re.findall(r"<script>(.*?)</script>", page.text, re.DOTALL)
    digest = b64encode(sha256(script.encode()).digest()).decode()
    assert directives["script-src"] == f"'self' 'sha256-{digest}'"


PREFLIGHT = {"access-control-request-method": "POST", "access-control-request-headers": "authorization,content-type"}


@pytest.mark.system
def test_pages_of_the_origins_that_are_set_may_ask() -> None:
    ours, others = "https://a.example", "https://b.example"
    with running("--cors-origins", f"{ours}, http://localhost:3000") as service, service.client() as client:
        for origin, allowed in ((ours, True), (others, False)):
            asked = client.options("/predict", headers={"origin": origin, **PREFLIGHT})
            assert (asked.status_code == 200) == allowed
            answer = client.get("/models", headers={"origin": origin})
            assert answer.headers.get("access-control-allow-origin") == (origin if allowed else None)
            assert "access-control-allow-credentials" not in answer.headers
        answer = client.get("/models", headers={"origin": ours})
        assert "x-request-id" in answer.headers["access-control-expose-headers"]


def test_no_page_of_another_origin_may_unless_it_is_set(client: httpx.Client) -> None:
    headers = {"origin": "https://a.example", **PREFLIGHT}
    assert client.options("/predict", headers=headers).status_code == 405
    assert "access-control-allow-origin" not in client.get("/models", headers=headers).headers
