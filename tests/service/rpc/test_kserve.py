"""KServe's client works unchanged. Its package needs other versions, so it has an environment of its own."""

import json
import subprocess
import venv
from pathlib import Path

import pytest

from tests.service.api.v2.infer_requests import DIGITS
from tests.service.rpc.test_clients import by_rest
from tests.serving import Running
from tests.waiting import HANG

pytestmark = [pytest.mark.system, pytest.mark.nightly]

PROGRAM = """
import asyncio, json, sys
import numpy as np
from kserve import InferenceGRPCClient, InferInput, InferRequest

async def main():
    images = np.frombuffer(sys.stdin.buffer.read(), np.uint8).reshape(-1, 28, 28)
    client = InferenceGRPCClient(sys.argv[1], timeout=None)
    assert await client.is_server_live() and await client.is_server_ready() and await client.is_model_ready("mlp")
    answers = {}
    for binary in (True, False):
        image = InferInput("image", list(images.shape), "UINT8")
        image.set_data_from_numpy(images, binary_data=binary)
        answer = await client.infer(InferRequest("odenet-mnist", [image], parameters={"tolerance": "1e-4"}))
        answers[binary] = {each.name: each.as_numpy().tolist() for each in answer.outputs if each.datatype == "INT64"}
    assert answers[True] == answers[False]
    print(json.dumps(answers[True]))

asyncio.run(main())
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with KServe's package."""
    folder = tmp_path_factory.mktemp("kserve")
    venv.create(folder, with_pip=True)
    interpreter = folder / "bin" / "python"
    subprocess.run([interpreter, "-m", "pip", "install", "--quiet", "kserve"], check=True)
    return interpreter


def test_kserve_gets_the_answers_of_rest(service: Running, address: str, python: Path) -> None:
    done = subprocess.run(
        [python, "-c", PROGRAM, address],
        input=DIGITS[:3].tobytes(),
        stdout=subprocess.PIPE,
        check=True,
        timeout=HANG,
    )
    answer, expected = json.loads(done.stdout), by_rest(service, DIGITS[:3], tolerance=1e-4)
    assert answer["digit"] == [each["digit"] for each in expected]
    assert answer["nfe"] == [each["solver"]["nfe"] for each in expected]
