"""The security headers of each kind of answer."""

import re
from base64 import b64encode
from hashlib import sha256

import httpx
import pytest

from service.security.headers import ALWAYS
from tests.serving import running

REQUESTS = {
    "an answer": ("GET", "/models", 200),
    "a problem": ("POST", "/predict", 415),
    "an error of the other protocol": ("GET", "/v2/models/none", 404),
    "an unknown route": ("GET", "/nowhere", 404),
    "a method that is not allowed": ("DELETE", "/predict", 405),
    "a file": ("GET", "/static-offline-docs/swagger-ui.css", 200),
    "the metrics": ("GET", "/metrics", 200),
}


@pytest.mark.parametrize(("method", "path", "status"), REQUESTS.values(), ids=REQUESTS.keys())
def test_every_answer_has_the_security_headers(client: httpx.Client, method: str, path: str, status: int) -> None:
    answer = client.request(method, path)
    assert answer.status_code == status
    assert {name: answer.headers.get(name) for name in ALWAYS} == ALWAYS
    assert "strict-transport-security" not in answer.headers
    assert "server" not in answer.headers


def test_the_documentation_page_may_run_only_its_own_script(client: httpx.Client) -> None:
    page = client.get("/docs")
    policy = page.headers.get_list("content-security-policy")
    assert len(policy) == 1
    directives = dict(directive.strip().split(" ", 1) for directive in policy[0].split(";"))
    assert directives["default-src"] == "'none'"
    (script,) = re.findall(r"<script>(.*?)</script>", page.text, re.DOTALL)
    digest = b64encode(sha256(script.encode()).digest()).decode()
    assert directives["script-src"] == f"'self' 'sha256-{digest}'"


PREFLIGHT = {
    "access-control-request-method": "POST",
    "access-control-request-headers": "authorization,content-encoding,content-type,traceparent,x-request-id",
}


@pytest.mark.system
def test_pages_of_the_configured_origins_may_send_requests() -> None:
    ours, others = "https://a.example", "https://b.example"
    with running("--cors-origins", f"{ours}, http://localhost:3000") as service, service.client() as client:
        for origin, allowed in ((ours, True), (others, False)):
            preflight = client.options("/predict", headers={"origin": origin, **PREFLIGHT})
            assert (preflight.status_code == 200) == allowed
            answer = client.get("/models", headers={"origin": origin})
            assert answer.headers.get("access-control-allow-origin") == (origin if allowed else None)
            assert "access-control-allow-credentials" not in answer.headers
        answer = client.get("/models", headers={"origin": ours})
        assert "x-request-id" in answer.headers["access-control-expose-headers"]


def test_pages_of_other_origins_may_not_send_requests_by_default(client: httpx.Client) -> None:
    headers = {"origin": "https://a.example", **PREFLIGHT}
    assert client.options("/predict", headers=headers).status_code == 405
    assert "access-control-allow-origin" not in client.get("/models", headers=headers).headers
