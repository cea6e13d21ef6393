"""The engine against a server that misbehaves: answers in order, nothing asked twice, one line when it cannot go on."""

import email.utils
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import shared_data
from tests.engines.misbehaving_server import Asked, MisbehavingServer, Reply, Script, echo, error, says
from xllms.engines import server as server_module
from xllms.engines.cache import AnswerCache
from xllms.engines.openai import OpenAIEngine
from xllms.engines.protocol import EngineError, Sampling, Written
from xllms.engines.server import is_local
from xllms.errors import InputError
from xllms.prompting import alpaca_prompt
from xllms.recipe import OpenAISettings
from xllms.records import read_json_lines

pytest.importorskip("httpx", reason="httpx is not installed: pip install httpx")
KEY = "sk-never-to-be-seen-7f3a"
WARM = Sampling(temperature=0.8, top_p=0.9, seed=11)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "FIRST_PAUSE", 0.01)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def engine(server: MisbehavingServer, cache: AnswerCache | None = None, **more: Any) -> OpenAIEngine:
    return OpenAIEngine(OpenAISettings(model="m", base_url=server.url, **more), cache)


def ask(script: Script, prompts: int = 1, **more: Any) -> tuple[list[Written], OpenAIEngine, MisbehavingServer]:
    with MisbehavingServer(script) as server:
        writer = engine(server, **more)
        return writer.write([(f"prompt {i}", "") for i in range(prompts)], 20), writer, server


def seed_tasks() -> list[tuple[str, str]]:
    rows = [
        row
        for code in ("en", "fr", "ru", "zh")
        for _, row in list(read_json_lines(shared_data("seed_tasks", f"{code}.jsonl")))[:15]
    ]
    assert len({row["instruction"] for row in rows}) > 40
    return [(row["instruction"], row["input"]) for row in rows]


def test_real_prompts_are_answered_in_order_and_the_same_from_the_cache(tmp_path: Path) -> None:
    prompts = seed_tasks()
    cache = AnswerCache(tmp_path / "answers.sqlite")

    def shuffled(asked: Asked, number: int) -> Reply:
        return Reply(echo(asked, number).body, wait=0.02 * (number % 5))

    with MisbehavingServer(shuffled) as server:
        first = engine(server, cache)
        answers = first.write(prompts, 40)
        assert [a.text for a in answers] == [
            f"None {i}\n\n{t}".strip() if t else f"None {i}".strip() for i, t in prompts
        ]
        assert len(server.asked) == len(prompts) == first.usage.requests
        assert first.usage.output_tokens > first.usage.input_tokens > 0
        second = engine(server, AnswerCache(cache.path))
        assert second.write(prompts, 40) == answers
        assert len(server.asked) == len(prompts)
    assert second.usage.requests == second.usage.cached == len(prompts)
    assert second.usage.input_tokens == second.usage.money == 0
    assert engine(server, cache).write(prompts, 40) == answers, "a finished run needs no server"


def test_what_decides_an_answer_decides_whether_it_is_asked_for_again(tmp_path: Path) -> None:
    cache = AnswerCache(tmp_path / "a.sqlite")
    with MisbehavingServer() as server, MisbehavingServer() as moved:
        writer = engine(server, cache)
        writer.write([("a", "")], 20)
        engine(moved, cache).write([("a", "")], 20)
        assert (len(server.asked), len(moved.asked)) == (1, 0)
        writer.write([("a", "")], 21)
        writer.write([("a", "")], 20, WARM)
        writer.write([("a", "")], 20, schema={"type": "object"})
        engine(server, cache, api="completions").write([("a", "")], 20)
        OpenAIEngine(OpenAISettings(model="n", base_url=server.url), cache).write([("a", "")], 20)
        assert len(server.asked) == len(cache) == 6


@settings(max_examples=15, deadline=None)
@given(st.lists(st.sampled_from("abc"), max_size=9))
def test_equal_prompts_are_draws_of_their_own(letters: list[str]) -> None:
    with MisbehavingServer() as server:
        answers = engine(server).write([(letter, "") for letter in letters], 20, WARM)
    draws = [(letter, letters[:i].count(letter)) for i, letter in enumerate(letters)]
    assert [a.text for a in answers] == [f"{11 + draw} {letter}" for letter, draw in draws]
    assert all(asked.body["top_p"] == 0.9 for asked in server.asked)


