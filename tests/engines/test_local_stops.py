"""`Sampling.stop` means the same to a server's engine as to the local one, whatever the server makes of it."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.engines.misbehaving_server import Asked, MisbehavingServer, Reply, says
from xllms.engines.cache import Answer, AnswerCache, request_key
from xllms.engines.openai import OpenAIEngine
from xllms.engines.protocol import Sampling, Written, before_stop
from xllms.errors import InputError
from xllms.recipe import OpenAISettings

pytest.importorskip("httpx", reason="httpx is not installed: pip install httpx")
SHOTS = Sampling(stop=("\n\n", "Question:"))


@pytest.mark.parametrize("api", ["chat", "completions"])
def test_a_server_is_told_and_its_answer_cut_where_it_does_not_listen(api: str, tmp_path: Path) -> None:
    def deaf(asked: Asked, number: int) -> Reply:
        return says(" 42\n\nQuestion: and then?", asked, reason="length")

    with MisbehavingServer(deaf) as server:
        cache = AnswerCache(tmp_path / "answers.sqlite")
        engine = OpenAIEngine(OpenAISettings(model="m", base_url=server.url, api=api), cache)
        assert engine.write([("Question: 6 × 7?", "")], 20, SHOTS) == [Written("42", True)]
        assert engine.write([("Question: 6 × 7?", "")], 20, Sampling(stop=("?",)))[0].text.endswith("and then")
        told = [asked.body["stop"] for asked in server.asked]
    assert told[0][:2] == ["\n\n", "Question:"]
    assert told[1][0] == "?"
    assert all(len(stops) <= 4 for stops in told)


def test_answers_that_were_kept_before_there_were_stops_are_found(tmp_path: Path) -> None:
    cache = AnswerCache(tmp_path / "answers.sqlite")
    before = {
        "engine": "openai",
        "model": "m",
        "api": "chat",
        "prompt": "Hello?",
        "occurrence": 0,
        "max_new_tokens": 20,
        "sampling": {"temperature": 0.0, "top_p": 1.0, "seed": 0, "one_line": False},
        "schema": None,
    }
    kept = Written("as it was", True)
    cache.keep(request_key(before), Answer(kept))
    with MisbehavingServer() as server:
        engine = OpenAIEngine(OpenAISettings(model="m", base_url=server.url), cache)
        assert engine.write([("Hello?", "")], 20) == [kept]
        assert server.asked == []


@given(st.text(alphabet="ab\n", max_size=12), st.lists(st.text(alphabet="ab\n", min_size=1, max_size=3), max_size=3))
def test_what_stands_before_the_first_stop(text: str, stops: list[str]) -> None:
    cut = before_stop(text, tuple(stops))
    assert text.startswith(cut)
    assert not any(stop in cut for stop in stops)
    assert cut == text or any(text[len(cut) :].startswith(stop) for stop in stops)


def test_an_empty_stop_is_refused() -> None:
    with pytest.raises(InputError, match="stop: an empty text would end every answer"):
        Sampling(stop=("\n", ""))
