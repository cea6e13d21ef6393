"""The ranker `judge`: an engine's verdicts (`engines.judging`) as scores; how it judged is counted."""

from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from typing import Literal

from xllms.engines.judging import Case, Marks, PairVerdict, PointCase, PointVerdict, judge_pairs, judge_points
from xllms.engines.protocol import Engine
from xllms.feedback.rankers import Score
from xllms.records import Prompt


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
        self.refusal = ""

    def take_refusal(self) -> str:
        """What the engine said when it first refused a verdict since the last call; empty where it did not."""
        taken, self.refusal = self.refusal, ""
        return taken

    def score(self, record: Prompt, candidates: Sequence[str]) -> list[Score]:
        """One score per answer: its marks, or its share of wins; None where the judge gave no verdict.

        Raises:
            EngineError: the engine cannot go on.
        """
        return self._by_marks(record, candidates) if self.compare == "pointwise" else self._by_pairs(record, candidates)

    def _by_marks(self, record: Prompt, candidates: Sequence[str]) -> list[Score]:
        cases = [PointCase(record.instruction, record.input, text, record.language) for text in candidates]
        verdicts = judge_points(self.engine, cases, self.max_new_tokens)
        unparsed = sum(verdict.marks is None for verdict in verdicts)
        self._count(len(cases), verdicts, unparsed)
        return [_of_marks(verdict.marks) for verdict in verdicts]

    def _by_pairs(self, record: Prompt, candidates: Sequence[str]) -> list[Score]:
        pairs = list(combinations(range(len(candidates)), 2))
        cases = [
            Case(record.instruction, record.input, candidates[one], candidates[other], record.language)
            for one, other in pairs
        ]
        verdicts = judge_pairs(self.engine, cases, self.max_new_tokens)
        self._count(2 * len(cases), verdicts, sum(verdict.unparsed for verdict in verdicts))
        points: list[list[float]] = [[] for _ in candidates]
        for (one, other), verdict in zip(pairs, verdicts, strict=True):
            if verdict.points is not None:
                self.counts["orders agree" if verdict.agree else "orders disagree"] += 1
                points[one].append(verdict.points)
                points[other].append(1 - verdict.points)
        return [_of_points(won) for won in points]

    def _count(self, asked: int, verdicts: Sequence[PairVerdict] | Sequence[PointVerdict], unparsed: int) -> None:
        self.counts.update({"asked": asked, "no verdict": unparsed})
        if malformed := sum(verdict.malformed for verdict in verdicts):
            self.counts["malformed at first"] += malformed
        if refused := sum(verdict.refused for verdict in verdicts):
            self.counts["refused"] += refused
            self.refusal = self.refusal or next(verdict.error for verdict in verdicts if verdict.error)


def _of_marks(marks: Marks | None) -> Score:
    if marks is None:
        return Score(None, "no verdict")
    if not marks.in_language:
        return Score(0.0, "finds it in another language")
    mean = (marks.correctness + marks.coherence + marks.naturalness) / 3
    return Score(25 * (mean - 1), f"gives {marks.correctness}, {marks.coherence}, {marks.naturalness} of 5")


def _of_points(won: Sequence[float]) -> Score:
    if not won:
        return Score(None, "no verdict")
    share = sum(won) / len(won)
    return Score(100 * share, f"prefers it in {share:.0%} of {len(won)} comparisons")