def test_at_temperature_zero_no_seed_is_sent() -> None:
    _, _, server = ask(echo)
    assert server.asked[0].body == {
        "model": "m",
        "temperature": 0.0,
        "messages": [{"role": "user", "content": "prompt 0"}],
        "max_tokens": 20,
    }
    assert server.asked[0].path == "/v1/chat/completions"


def test_completions_are_asked_in_the_alpaca_prompt() -> None:
    def base_model(asked: Asked, number: int) -> Reply:
        return says("\n Paris \n\n", asked)

    with MisbehavingServer(base_model) as server:
        answers = engine(server, api="completions").write([("Capital?", "of {France}")], 20)
    assert answers == [Written("Paris", True)]
    assert server.asked[0].path == "/v1/completions"
    assert server.asked[0].prompt == alpaca_prompt("Capital?", "of {France}")
    assert server.asked[0].body["stop"] == ["\n\n###"]


@pytest.mark.parametrize("blank_first", [False, True])
def test_one_line_stops_at_the_line_s_end_unless_a_blank_line_comes_first(blank_first: bool) -> None:
    """A server that honours `stop`, as they do: a break in front of the answer leaves nothing of it."""
    whole = "\n" * blank_first + "Paris is it.\nWhat is the capital of Spain?"

    def base_model(asked: Asked, number: int) -> Reply:
        return says(whole.split("\n")[0] if "\n" in asked.body["stop"] else whole, asked, "length")

    def honest(asked: Asked, number: int) -> Reply:
        reply = base_model(asked, number)
        reply.body["choices"][0]["finish_reason"] = "stop" if "\n" in asked.body["stop"] else "length"
        return reply

    with MisbehavingServer(honest) as server:
        answers = engine(server, api="completions", retries=0).write([("Capital?", "")], 20, Sampling(one_line=True))
    assert answers == [Written("Paris is it.", True)]
    assert len(server.asked) == 1 + blank_first


def test_an_answer_at_the_limit_says_that_it_was_cut_off() -> None:
    answers, _, _ = ask(lambda asked, number: says("so far so", asked, "length"))
    assert answers == [Written("so far so", False)]


PASSING: dict[str, Reply] = {
    "500": error(500, "boom"),
    "503 with no JSON": Reply(b"<html>busy</html>", 503),
    "429": error(429, "slow down"),
    "408": error(408, "late"),
    "409": error(409, "conflict"),
    "425": error(425, "early"),
    "time-out": Reply({}, wait=1.5),
    "drip": Reply({"choices": [], "padding": "x" * 40}, drip=0.05),
    "cut body": Reply({"choices": [{"message": {"content": "half"}}]}, cut=100),
    "broken JSON": Reply(b'{"choices": [{"message": {"cont'),
    "JSON of another kind": Reply([1, 2]),
    "no choices": Reply({"choices": []}),
    "null choices": Reply({"choices": None, "usage": None}),
    "an error in a 200": Reply({"error": {"message": "overloaded"}}),
    "null content": Reply({"choices": [{"message": {"content": None}, "finish_reason": "stop"}]}),
    "empty content": Reply({"choices": [{"message": {"content": " \n"}, "finish_reason": "stop"}]}),
}


def patience(fault: str) -> float:
    """Seconds; long where time is not what fails, for this machine may be busy."""
    return 1.0 if fault in ("time-out", "drip") else 30.0


@pytest.mark.parametrize("fault", PASSING)
def test_what_passes_is_tried_again(fault: str) -> None:
    def script(asked: Asked, number: int) -> Reply:
        return PASSING[fault] if number < 2 else echo(asked, number)

    answers, writer, server = ask(script, timeout=patience(fault))
    assert [a.text for a in answers] == ["None prompt 0"]
    assert (len(server.asked), writer.usage.retries, writer.usage.requests) == (3, 2, 1)


