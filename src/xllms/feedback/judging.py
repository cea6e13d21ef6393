"""A language model as judge: an engine with a rubric, answers in JSON that are checked, each two in both orders.

A judge prefers what it reads first (or last) however good it is: a pair counts when both orders are answered, for half
a win each, and how often the two agree is stated. Generative judges lose about 3 points of accuracy outside English
(M-RewardBench, arXiv 2410.15522), and know least of the languages that need it most: look at the agreement.
"""

import json
from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from typing import Literal, TypeVar

from pydantic import BaseModel, Field, ValidationError

from xllms.engines.protocol import Engine, Sampling
from xllms.feedback.rankers import Score
from xllms.languages import get
from xllms.records import Instruction

_GREEDY = Sampling()
_AGAIN = Sampling(temperature=0.7, top_p=0.95, seed=1)  # the same request would bring the same malformed answer
_RUBRIC = (
    "Judge by: correctness (is it true, and what was asked?), coherence (does it hold together, without repeating "
    "itself?), naturalness (would a native speaker write so?), and language: the answer must be in {language}. "
    "Length is no merit."
)
_POINTWISE = (
    "You judge an answer to an instruction. {rubric}\n\n[Instruction]\n{asked}\n[End of instruction]\n\n"
    "[Answer]\n{first}\n[End of answer]\n\n"
    'Reply with one JSON object and nothing else: {{"correctness": 1 to 5, "coherence": 1 to 5, '
    '"naturalness": 1 to 5, "in_language": true or false}}'
)
_PAIRWISE = (
    "You compare two answers to an instruction. {rubric} An answer in another language loses.\n\n"
    "[Instruction]\n{asked}\n[End of instruction]\n\n[Answer A]\n{first}\n[End of answer A]\n\n"
    "[Answer B]\n{second}\n[End of answer B]\n\n"
    'Reply with one JSON object and nothing else: {{"better": "A", "B" or "tie"}}'
)


class Marks(BaseModel):
    """A judge's word on one answer."""

    correctness: int = Field(ge=1, le=5)
    coherence: int = Field(ge=1, le=5)
    naturalness: int = Field(ge=1, le=5)
    in_language: bool


class Verdict(BaseModel):
    """A judge's word on two answers."""

    better: Literal["A", "B", "tie"]


Answer = TypeVar("Answer", Marks, Verdict)


class JudgeRanker:
    """Ranks by what an engine thinks.

    Args:
        engine: who judges.
        compare: `pairwise` asks of each two answers, in both orders (n² - n requests a prompt); `pointwise` of each.
        max_new_tokens: limit of one verdict.
    """

    name = "judge"

    def __init__(
        self, engine: Engine, compare: Literal["pairwise", "pointwise"] = "pairwise", max_new_tokens: int = 256
    ) -> None:
        self.engine = engine
        self.compare = compare
        self.max_new_tokens = max_new_tokens
        self.counts: Counter[str] = Counter()

    def score(self, record: Instruction, candidates: Sequence[str]) -> list[Score]:
        """One score per answer: its marks, or its share of wins; None where the judge gave no verdict.

        Raises:
            EngineError: the engine cannot go on.
        """
        if self.compare == "pointwise":
            asked = [_prompt(_POINTWISE, record, text) for text in candidates]
            return [_of_marks(marks) for marks in self._ask(asked, Marks)]
        return self._by_pairs(record, candidates)

    def _by_pairs(self, record: Instruction, candidates: Sequence[str]) -> list[Score]:
        pairs = list(combinations(range(len(candidates)), 2))
        asked = [
            _prompt(_PAIRWISE, record, candidates[first], candidates[second])
            for one, other in pairs
            for first, second in ((one, other), (other, one))
        ]
        verdicts = self._ask(asked, Verdict)
        points: list[list[float]] = [[] for _ in candidates]
        for (one, other), there, back in zip(pairs, verdicts[::2], verdicts[1::2], strict=True):
            if there is None or back is None:
                continue
            forward, backward = _points_of_first(there), 1 - _points_of_first(back)
            self.counts["orders agree" if forward == backward else "orders disagree"] += 1
            points[one].append((forward + backward) / 2)
            points[other].append(1 - (forward + backward) / 2)
        return [_of_points(won) for won in points]

    def _ask(self, prompts: Sequence[str], form: type[Answer]) -> list[Answer | None]:
        """A checked answer to each prompt; a malformed one is asked for once more, then there is no verdict."""
        self.counts["asked"] += len(prompts)
        answers = self._once(prompts, form, _GREEDY)
        again = [at for at, answer in enumerate(answers) if answer is None]
        if again:
            self.counts["malformed at first"] += len(again)
            for at, answer in zip(again, self._once([prompts[at] for at in again], form, _AGAIN), strict=True):
                answers[at] = answer
        self.counts["no verdict"] += answers.count(None)
        return answers

    def _once(self, prompts: Sequence[str], form: type[Answer], sampling: Sampling) -> list[Answer | None]:
        if not prompts:
            return []
        asked = [(prompt, "") for prompt in prompts]
        written = self.engine.write(asked, self.max_new_tokens, sampling, schema=form.model_json_schema())
        return [parse(answer.text, form) for answer in written]


def parse(text: str, form: type[Answer]) -> Answer | None:
    """The first JSON object in the text if it has the form, else None; what stands around it is let pass."""
    start = text.find("{")
    if start < 0:
        return None
    try:
        value, _ = json.JSONDecoder().raw_decode(text, start)
        return form.model_validate(value, strict=True)
    except (json.JSONDecodeError, RecursionError, ValidationError):
        return None


def _prompt(template: str, record: Instruction, first: str, second: str = "") -> str:
    asked = f"{record.instruction}\n\n{record.input}" if record.input else record.instruction
    rubric = _RUBRIC.format(language=get(record.language).name)
    return template.format(rubric=rubric, asked=asked, first=first, second=second)


def _of_marks(marks: Marks | None) -> Score:
    if marks is None:
        return Score(None, "no verdict")
    if not marks.in_language:
        return Score(0.0, "finds it in another language")
    mean = (marks.correctness + marks.coherence + marks.naturalness) / 3
    return Score(25 * (mean - 1), f"gives {marks.correctness}, {marks.coherence}, {marks.naturalness} of 5")


def _points_of_first(verdict: Verdict) -> float:
    return {"A": 1.0, "tie": 0.5, "B": 0.0}[verdict.better]


def _of_points(won: Sequence[float]) -> Score:
    if not won:
        return Score(None, "no verdict")
    share = sum(won) / len(won)
    return Score(100 * share, f"prefers it in {share:.0%} of {len(won)} comparisons")
