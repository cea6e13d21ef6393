"""Statistics of each item whose sums give the score of all: one value, one interval, one paired test for every metric.

A mean needs (value, 1) of an item, a rate (hit, decided), BLEU ten counts, chrF++ twenty-four. Resampling the items
is then one matrix product, whatever the metric: with 1,000 items, 1,000 draws and chrF++'s columns an interval takes
5 ms of CPU and a paired test 9 ms, so three models in 100 languages, each pair compared, take 4 s.

Shares of 0/1 outcomes get Wilson's interval, because a bootstrap of ten right answers of ten can only draw right ones
and would say [1, 1]; Wilson's says [0.72, 1]. Balanced accuracy, a mean of such shares, gets the same by squaring and
adding (Zou and Donner 2008). Other metrics have the bootstrap's percentiles: of two items at least, and too narrow for
few. Where a bootstrap collapses, since the items are alike, its interval is what so many items without an exception
leave open: of ten, Wilson's interval says, up to 28 % may still be others.
"""

import math
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

DRAWS = 1000
_Z = 1.959963984540054
_ALIKE = 1e-9  # what sums of the same numbers in another order differ by at most
_FEW, _MORE = 10, 5  # below so many extreme permutations, so many times the draws
_CELLS = 4_000_000  # of items x draws held at a time: 4 MB as counts, 32 MB while they are multiplied


@dataclass(frozen=True)
class ItemStatistics:
    """What each item adds to a score.

    Attributes:
        rows: (items, k); their sum over the items is all that the score needs.
        score: (..., k) sums to (...) scores; NaN where they define none, as of an item that does not count.
        outcomes: the columns are pairs (hits, of) of 0/1 outcomes, and the score, 0 to 1, grows with their ratios.
        signature: how the figures were made, such as sacrebleu's own; empty where the metric's name says it.
    """

    rows: Floats
    score: Callable[[Floats], Floats]
    outcomes: bool = False
    signature: str = ""

    def __post_init__(self) -> None:
        if self.rows.ndim != 2 or not len(self.rows):
            raise ValueError(f"a score needs one item at least, a row each: shape {self.rows.shape}")


@dataclass(frozen=True)
class PairedTest:
    """Model b against model a on the same items; `difference` is b - a."""

    difference: float
    low: float
    high: float
    p: float


def value(stats: ItemStatistics) -> float:
    """The score of all items; NaN if none of them counts, as when no answer's language could be told."""
    return float(stats.score(stats.rows.sum(axis=0)))


def by_item(stats: ItemStatistics) -> Floats:
    """(items,) the score of each item alone."""
    return stats.score(stats.rows)


def counted(stats: ItemStatistics) -> int:
    """How many items the score is of: those that have one by themselves, or all where none has but together they do."""
    alone = int(np.sum(~np.isnan(by_item(stats))))
    return alone or (0 if math.isnan(value(stats)) else len(stats.rows))


def interval(stats: ItemStatistics, draws: int = DRAWS, seed: int = 0, top: float | None = None) -> tuple[float, float]:
    """95 % interval of the score over items.

    Args:
        stats: of the items.
        draws: bootstrap samples; shares need none.
        seed: of the resampling. The same seed draws the same items of every model.
        top: scores lie between 0 and this; needed where items are alike, to say how far others could move the score.

    Returns:
        (low, high); NaN twice where nothing can be said: no item that counts, one item of a bootstrap, or items that
        are alike and no top.
    """
    if _is_mean_of_shares(stats):
        return _interval_of_shares(stats.rows.sum(axis=0))
    if len(stats.rows) < 2:
        return math.nan, math.nan
    low, high = _percentiles(stats.score(_resampled(stats.rows, draws, seed)))
    return _interval_of_alike(stats, top) if _collapsed(low, high) else (low, high)


def paired(
    a: ItemStatistics, b: ItemStatistics, draws: int = DRAWS, seed: int = 0, top: float | None = None
) -> PairedTest:
    """Whether model b scores other than model a on the same items.

    The interval is a paired bootstrap's; p is that of a two-sided permutation test (approximate randomisation: the two
    models' answers to an item are swapped or not), (extreme + 1) / (draws + 1). Where few permutations are as extreme,
    more are drawn: with 1,000, no language of a hundred could pass Holm's correction at 5 %. Of a rate, p is over the
    items that count in both models or in neither: swapped with the others, how many can be told would pass for the
    rate (one wrong answer of five against none of twenty gave p 0.0016).

    Args:
        a: statistics of one model.
        b: of the other on the same items in the same order.
        draws: samples of each.
        seed: of the resampling.
        top: scores lie between 0 and this; as of `interval`.

    Raises:
        ValueError: not the same items, or not the same metric.
    """
    if a.rows.shape != b.rows.shape or a.signature != b.signature:
        raise ValueError(f"not the same items or metric: {a.rows.shape} and {b.rows.shape}")
    difference = value(b) - value(a)
    if math.isnan(difference):
        return PairedTest(difference, math.nan, math.nan, 1.0)
    low, high = _interval_of_difference(a, b, draws, seed, top)
    alike = _count_alike(a, b)
    if not alike.any():
        return PairedTest(difference, low, high, 1.0)
    a, b = replace(a, rows=a.rows[alike]), replace(b, rows=b.rows[alike])
    tested = value(b) - value(a)
    if math.isnan(tested):
        return PairedTest(difference, low, high, 1.0)
    extreme = _extreme(a, b, tested, draws, seed)
    if extreme < _FEW:
        draws *= _MORE
        extreme = _extreme(a, b, tested, draws, seed)
    return PairedTest(difference, low, high, (extreme + 1) / (draws + 1))