@pytest.mark.parametrize("fault", [name for name in PASSING if "content" not in name])
def test_after_all_tries_one_line_says_how_many_and_why(fault: str, tmp_path: Path) -> None:
    cache = AnswerCache(tmp_path / "answers.sqlite")
    why = {"500": "HTTP 500: boom", "time-out": "no answer within 1 s", "drip": "no whole answer within 1 s"}
    why |= {"cut body": "without sending complete", "broken JSON": "no JSON: '{", "no choices": "without choices"}
    why |= {"an error in a 200": "without choices overloaded", "503 with no JSON": "HTTP 503: <html>busy</html>"}
    with MisbehavingServer(lambda asked, number: PASSING[fault]) as server:
        writer = engine(server, cache, retries=2, timeout=patience(fault))
        with pytest.raises(EngineError) as caught:
            writer.write([("a", "")], 20)
    assert len(server.asked) == 3
    said = str(caught.value)
    assert said.startswith(f"{server.url}: gave up after 3 tries of one request: ") and "\n" not in said
    assert why.get(fault, "HTTP" if fault.isdigit() else "") in said
    assert f"answers so far are in {cache.path}: run the same command again" in said


def test_an_answer_that_stays_blank_costs_that_request_alone() -> None:
    """A base model behind a chat endpoint may have nothing to say to one prompt, however often it is asked."""

    def script(asked: Asked, number: int) -> Reply:
        return says("" if asked.prompt == "prompt 1" else "fine", asked)

    answers, _, server = ask(script, prompts=3)
    assert [a.text for a in answers] == ["fine", "", "fine"]
    assert answers[1].error == "openai:m: answered nothing, 3 times"
    assert len(server.asked) == 5


def test_thinking_that_used_up_the_limit_is_not_asked_for_again() -> None:
    answers, _, server = ask(lambda asked, number: says(None, asked, "length"))
    assert len(server.asked) == 1
    assert not answers[0].ended
    assert "no text within 20 tokens" in answers[0].error


@pytest.mark.parametrize("as_date", [False, True])
def test_retry_after_holds_all_threads(as_date: bool) -> None:
    wish = email.utils.formatdate(time.time() + 3, usegmt=True) if as_date else "1"

    def script(asked: Asked, number: int) -> Reply:
        return error(429, "slow down", Retry_After=wish) if number == 0 else Reply(echo(asked, number).body, wait=0.1)

    _, writer, server = ask(script, prompts=12, concurrency=4)
    assert writer.usage.retries == 1
    assert len(server.asked) == 13
    times = sorted(asked.at - server.asked[0].at for asked in server.asked)
    early = [at for at in times if at < 0.9]
    assert len(early) <= 8, "only what was under way goes on"
    assert times[len(early)] >= 0.9


def test_a_server_that_is_closed_for_the_day_is_not_waited_for() -> None:
    with pytest.raises(EngineError, match=r"gave up after 1 try .*quota"):
        ask(lambda asked, number: error(429, "quota", Retry_After="86400"))


def test_as_many_requests_as_the_settings_say_are_under_way_at_once() -> None:
    together = threading.Barrier(6)  # opens only when six are inside
    inside, most, lock = 0, 0, threading.Lock()

    def script(asked: Asked, number: int) -> Reply:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        together.wait(timeout=10)
        time.sleep(0.05)
        with lock:
            inside -= 1
        return echo(asked, number)

    answers, _, _ = ask(script, prompts=24, concurrency=6)
    assert most == 6
    assert [a.text for a in answers] == [f"None prompt {i}" for i in range(24)]


