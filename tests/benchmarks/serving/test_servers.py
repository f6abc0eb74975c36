"""Servers in processes of their own."""

import os
import sys
from pathlib import Path

import httpx
import pytest

from benchmarks.serving.forms import UNREAD
from benchmarks.serving.load import measure
from benchmarks.serving.plan import Closed, Plan
from benchmarks.serving.requests import Digits, Kind
from benchmarks.serving.resident import resident
from benchmarks.serving.servers import PORT, Command, ServerError, contender, ours, running
from benchmarks.serving.threads import Role
from tests.waiting import HANG, until

pytestmark = pytest.mark.system

WITH_A_DAEMON = """
import http.server, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"], start_new_session=True)

class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(str(child.pid).encode())

http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Answer).serve_forever()
"""


def test_a_floor_is_started_and_stopped_and_its_processor_time_is_counted(digits: Digits) -> None:
    with running(contender("plain_fastapi", "floor", "--workers", "2")) as server:
        before = server.processor_seconds()
        result = measure(Plan(server.port, Closed(4, 0.5, warm_up=0), (Kind(form=UNREAD),)), digits)
        assert set(result.status) == {200}
        assert result.answered == len(result.status) > 0
        after = server.processor_seconds()
        assert after[Role.loop] > before[Role.loop] > 0
        assert after[Role.engine] == 0
    assert server.process.returncode is not None


def test_the_computing_thread_is_distinguished_from_the_event_loop(digits: Digits) -> None:
    with running(ours("--workers", "1", "--threads", "1", "--grace-seconds", "0", "--queue-seconds", "600")) as server:
        while not server.processor_seconds()[Role.engine]:
            result = measure(Plan(server.port, Closed(4, 0.1, warm_up=0), (Kind(images=16),)), digits)
            assert set(result.status) == {200}
        assert server.processor_seconds()[Role.loop] > 0
        assert max(resident(process) for process in server.processes()) > 1e7


def test_a_server_is_stopped_with_its_descendants_in_other_sessions() -> None:
    command = Command("parent", (sys.executable, "-c", WITH_A_DAEMON, PORT), ready="/")
    with running(command) as server:
        child = int(httpx.get(f"http://127.0.0.1:{server.port}/", timeout=HANG).text)
        assert server.processes() == [server.process.pid, child]
        os.kill(child, 0)
    until(lambda: not Path("/proc", str(child)).exists())


def test_a_server_that_does_not_start_says_why() -> None:
    program = "import sys; sys.exit('error: ' + ' '.join(sys.argv[1:]))"
    with (
        pytest.raises(ServerError, match=r"broken does not start: error: .*--odd"),
        running(Command("broken", (sys.executable, "-c", program, "--odd"))),
    ):
        pass


def test_the_error_names_a_missing_program() -> None:
    with (
        pytest.raises(ServerError, match=r"absent does not start: .*no-such-program"),
        running(Command("absent", ("no-such-program",))),
    ):
        pass
