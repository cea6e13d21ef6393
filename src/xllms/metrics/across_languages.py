"""Many languages' scores as a few numbers, never the one without the other."""

import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

_DRAWS = 2000
_FEWEST = 5  # languages: of fewer, a bootstrap has little more than the least and the greatest to draw


def mean(values: Sequence[float]) -> float:
    """Arithmetic mean.

    Raises:
        ValueError: no values.
    """
    if not values:
        raise ValueError("no values")
    return sum(values) / len(values)


def democratization(scores: Sequence[float]) -> float | None:
    """Mean over best of the languages' scores (Huang et al. 2023); None if the best is 0.

    It rewards uniformly bad models: show the mean beside it.
    """
    best = max(scores, default=0.0)
    return mean(scores) / best if best > 0 else None


@dataclass(frozen=True)
class Spread:
    """How far languages lie apart: standard deviation over these very languages, the worst score and the best."""

    deviation: float
    worst: float
    best: float


def spread(scores: Sequence[float], *, higher_is_better: bool = True) -> Spread:
    """Spread of the languages' scores, to stand beside their mean: a democratization of 0.8 may hide a language at 0.

    Raises:
        ValueError: no scores.
    """
    if not scores:
        raise ValueError("no values")
    low, high = min(scores), max(scores)
    worst, best = (low, high) if higher_is_better else (high, low)
    return Spread(statistics.pstdev(scores), worst, best)


def interval(values: Sequence[float], seed: int = 0) -> tuple[float, float] | None:
    """95 % bootstrap interval of the mean over languages, which are what is resampled; None below five of them."""
    if len(values) < _FEWEST:
        return None
    draw = random.Random(seed)
    means = sorted(mean(draw.choices(values, k=len(values))) for _ in range(_DRAWS))
    return means[round(0.025 * (_DRAWS - 1))], means[round(0.975 * (_DRAWS - 1))]


@dataclass(frozen=True)
class Comparison:
    """Model b against model a over the same languages; `difference` is b - a, its interval None of too few."""

    difference: float
    low: float | None
    high: float | None
    p: float
    wins: int
    ties: int
    losses: int


def compare(a: Sequence[float], b: Sequence[float], *, higher_is_better: bool = True, seed: int = 0) -> Comparison:
    """Paired comparison over languages: bootstrap interval, and a two-sided sign-flip permutation test.

    Args:
        a: one score per language.
        b: scores of the other model in the same languages.
        higher_is_better: decides what counts as a win of b.
        seed: of the resampling.
    """
    differences = [y - x for x, y in zip(a, b, strict=True)]
    observed = mean(differences)
    low, high = interval(differences, seed) or (None, None)
    draw = random.Random(seed)
    extreme = 0
    for _ in range(_DRAWS):
        flipped = sum(d if draw.random() < 0.5 else -d for d in differences) / len(differences)
        extreme += abs(flipped) >= abs(observed) - 1e-12
    better = [d if higher_is_better else -d for d in differences]
    return Comparison(
        difference=observed,
        low=low,
        high=high,
        p=(extreme + 1) / (_DRAWS + 1),
        wins=sum(d > 0 for d in better),
        ties=sum(d == 0 for d in better),
        losses=sum(d < 0 for d in better),
    )