def test_the_rate_limit_holds_over_all_threads_and_tries() -> None:
    def script(asked: Asked, number: int) -> Reply:
        return error(500, "boom") if number in (2, 5) else echo(asked, number)

    begun = time.monotonic()
    _, _, server = ask(script, prompts=10, concurrency=8, requests_per_minute=600)
    assert len(server.asked) == 12
    assert time.monotonic() - begun >= 1.1
    times = sorted(asked.at for asked in server.asked)
    assert max(sum(start <= at < start + 0.5 for at in times) for start in times) <= 9


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_refused_request_leaves_the_others_alone(status: int, tmp_path: Path) -> None:
    def script(asked: Asked, number: int) -> Reply:
        return error(status, "too long:\n 9000 tokens") if asked.prompt == "prompt 1" else echo(asked, number)

    cache = AnswerCache(tmp_path / "a.sqlite")
    answers, writer, server = ask(script, prompts=3, cache=cache)
    assert [a.text for a in answers] == ["None prompt 0", "", "None prompt 2"]
    assert answers[1] == Written("", False, f"openai:m: refused: HTTP {status}: too long: 9000 tokens")
    assert (len(server.asked), writer.usage.requests, writer.usage.retries, len(cache)) == (3, 3, 0, 2)


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (lambda asked: says("How to", asked, "content_filter"), "content filter"),
        (lambda asked: says(None, asked, refusal="I won't,\nsorry."), "declined: I won't, sorry."),
    ],
)
def test_what_a_filter_stops_is_no_answer(reply: Any, why: str) -> None:
    answers, _, server = ask(lambda asked, number: reply(asked))
    assert (answers[0].text, answers[0].ended, len(server.asked)) == ("", False, 1)
    assert why in answers[0].error and "\n" not in answers[0].error


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_names_its_variable_and_is_never_shown(
    status: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    caplog.set_level(logging.DEBUG)
    with MisbehavingServer(lambda asked, number: error(status, f"Incorrect API key: {KEY}")) as server:
        writer = engine(server, key_env="MY_KEY")
        with pytest.raises(EngineError, match="refuses the key in the environment variable MY_KEY") as caught:
            writer.write([("a", "")] * 4, 20)
    assert server.asked[0].headers["Authorization"] == f"Bearer {KEY}"
    seen = [str(caught.value), repr(caught.value), caplog.text, *capfd.readouterr(), repr(vars(writer))]
    assert len(caplog.records) > 0
    assert all(KEY not in text for text in seen)


@pytest.mark.parametrize("status", [400, 500])
def test_a_key_that_the_server_repeats_is_blotted_out(status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", f"{KEY}\n")
    with MisbehavingServer(lambda asked, number: error(status, f"you sent {KEY}")) as server:
        writer = engine(server, retries=0)
        try:
            said = writer.write([("a", "")], 20)[0].error
        except EngineError as failed:
            said = str(failed)
    assert "you sent ***" in said
    assert server.asked[0].headers["Authorization"] == f"Bearer {KEY}", "the line's end of a key file is no part of it"


@pytest.mark.parametrize("key", ["two words", "schlüssel", "a\nb"])
def test_a_key_that_no_header_can_carry_is_named_not_shown(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with pytest.raises(EngineError, match="OPENAI_API_KEY holds no key") as caught:
        ask(echo)
    assert key not in str(caught.value)


def test_a_local_server_is_asked_without_a_key() -> None:
    _, _, server = ask(echo)
    assert "Authorization" not in server.asked[0].headers


def test_a_local_server_that_wants_a_key_says_so() -> None:
    with pytest.raises(EngineError, match="wants a key, and there is none in the environment variable OPENAI_API_KEY"):
        ask(lambda asked, number: error(401, "no"))


def test_no_request_leaves_for_a_remote_server_without_a_key() -> None:
    writer = OpenAIEngine(OpenAISettings(model="m", base_url="https://llm.example.org/v1"))
    with pytest.raises(EngineError, match="no key: set the environment variable OPENAI_API_KEY"):
        writer.write([("a", "")], 20)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "10.1.2.3", "192.168.0.7", "gpu-node-07"])
def test_what_is_local(host: str) -> None:
    assert is_local(host)


@pytest.mark.parametrize("host", ["8.8.8.8", "2606:4700::1111", "api.openai.com", "localhost.example.org"])
def test_what_is_not(host: str) -> None:
    assert not is_local(host)


def test_an_unknown_model_names_itself_and_the_address() -> None:
    unknown = MisbehavingServer(lambda asked, number: error(404, "The model does not exist"))
    with unknown as server, pytest.raises(EngineError) as caught:
        engine(server).write([("a", "")], 20)
    assert len(server.asked) == 1
    assert f"{server.url}: knows no model m" in str(caught.value)
    assert "HTTP 404: The model does not exist" in str(caught.value)


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_where_nothing_listens_the_line_comes_at_once() -> None:
    url = f"http://127.0.0.1:{closed_port()}/v1"
    begun = time.monotonic()
    with pytest.raises(EngineError, match=f"nothing answers at {url}: start the server"):
        OpenAIEngine(OpenAISettings(model="m", base_url=url)).write([("a", "")] * 3, 20)
    assert time.monotonic() - begun < 2


def test_a_server_that_went_away_is_waited_for() -> None:
    with MisbehavingServer() as server:
        writer = engine(server, retries=3)
        writer.write([("a", "")], 20)
    with pytest.raises(EngineError, match="gave up after 4 tries"):
        writer.write([("b", "")], 20)


@pytest.mark.parametrize("url", ["127.0.0.1:8000/v1", "ftp://host/v1", "http://", "api.openai.com"])
def test_an_address_that_is_none_is_refused_before_anything_is_asked(url: str) -> None:
    with pytest.raises(InputError, match=r"base_url: .*no address"):
        OpenAIEngine(OpenAISettings(model="m", base_url=url))


def test_an_address_that_leads_elsewhere_is_named() -> None:
    with pytest.raises(EngineError, match="HTTP 301; correct base_url"):
        ask(lambda asked, number: Reply(b"", 301, {"Location": "https://elsewhere.example.org/v1"}))


def test_one_failure_for_good_ends_the_call_and_sends_nothing_more() -> None:
    def script(asked: Asked, number: int) -> Reply:
        return error(401, "no") if number == 3 else Reply(echo(asked, number).body, wait=0.02)

    with MisbehavingServer(script) as server:
        with pytest.raises(EngineError):
            engine(server, concurrency=2).write([(str(i), "") for i in range(200)], 20)
        sent = len(server.asked)
        time.sleep(0.1)
        assert len(server.asked) == sent < 30


def test_a_run_that_failed_half_way_asks_for_nothing_twice(tmp_path: Path) -> None:
    prompts = [(f"prompt {i}", "") for i in range(30)]
    cache = AnswerCache(tmp_path / "a.sqlite")
    with MisbehavingServer(lambda asked, number: error(401, "no") if number == 12 else echo(asked, number)) as server:
        with pytest.raises(EngineError):
            engine(server, cache, concurrency=3).write(prompts, 20)
        kept = len(cache)
        assert 10 <= kept < 30
        server.script = echo
        answers = engine(server, cache).write(prompts, 20)
        answered = [asked.prompt for at, asked in enumerate(server.asked) if at != 12]
    assert len(answered) == len(set(answered)) == 30
    assert [a.text for a in answers] == [f"None prompt {i}" for i in range(30)]


RUN = """
import sys
from pathlib import Path
from xllms.engines.cache import AnswerCache
from xllms.engines.openai import OpenAIEngine
from xllms.recipe import OpenAISettings
settings = OpenAISettings(model="m", base_url=sys.argv[1], concurrency=2)
OpenAIEngine(settings, AnswerCache(Path(sys.argv[2]))).write([(f"prompt {i}", "") for i in range(40)], 20)
"""


def test_a_killed_run_is_finished_from_the_cache(tmp_path: Path) -> None:
    def slow(asked: Asked, number: int) -> Reply:
        return Reply(echo(asked, number).body, wait=0.05)

    path = tmp_path / "a.sqlite"
    with MisbehavingServer(slow) as server:
        process = subprocess.Popen([sys.executable, "-c", RUN, server.url, str(path)])
        while len(server.asked) < 12 and process.poll() is None:
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        time.sleep(0.2)  # what it had under way still reaches the server
        before, cache = len(server.asked), AnswerCache(path)
        kept = len(cache)
        assert 8 <= kept < 40
        writer = engine(server, cache)
        answers = writer.write([(f"prompt {i}", "") for i in range(40)], 20)
    assert [a.text for a in answers] == [f"None prompt {i}" for i in range(40)]
    assert len(server.asked) - before == 40 - kept
    assert writer.usage.cached == kept


SCHEMA = {"type": "object", "properties": {"capital": {"type": "string"}}, "required": ["capital"]}


def forms(server: MisbehavingServer) -> list[str]:
    return [asked.body.get("response_format", {"type": "prompt"})["type"] for asked in server.asked]


@pytest.mark.parametrize("status", [400, 422, 500])
@pytest.mark.parametrize("takes", ["json_schema", "json_object", "prompt"])
def test_a_schema_is_passed_as_the_server_takes_it_and_that_is_remembered(status: int, takes: str) -> None:
    def script(asked: Asked, number: int) -> Reply:
        form = asked.body.get("response_format", {"type": "prompt"})["type"]
        return says('{"capital": "Paris"}', asked) if form == takes else error(status, f"no {form}")

    with MisbehavingServer(script) as server:
        writer = engine(server)
        answers = writer.write([(str(i), "input") for i in range(8)], 20, schema=SCHEMA)
        writer.write([("later", "")], 20, schema=SCHEMA)
    assert {a.text for a in answers} == {'{"capital": "Paris"}'}
    known = ["json_schema", "json_object", "prompt"]
    assert forms(server) == known[: known.index(takes)] + [takes] * 9
    last = server.asked[-1]
    if takes == "prompt":
        assert json.dumps(SCHEMA) in last.prompt and last.prompt.startswith("later")
    elif takes == "json_object":
        assert last.body["response_format"]["schema"] == SCHEMA
    else:
        assert last.body["response_format"]["json_schema"]["schema"] == SCHEMA


def test_in_an_alpaca_prompt_the_schema_stands_with_the_instruction() -> None:
    def script(asked: Asked, number: int) -> Reply:
        return error(400, "no") if "response_format" in asked.body else says("{}", asked)

    with MisbehavingServer(script) as server:
        engine(server, api="completions").write([("Capital?", "France")], 20, schema=SCHEMA)
    assert server.asked[-1].prompt.endswith("### Input:\nFrance\n\n### Response:\n")
    assert json.dumps(SCHEMA) in server.asked[-1].prompt


def test_a_request_that_is_too_long_in_any_form_decides_none() -> None:
    def script(asked: Asked, number: int) -> Reply:
        return error(400, "too long") if asked.prompt.startswith("long") else says("{}", asked)

    with MisbehavingServer(script) as server:
        answers = engine(server, concurrency=1).write([("long", ""), ("short", "")], 20, schema=SCHEMA)
    assert [bool(a.error) for a in answers] == [True, False]
    assert forms(server)[-1] == "json_schema"


def test_the_limit_of_tokens_is_named_as_the_server_knows_it() -> None:
    def script(asked: Asked, number: int) -> Reply:
        if "max_tokens" in asked.body:
            return error(400, "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.")
        return echo(asked, number)

    with MisbehavingServer(script) as server:
        answers = engine(server, concurrency=4).write([(str(i), "") for i in range(12)], 20)
    assert all(a.text and not a.error for a in answers)
    assert server.asked[-1].body["max_completion_tokens"] == 20
    assert sum("max_tokens" in asked.body for asked in server.asked) <= 4


def test_tokens_and_money_are_counted_whatever_the_answer_says() -> None:
    def script(asked: Asked, number: int) -> Reply:
        reply = says("" if number == 0 else "one two", asked)
        reply.body["usage"] = {"prompt_tokens": 1000, "completion_tokens": 2 * (number > 0)}
        return reply

    _, writer, _ = ask(script, prompts=3, concurrency=1, input_price=2.0, output_price=1e6)
    usage = writer.usage
    assert (usage.requests, usage.retries, usage.input_tokens, usage.output_tokens) == (3, 1, 4000, 6)
    assert usage.money == pytest.approx(4000 * 2e-6 + 6)


def test_half_a_surrogate_pair_becomes_text_that_a_file_takes() -> None:
    body = b'{"choices": [{"message": {"content": "cut \\ud83d"}, "finish_reason": "length"}]}'
    answers, _, _ = ask(lambda asked, number: Reply(body))
    assert answers == [Written("cut ?", False)]


def test_without_httpx_the_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "httpx", None)
    with pytest.raises(InputError, match="pip install httpx"):
        ask(echo)


def test_a_remote_engine_needs_no_torch() -> None:
    code = (
        "import sys, xllms.engines.openai; print([m for m in ('torch', 'transformers', 'httpx') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")
