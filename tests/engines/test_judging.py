"""A model as judge: what a verdict is, both orders, one more try for nonsense, and what the judge is told."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xllms.engines.judging import (
    Case,
    Marks,
    PairVerdict,
    PointCase,
    Preferred,
    judge_pairs,
    judge_points,
    parse,
)
from xllms.engines.protocol import Sampling, Usage, Written

LONG = Case("Which countries?", "", "Norwegen und Schweden", "Norwegen", "deu_Latn")
SHORT = Case("Which countries?", "", "?", "Norwegen", "deu_Latn")


class RuleJudge:
    """An engine that judges by a rule, so that the right verdicts are known."""

    name = "rule"

    def __init__(self, rule: Callable[[str, Sampling], str]) -> None:
        self.rule = rule
        self.usage = Usage()
        self.schemas: list[Mapping[str, Any] | None] = []

    def write(
        self,
        prompts: Sequence[tuple[str, str]],
        max_new_tokens: int,
        sampling: Sampling = Sampling(),
        *,
        schema: Mapping[str, Any] | None = None,
    ) -> list[Written]:
        self.schemas.append(schema)
        return [Written(self.rule(instruction, sampling), True) for instruction, _ in prompts]


def between(text: str, start: str, end: str) -> str:
    return text.partition(start)[2].partition(end)[0]


def longer(prompt: str, _: Sampling) -> str:
    first = between(prompt, "[Answer A]\n", "\n[End of answer A]")
    second = between(prompt, "[Answer B]\n", "\n[End of answer B]")
    return json.dumps({"better": "A" if len(first) > len(second) else "B"})


def test_a_verdict_for_each_case_in_both_orders() -> None:
    engine = RuleJudge(longer)
    assert judge_pairs(engine, [LONG, SHORT, LONG]) == [
        PairVerdict(1.0, 1.0),
        PairVerdict(0.0, 0.0),
        PairVerdict(1.0, 1.0),
    ]
    assert len(engine.schemas) == 1, "all cases are one request to the engine, which batches"
    assert judge_pairs(engine, []) == []


@pytest.mark.parametrize(
    ("said", "verdict", "points", "agree", "unparsed"),
    [
        ('{"better": "A"}', PairVerdict(1.0, 0.0), 0.5, False, 0),
        ('{"better": "B"}', PairVerdict(0.0, 1.0), 0.5, False, 0),
        ('{"better": "tie"}', PairVerdict(0.5, 0.5), 0.5, True, 0),
        ("Both are good.", PairVerdict(None, None, 2), None, None, 2),
    ],
)
def test_what_a_judge_that_always_says_the_same_amounts_to(
    said: str, verdict: PairVerdict, points: float | None, agree: bool | None, unparsed: int
) -> None:
    (found,) = judge_pairs(RuleJudge(lambda prompt, sampling: said), [LONG])
    assert found == verdict
    assert (found.points, found.agree, found.unparsed) == (points, agree, unparsed)


def test_one_order_without_a_verdict_is_none_and_is_counted() -> None:
    def only_when_the_long_one_is_first(prompt: str, _: Sampling) -> str:
        return '{"better": "A"}' if f"[Answer A]\n{LONG.first}\n" in prompt else "{"

    (found,) = judge_pairs(RuleJudge(only_when_the_long_one_is_first), [LONG])
    assert found == PairVerdict(1.0, None, 1)
    assert (found.points, found.agree, found.unparsed) == (None, None, 1)


def test_points_per_answer_and_those_without() -> None:
    def marks(prompt: str, sampling: Sampling) -> str:
        if between(prompt, "[Answer]\n", "\n[End of answer]") == "?":
            return "no idea"
        return json.dumps({"correctness": 4, "coherence": 5, "naturalness": 3, "in_language": True})

    good, bad = judge_points(
        RuleJudge(marks), [PointCase("Which?", "", text, "deu_Latn") for text in ("Norwegen", "?")]
    )
    assert good.marks == Marks(correctness=4, coherence=5, naturalness=3, in_language=True)
    assert good.malformed == 0
    assert (bad.marks, bad.malformed) == (None, 1)


def test_a_reference_is_shown_where_there_is_one_and_not_mentioned_where_there_is_none() -> None:
    prompts: list[str] = []

    def note(prompt: str, sampling: Sampling) -> str:
        prompts.append(prompt)
        return '{"better": "A"}'

    judge_pairs(RuleJudge(note), [LONG, Case("Which?", "Here: {x}", "a", "b", "swh_Latn", reference="c {d}")])
    assert [("eference" in prompt) for prompt in prompts] == [False, False, True, True]
    assert all("must be in Swahili" in prompt and "Which?\n\nHere: {x}\n" in prompt for prompt in prompts[2:])
    assert all("[Reference: a good answer]\nc {d}\n[End of reference]" in prompt for prompt in prompts[2:])


@pytest.mark.parametrize(
    ("text", "better"),
    [
        ('{"better": "A"}', "A"),
        ('Sure!\n```json\n{"better": "tie", "why": "both {fine}"}\n```', "tie"),
        ('{"better": "C"}', None),
        ('{"better": "A"', None),
        ('{"worse": "A"}', None),
        ("A", None),
        ("", None),
        ("[1, 2]", None),
    ],
)
def test_what_is_a_verdict(text: str, better: str | None) -> None:
    found = parse(text, Preferred)
    assert (found.better if found else None) == better


@pytest.mark.parametrize("mark", [0, 6, "5", 4.5, True, None])
def test_marks_out_of_range_or_of_another_type_are_none(mark: object) -> None:
    good = {"correctness": 4, "coherence": 4, "naturalness": 4, "in_language": True}
    assert parse(json.dumps(good), Marks) is not None
    assert parse(json.dumps({**good, "coherence": mark}), Marks) is None


@given(st.text())
def test_no_text_breaks_the_parser(text: str) -> None:
    assert parse(text, Marks) is None
    assert parse("{" * 3000 + text, Preferred) is None
