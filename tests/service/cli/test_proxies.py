"""The command ``predict`` with proxies in the environment."""

import pytest

from tests.service.cli.command_line import NOWHERE, SEVEN, port, predict
from tests.serving import Running

pytestmark = pytest.mark.system


def test_a_service_on_this_machine_is_asked_without_a_proxy(service: Running) -> None:
    for host in ("127.0.0.1", "localhost"):
        for variable in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
            done = predict(SEVEN, "--url", f"http://{host}:{port(service)}", **{variable: NOWHERE})
            assert (done.returncode, done.stderr) == (0, "")


def test_a_proxy_that_does_not_answer_is_named_without_its_password() -> None:
    proxy = NOWHERE.replace("//", "//user:secret@")
    done = predict(SEVEN, "--url", "http://service.example", http_proxy=proxy)
    assert done.returncode == 6
    assert "http://service.example cannot be reached through the proxy 127.0.0.1:1 in HTTP_PROXY" in done.stderr
    assert "NO_PROXY=service.example avoids it" in done.stderr
    assert "secret" not in done.stderr


def test_a_proxy_without_a_scheme_is_named() -> None:
    done = predict(SEVEN, "--url", "http://service.example", http_proxy=NOWHERE.removeprefix("http://"))
    assert done.returncode == 6
    assert "through the proxy 127.0.0.1:1 in HTTP_PROXY" in done.stderr


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:1", "gopher://127.0.0.1:1", "http://[::1"])
def test_a_proxy_that_cannot_be_used_is_refused_without_a_traceback(proxy: str) -> None:
    done = predict(SEVEN, "--url", "http://service.example", ALL_PROXY=proxy)
    assert done.returncode == 6
    assert done.stderr.startswith("error: HTTP_PROXY, HTTPS_PROXY or ALL_PROXY: ")
    assert "Traceback" not in done.stderr