def _count_alike(a: ItemStatistics, b: ItemStatistics) -> NDArray[np.bool_]:
    """(items,) whether an item counts for as much in both models; a metric other than a share takes them all."""
    if not a.outcomes:
        return np.ones(len(a.rows), dtype=np.bool_)
    alike: NDArray[np.bool_] = (a.rows[:, 1::2] == b.rows[:, 1::2]).all(axis=1)
    return alike


def _extreme(a: ItemStatistics, b: ItemStatistics, difference: float, draws: int, seed: int) -> int:
    """How many permutations differ by as much."""
    swapped = _swapped(b.rows - a.rows, draws, seed)
    permuted = b.score(b.rows.sum(axis=0) - swapped) - a.score(a.rows.sum(axis=0) + swapped)
    # A permutation that leaves no item that counts speaks for no difference.
    return int(np.sum(~(np.abs(permuted) < abs(difference) - 1e-9 * max(1.0, abs(difference)))))


def mean_of(values: ArrayLike, signature: str = "") -> ItemStatistics:
    """Mean of one value per item. Of 0/1 outcomes take `accuracy` or `rate`, for the sake of their interval."""
    column = np.asarray(values, dtype=np.float64)
    return ItemStatistics(np.stack([column, np.ones_like(column)], axis=-1), _mean_ratio, signature=signature)


def accuracy(correct: ArrayLike) -> ItemStatistics:
    """Share of items that are right, 0 to 1."""
    hits = np.asarray(correct, dtype=bool)
    return rate(hits, np.ones_like(hits))


def rate(hits: ArrayLike, of: ArrayLike) -> ItemStatistics:
    """Share of hits among the items that count, 0 to 1: those in a wrong language of those whose language was told.

    Args:
        hits: (items,) booleans.
        of: (items,) booleans; an item where it is False counts in neither.
    """
    counted = np.asarray(of, dtype=bool)
    return ItemStatistics(_pairs(np.asarray(hits, dtype=bool) & counted, counted), _mean_ratio, outcomes=True)


def balanced_accuracy(correct: ArrayLike, gold: Sequence[Hashable]) -> ItemStatistics:
    """Mean over the gold classes of the share that is right, 0 to 1: always the same answer gives 1 / classes.

    Args:
        correct: (items,) booleans.
        gold: the right answer of each item, which is its class.
    """
    classes = sorted(set(gold), key=repr)
    member = np.array([[label == one for one in classes] for label in gold], dtype=bool)
    return ItemStatistics(_pairs(member & np.asarray(correct, dtype=bool)[:, None], member), _mean_ratio, outcomes=True)


def _pairs(hits: NDArray[np.bool_], of: NDArray[np.bool_]) -> Floats:
    """(items, 2 x classes) from two (items,) or (items, classes): hits, of, hits, of, ..."""
    return np.stack([hits, of], axis=-1).reshape(len(of), -1).astype(np.float64)


def _mean_ratio(sums: Floats) -> Floats:
    """Mean over the pairs of columns of first / second, without pairs that count nothing; NaN if that leaves none."""
    above, below = sums[..., 0::2], sums[..., 1::2]
    counted = below > 0
    ratios = np.divide(above, below, out=np.zeros_like(above), where=counted)
    pairs = counted.sum(axis=-1)
    total = ratios.sum(axis=-1)
    return np.where(pairs > 0, total / np.maximum(pairs, 1), np.nan)


def _is_mean_of_shares(stats: ItemStatistics) -> bool:
    return stats.outcomes and stats.score is _mean_ratio


