"""Rankers: each scores a prompt's answers from 0 to 100 and says why; a panel averages them by weight.

Those that compare answers of one prompt only (a judge of pairs, the implicit reward, likelihoods) give the chance to
win against the others, so that all can be averaged.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from xllms.feedback.candidates import Candidate, judge, rank
from xllms.languages import Language, get
from xllms.languages.confusion import line_pass_rate, word_pass_rate
from xllms.metrics.similarity import COVERED, Embedder, SentenceEncoder, similarity
from xllms.metrics.text import chrf
from xllms.records import Prompt

_REFERENCE = "reference"


@dataclass(frozen=True)
class Score:
    """What one ranker says of one answer: 0 to 100, or None for no verdict; and why."""

    value: float | None
    reason: str


class Ranker(Protocol):
    """Who scores answers."""

    name: str
    counts: Counter[str]  # what is worth stating of its work; the panel empties it after each prompt

    def score(self, record: Prompt, candidates: Sequence[str]) -> list[Score]:
        """One score per answer, in order."""
        ...


class LanguageRanker:
    """Mean of line pass rate and word pass rate (after Marchisio et al. 2024, arXiv 2406.20052), of one answer."""

    name = "language"

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def score(self, record: Prompt, candidates: Sequence[str]) -> list[Score]:
        """One score per answer; an empty one has none."""
        language = get(record.language)
        return [self._score(text, language) for text in candidates]

    def _score(self, text: str, language: Language) -> Score:
        if not text.strip():
            return Score(None, "empty")
        lines, spoken = line_pass_rate(text, language), word_pass_rate(text, language)
        return Score(50 * (lines + spoken), f"lines {lines:.0%}, words {spoken:.0%} in the language")


class ReferenceRanker:
    """chrF++ to the reference, and by a share how near it is in meaning; no score where there is no reference.

    In a language that the encoder does not know (`metrics.similarity.COVERED`) chrF++ is all, which is counted.

    Args:
        share: of the nearness in meaning, 0 to 1; what is left is chrF++'s.
        embedder: who tells it; by default, where there is a share, `SentenceEncoder`.

    Raises:
        InputError: the encoder is not installed.
    """

    name = _REFERENCE

    def __init__(self, share: float = 0.0, embedder: Embedder | None = None) -> None:
        self.share = share
        self._embedder = (embedder or SentenceEncoder()) if share else None
        self.counts: Counter[str] = Counter()

    def score(self, record: Prompt, candidates: Sequence[str]) -> list[Score]:
        """One score per answer."""
        if not record.output:
            self.counts["no reference"] += 1
            return [Score(None, "no reference")] * len(candidates)
        values = [chrf([text], [record.output]) for text in candidates]
        covered = record.language in COVERED
        if self.share and not covered:
            self.counts["similarity: language not covered"] += 1
        if self._embedder is None or not covered:
            return [Score(value, f"chrF++ {value:.0f}") for value in values]
        near = similarity([record.output] * len(candidates), candidates, self._embedder)
        return [self._mixed(value, cosine) for value, cosine in zip(values, near, strict=True)]

    def _mixed(self, value: float, cosine: float) -> Score:
        meaning = 100 * min(1.0, max(0.0, cosine))
        mixed = (1 - self.share) * value + self.share * meaning
        return Score(mixed, f"chrF++ {value:.0f}, similarity {cosine:.2f}")


def against_others(rewards: Sequence[float], scale: float = 1.0) -> list[float]:
    """0 to 100: the mean chance to be preferred to each other answer, by Bradley and Terry; 50 where it is alone."""
    if len(rewards) < 2:
        return [50.0] * len(rewards)
    chances = [[_sigmoid(scale * (own - other)) for other in rewards] for own in rewards]
    return [100 * (sum(row) - row[at]) / (len(row) - 1) for at, row in enumerate(chances)]


def _sigmoid(x: float) -> float:
    return 0.5 * (1 + math.tanh(x / 2))  # does not overflow


class Panel:
    """Several rankers as one.

    Args:
        rankers: each with its weight; at weight 0 it is not asked. Whether an answer is in the language decides before
            all of them.
    """

    def __init__(self, rankers: Sequence[tuple[Ranker, float]]) -> None:
        self.rankers = [(ranker, weight) for ranker, weight in rankers if weight > 0]
        self.counts: Counter[str] = Counter()
        self._is_chrf = bool(self.rankers) and all(
            isinstance(ranker, ReferenceRanker) and not ranker.share for ranker, _ in self.rankers
        )

    def rank(self, record: Prompt, origins: Mapping[str, str]) -> tuple[list[Candidate], Candidate | None]:
        """A prompt's answers, best first, and its reference, if there is one.

        Where no ranker has a verdict on an answer, or on the reference, nothing tells which is better: such answers
        are left out unless they are in the wrong language.

        Args:
            record: the prompt.
            origins: answer -> who wrote it.
        """
        language = get(record.language)
        judged = [judge(text, record, language, origin) for text, origin in origins.items()]
        reference = judge(record.output, record, language, _REFERENCE) if record.output else None
        if reference and self._is_chrf:
            return rank(judged), reference
        texts = [*origins, reference.text] if reference else [*origins]
        totals = self._totals(record, list(dict.fromkeys(texts)))
        scored = [_with(candidate, totals[candidate.text]) for candidate in judged]
        comparable = reference is None or totals[reference.text] is not None
        kept = [c for c in scored if not c.in_language or (comparable and totals[c.text])]
        self.counts["without a verdict"] += len(scored) - len(kept)
        return rank(kept), _with(reference, totals[reference.text]) if reference else None

    def take_counts(self) -> Counter[str]:
        """What was counted since the last call."""
        taken, self.counts = self.counts, Counter()
        return taken

    def _totals(self, record: Prompt, texts: Sequence[str]) -> dict[str, tuple[float, str] | None]:
        """Per answer the weighted mean of its scores, with the notes; None without any.

        A ranker without a verdict on one answer only is taken to find it as good as the others: left out of that
        answer's mean, it would move the answer by what it says of all.
        """
        parts: dict[str, list[tuple[float, float, str]]] = {text: [] for text in texts}
        for ranker, weight in self.rankers:
            scores = ranker.score(record, texts)
            known = [score.value for score in scores if score.value is not None]
            for text, score in zip(texts, scores, strict=True):
                if score.value is not None:
                    parts[text].append((weight, score.value, f"{ranker.name} {score.reason}"))
                elif known:
                    parts[text].append((weight, sum(known) / len(known), ""))
            self.counts.update({f"{ranker.name}: {key}": count for key, count in ranker.counts.items()})
            ranker.counts.clear()
        return {text: _mean(given) for text, given in parts.items()}


def _mean(parts: Sequence[tuple[float, float, str]]) -> tuple[float, str] | None:
    notes = [note for _, _, note in parts if note]
    if not notes:
        return None
    total = sum(weight for weight, _, _ in parts)
    return sum(weight * value for weight, value, _ in parts) / total, ", ".join(notes)


def _with(candidate: Candidate, total: tuple[float, str] | None) -> Candidate:
    value, notes = total or (0.0, "no verdict")
    return Candidate(candidate.text, candidate.origin, candidate.chrf, candidate.status, candidate.found, value, notes)
