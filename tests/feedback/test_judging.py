"""The ranker `judge`: wins and marks as scores, both orders cancel a bias, and a real model that answers nonsense."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.engines.test_judging import RuleJudge, between, longer
from tests.feedback.test_ranking import record
from xllms.engines.local import LocalEngine
from xllms.engines.protocol import Sampling, Written
from xllms.feedback.judging import JudgeRanker
from xllms.models import load
from xllms.recipe import ModelSettings

GOOD, MIDDLE, BAD = "Die Niederlande, Norwegen und Schweden", "Norwegen", "?"


def test_a_judge_of_pairs_ranks_by_wins() -> None:
    ranker = JudgeRanker(RuleJudge(longer))
    scores = ranker.score(record(), [MIDDLE, GOOD, BAD])
    assert [score.value for score in scores] == [50.0, 100.0, 0.0]
    assert ranker.counts == {"asked": 6, "orders agree": 3, "no verdict": 0}
    assert "100% of 2 comparisons" in scores[1].reason


def test_a_judge_that_takes_the_first_prefers_nobody_and_is_found_out() -> None:
    ranker = JudgeRanker(RuleJudge(lambda prompt, sampling: '{"better": "A"}'))
    assert [score.value for score in ranker.score(record(), [GOOD, MIDDLE, BAD])] == [50.0] * 3
    assert ranker.counts["orders disagree"] == 3
    assert ranker.counts["orders agree"] == 0


def test_a_malformed_answer_is_asked_for_once_more_and_otherwise() -> None:
    seen: list[Sampling] = []

    def second_time(prompt: str, sampling: Sampling) -> str:
        seen.append(sampling)
        return longer(prompt, sampling) if sampling.temperature > 0 else "I prefer the first one."

    ranker = JudgeRanker(RuleJudge(second_time))
    assert [score.value for score in ranker.score(record(), [GOOD, BAD])] == [100.0, 0.0]
    assert ranker.counts == {"asked": 2, "malformed at first": 2, "orders agree": 1, "no verdict": 0}
    assert len(seen) == 4


def test_a_pair_that_is_judged_in_one_order_only_does_not_count() -> None:
    def only_when_good_is_first(prompt: str, _: Sampling) -> str:
        return '{"better": "A"}' if f"[Answer A]\n{GOOD}\n" in prompt else "{"

    ranker = JudgeRanker(RuleJudge(only_when_good_is_first))
    assert [score.value for score in ranker.score(record(), [GOOD, BAD])] == [None, None]
    assert ranker.counts["no verdict"] == 1


def test_marks_and_the_language() -> None:
    def marks(prompt: str, _: Sampling) -> str:
        answer = between(prompt, "[Answer]\n", "\n[End of answer]")
        good = 5 if answer == GOOD else 2
        german = answer != "Norway"
        return json.dumps({"correctness": good, "coherence": good, "naturalness": 5, "in_language": german})

    engine = RuleJudge(marks)
    scores = JudgeRanker(engine, "pointwise").score(record(), [GOOD, MIDDLE, "Norway"])
    assert [score.value for score in scores] == [100.0, 50.0, 0.0]
    assert engine.schemas[0] is not None
    assert set(engine.schemas[0]["required"]) == {"correctness", "coherence", "naturalness", "in_language"}


def test_the_judge_is_told_the_language_the_question_and_both_answers() -> None:
    prompts: list[str] = []

    def note(prompt: str, sampling: Sampling) -> str:
        prompts.append(prompt)
        return longer(prompt, sampling)

    asked = record().model_copy(update={"instruction": "Welche {Länder}?", "input": "Im Norden."})
    JudgeRanker(RuleJudge(note)).score(asked, ["{a}", "{b}"])
    assert len(prompts) == 2
    for part in ("must be in German", "Welche {Länder}?\n\nIm Norden.", "{a}", "{b}", '{"better": "A", "B" or "tie"}'):
        assert all(part in prompt for prompt in prompts)


@pytest.mark.parametrize("compare", ["pairwise", "pointwise"])
def test_a_real_model_that_writes_nonsense_gives_no_verdict(compare: Any, tiny_model_folder: Path) -> None:
    loaded = load(ModelSettings(name=str(tiny_model_folder), dtype="float32"), "alpaca")
    ranker = JudgeRanker(LocalEngine(loaded), compare, max_new_tokens=12)
    assert [score.value for score in ranker.score(record(), [GOOD, BAD])] == [None, None]
    assert ranker.counts == Counter({"asked": 2, "malformed at first": 2, "no verdict": 2})
    assert ranker.engine.usage.requests == 4


@pytest.mark.slow
def test_the_quickstarts_base_model_as_a_judge_is_measured_not_believed() -> None:
    """Gemma-3-270M base was never taught to judge: whatever it says, the counts must add up."""
    loaded = load(ModelSettings(), "alpaca")
    ranker = JudgeRanker(LocalEngine(loaded), "pairwise", max_new_tokens=24)
    scores = ranker.score(record(), [GOOD, MIDDLE, BAD])
    counts = ranker.counts
    assert counts["asked"] == 6
    assert counts["orders agree"] + counts["orders disagree"] <= 3
    if counts["no verdict"] == 0:
        assert counts["orders agree"] + counts["orders disagree"] == 3
    assert all(score.value is None or 0 <= score.value <= 100 for score in scores)


def test_what_the_engine_refuses_is_not_malformed_and_not_asked_for_again() -> None:
    class Refusing(RuleJudge):
        asked = 0

        def write(self, prompts: Any, *rest: Any, **more: Any) -> list[Written]:
            self.asked += len(prompts)
            return [
                Written("", False, "rule: refused: a prompt of 9000 tokens") if GOOD in instruction else answer
                for (instruction, _), answer in zip(prompts, super().write(prompts, *rest, **more), strict=True)
            ]

    engine = Refusing(longer)
    ranker = JudgeRanker(engine)
    assert [score.value for score in ranker.score(record(), [GOOD, MIDDLE, BAD])] == [None, 100.0, 0.0]
    assert ranker.counts == {"asked": 6, "refused": 4, "no verdict": 4, "orders agree": 1}
    assert engine.asked == 6
    marked = JudgeRanker(Refusing(lambda prompt, sampling: "no idea"), "pointwise")
    marked.score(record(), [GOOD, BAD])
    assert marked.counts == {"asked": 2, "refused": 1, "malformed at first": 1, "no verdict": 2}