def _interval_of_shares(sums: Floats) -> tuple[float, float]:
    """Wilson's interval of one share; of a mean of several, their distances to it squared and added."""
    hits, of = sums[0::2], sums[1::2]
    hits, of = hits[of > 0], of[of > 0]
    if not len(of):
        return math.nan, math.nan
    share = hits / of
    low, high = _wilson(hits, of)
    below, above = (np.sqrt(np.sum(side**2)) / len(of) for side in (share - low, high - share))
    return max(0.0, float(share.mean() - below)), min(1.0, float(share.mean() + above))


def _wilson(hits: Floats, of: Floats) -> tuple[Floats, Floats]:
    """The interval of each share; of a share of nothing, 0 to 1."""
    middle = (hits + _Z**2 / 2) / (of + _Z**2)
    reach = _Z * np.sqrt(hits * (of - hits) / np.maximum(of, 1) + _Z**2 / 4) / (of + _Z**2)
    return middle - reach, middle + reach


def _interval_of_alike(stats: ItemStatistics, top: float | None) -> tuple[float, float]:
    """Of items that no resampling tells apart: the score where as many more are others as their number leaves open."""
    if stats.outcomes:
        sums = stats.rows.sum(axis=0)
        ends = np.clip(_wilson(sums[0::2], sums[1::2]), 0.0, 1.0)
        low, high = stats.score(np.stack([ends, np.ones_like(ends)], axis=-1).reshape(2, -1))
        return float(low), float(high)
    score = value(stats)
    if top is None or not -_ALIKE <= score <= top + _ALIKE:  # NaN too
        return math.nan, math.nan
    open_ = _open(stats)
    return max(0.0, score * (1 - open_)), min(top, score + open_ * (top - score))


def _interval_of_difference(
    a: ItemStatistics, b: ItemStatistics, draws: int, seed: int, top: float | None
) -> tuple[float, float]:
    if len(a.rows) < 2 and not a.outcomes:
        return math.nan, math.nan
    differences = b.score(_resampled(b.rows, draws, seed)) - a.score(_resampled(a.rows, draws, seed))
    low, high = _percentiles(differences)
    if not _collapsed(low, high):
        return low, high
    most = 1.0 if a.outcomes else top
    if most is None or max(abs(low), abs(high)) > most + _ALIKE:
        return math.nan, math.nan
    reach = max(_open(a), _open(b)) * most
    return max(-most, low - reach), min(most, high + reach)


def _open(stats: ItemStatistics) -> float:
    """The share of all items that may be others though none of these is: the upper end of none of so many."""
    none = stats.rows.sum(axis=0) if _is_mean_of_shares(stats) else np.array([0.0, counted(stats)])
    none[0::2] = 0
    return _interval_of_shares(none)[1]


def _collapsed(low: float, high: float) -> bool:
    return high - low <= _ALIKE * max(1.0, abs(low))


def _percentiles(scores: Floats) -> tuple[float, float]:
    defined = scores[~np.isnan(scores)]
    if not len(defined):
        return math.nan, math.nan
    low, high = np.percentile(defined, [2.5, 97.5])
    return float(low), float(high)


def _resampled(rows: Floats, draws: int, seed: int) -> Floats:
    """(draws, k) sums over items drawn with replacement."""
    return np.concatenate([_counts(len(rows), *block) @ rows for block in _blocks(len(rows), draws, seed)])


def _swapped(difference: Floats, draws: int, seed: int) -> Floats:
    """(draws, k) sums of the differences of items whose answers are swapped, each with probability one half."""
    return np.concatenate(
        [_halves(len(difference), *one) @ difference for one in _blocks(len(difference), draws, seed)]
    )


def _blocks(items: int, draws: int, seed: int) -> Iterator[tuple[int, int, int]]:
    """(draws, seed, block) of as many blocks as memory asks for."""
    size = max(1, _CELLS // items)
    for start in range(0, draws, size):
        yield min(size, draws - start), seed, start


def _counts(items: int, draws: int, seed: int, block: int) -> Floats:
    return _small_counts(items, draws, seed, block).astype(np.float64)


def _halves(items: int, draws: int, seed: int, block: int) -> Floats:
    return _small_halves(items, draws, seed, block).astype(np.float64)


# Every language with as many items is resampled alike, so the draws are kept: half of the time goes into them.
@lru_cache(maxsize=8)
def _small_counts(items: int, draws: int, seed: int, block: int) -> NDArray[np.uint16]:
    drawn = np.random.default_rng((seed, block, 0)).integers(items, size=(draws, items))
    flat = (drawn + items * np.arange(draws)[:, None]).ravel()
    return np.bincount(flat, minlength=draws * items).reshape(draws, items).astype(np.uint16)


@lru_cache(maxsize=8)
def _small_halves(items: int, draws: int, seed: int, block: int) -> NDArray[np.bool_]:
    return np.random.default_rng((seed, block, 1)).integers(2, size=(draws, items), dtype=np.uint8).astype(bool)
