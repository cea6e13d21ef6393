"""What a judge said of a model's answers beside the baseline's: items won, tied and lost, and how sure the judge is.

A win rate of 50 % may be a hundred ties or a judge that takes whichever answer is shown first. What tells them apart is
how often its two orders say the same, so that never stands apart from what was won.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Tally:
    """Items of one language, or of all together.

    Attributes:
        judged: items with a verdict: those won, tied and lost.
        won: items whose two orders together favour the model.
        tied: the two orders favour neither, or one each.
        lost: they favour the baseline.
        unparsed: items without a verdict, which count in none of the others.
        orders_agree: items that the judge was asked, and said the same of in both orders.
        orders_disagree: items that it was asked, and did not.
    """

    judged: int
    won: int
    tied: int
    lost: int
    unparsed: int
    orders_agree: int
    orders_disagree: int

    @classmethod
    def read(cls, value: Mapping[str, Any]) -> "Tally":
        """As `scores.json` holds it."""
        return cls(**{name: int(value[name]) for name in cls.__dataclass_fields__})

    @classmethod
    def total(cls, tallies: Iterable["Tally"]) -> "Tally":
        """Over languages."""
        found = list(tallies)
        return cls(**{name: sum(getattr(one, name) for one in found) for name in cls.__dataclass_fields__})

    @property
    def asked(self) -> int:
        """Items that the judge was asked; equal answers and empty ones are decided without it."""
        return self.orders_agree + self.orders_disagree

    @property
    def agreement(self) -> float | None:
        """How often the two orders say the same, 0 to 1; None where the judge was asked nothing."""
        return self.orders_agree / self.asked if self.asked else None

    @property
    def lead(self) -> float:
        """Share won without the share lost: what languages are ordered by."""
        return (self.won - self.lost) / self.judged if self.judged else 0.0


Tallies = Mapping[str, Mapping[str, Tally]]  # language -> model -> items


def read_tallies(value: Any) -> dict[str, dict[str, Tally]]:
    """The part `judge` of one table's scores; nothing where none of its models was judged."""
    found = {
        code: {model: Tally.read(one) for model, one in by_model.items()} for code, by_model in (value or {}).items()
    }
    return {code: by_model for code, by_model in found.items() if by_model}


def totals(tallies: Tallies) -> dict[str, Tally]:
    """Each judged model over all languages."""
    models = dict.fromkeys(model for by_model in tallies.values() for model in by_model)
    return {
        model: Tally.total(by_model[model] for by_model in tallies.values() if model in by_model) for model in models
    }
