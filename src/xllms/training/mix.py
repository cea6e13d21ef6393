"""The language mix: how often each language is drawn, and the order in which its examples come.

natural       every example once per epoch
temperature   a language's share is its count to the power alpha, made to sum to one (Devlin et al. 2018)
unimax        every language alike, but none more than `cap` times over; from Chung et al. 2023, alg. 1
"""

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from xllms.languages import get
from xllms.recipe import LanguageMix


@dataclass(frozen=True)
class LanguageShare:
    """What one language gives to a run.

    Attributes:
        language: FLORES code.
        examples: distinct examples that there are.
        tokens: tokens of these, prompts included.
        draws: examples drawn over the whole run.
        share: of all draws.
        epochs: times that the language is gone through.
    """

    language: str
    examples: int
    tokens: int
    draws: int
    share: float
    epochs: float


def plan_mix(languages: Sequence[str], lengths: Sequence[int], mix: LanguageMix, epochs: float) -> list[LanguageShare]:
    """How many examples of each language a run draws.

    Args:
        languages: FLORES code of each example.
        lengths: tokens of each example.
        mix: the rule.
        epochs: of the natural mix; the others draw as many examples in all, but `unimax` stops at its cap.
    """
    tokens: dict[str, int] = defaultdict(int)
    counts: dict[str, int] = defaultdict(int)
    for language, length in zip(languages, lengths, strict=True):
        counts[language] += 1
        tokens[language] += length
    quotas = _quotas(counts, mix, epochs)
    total = sum(quotas.values())
    return [
        LanguageShare(
            language,
            counts[language],
            tokens[language],
            quotas[language],
            quotas[language] / total,
            quotas[language] / counts[language],
        )
        for language in sorted(counts)
    ]


def draw_order(languages: Sequence[str], shares: Sequence[LanguageShare], seed: int) -> list[int]:
    """The examples of a run in the order in which they are trained on.

    Each language is shuffled, gone through as often as its share says, and spread evenly over the run: its j-th of n
    draws falls at random into the j-th n-th of it. No step leans to a language, and the same seed gives the same order.

    Args:
        languages: FLORES code of each example.
        shares: from `plan_mix`.
        seed: of the shuffle.

    Returns:
        Indices into `languages`; one for each draw.
    """
    by_language: dict[str, list[int]] = defaultdict(list)
    for index, language in enumerate(languages):
        by_language[language].append(index)
    placed: list[tuple[float, int]] = []
    for share in shares:
        draw = random.Random(f"{seed} {share.language}")
        own = by_language[share.language]
        drawn: list[int] = []
        while len(drawn) < share.draws:
            drawn += draw.sample(own, min(len(own), share.draws - len(drawn)))
        placed += [((at + draw.random()) / share.draws, index) for at, index in enumerate(drawn)]
    return [index for _, index in sorted(placed)]


def format_mix(shares: Sequence[LanguageShare], shown: int = 12) -> str:
    """The mix as a table, largest share first; beyond `shown` languages the rest is one line."""
    rows = sorted(shares, key=lambda s: (-s.share, s.language))
    lines = [f"{'language':<28}{'examples':>10}{'tokens':>12}{'share':>9}{'epochs':>8}"]
    listed = rows if len(rows) <= shown + 1 else rows[:shown]
    for row in listed:
        name = f"{get(row.language).name} ({row.language})"[:27]
        lines.append(f"{name:<28}{row.examples:>10,}{row.tokens:>12,}{row.share:>9.2%}{row.epochs:>8.2f}")
    rest = rows[len(listed) :]
    if rest:
        low, high = min(r.epochs for r in rest), max(r.epochs for r in rest)
        examples, tokens, share = (sum(getattr(r, key) for r in rest) for key in ("examples", "tokens", "share"))
        spread = f"{low:.2f}" if low == high else f"{low:.2f}-{high:.2f}"
        lines.append(f"{f'{len(rest)} more':<28}{examples:>10,}{tokens:>12,}{share:>9.2%}  {spread:>6}")
    return "\n".join(lines)


def mix_as_json(shares: Sequence[LanguageShare]) -> list[dict[str, Any]]:
    """The mix as kept in the run's folder."""
    return [asdict(share) for share in shares]


def _quotas(counts: Mapping[str, int], mix: LanguageMix, epochs: float) -> dict[str, int]:
    budget = epochs * sum(counts.values())
    if mix.kind == "unimax":
        return _whole(_unimax(counts, budget, mix.cap))
    weight = {language: count ** (1.0 if mix.kind == "natural" else mix.alpha) for language, count in counts.items()}
    total = sum(weight.values())
    return _whole({language: budget * part / total for language, part in weight.items()})


def _unimax(counts: Mapping[str, int], budget: float, cap: float) -> dict[str, float]:
    """Smallest language first: an equal part of what is left, or the cap if that is less."""
    quotas: dict[str, float] = {}
    for place, language in enumerate(sorted(counts, key=lambda code: (counts[code], code))):
        fair = budget / (len(counts) - place)
        quotas[language] = min(fair, cap * counts[language])
        budget -= quotas[language]
    return quotas


def _whole(quotas: Mapping[str, float]) -> dict[str, int]:
    """Whole numbers with the same sum, by largest remainder; a language in the data is drawn at least once."""
    floors = {language: max(1, int(quota)) for language, quota in quotas.items()}
    missing = round(sum(quotas.values())) - sum(floors.values())
    by_remainder = sorted(quotas, key=lambda code: (int(quotas[code]) - quotas[code], code))
    for language in by_remainder[: max(0, missing)]:
        floors[language] += 1
    return floors
