"""p-values of many languages' tests, adjusted so that a hundred of them do not find five differences by chance.

Adjusted values are held against the same 0.05. Holm's keep the chance of any false finding below it: use them to say
in which languages a model is better. Benjamini and Hochberg's keep the expected share of false ones among the findings
below it: more power, for a table to look through. Holm's hold whatever the languages have to do with each other; the
others hold where tests are independent or rise together, as languages of one model do.
"""

from collections.abc import Sequence


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values that control the family-wise error rate (Holm 1979), in the order given.

    Raises:
        ValueError: a value outside 0 to 1.
    """
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, at in enumerate(_ascending(p_values)):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[at]))
        adjusted[at] = highest
    return adjusted


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values that control the false discovery rate (Benjamini and Hochberg 1995), in the order given.

    Raises:
        ValueError: a value outside 0 to 1.
    """
    adjusted, lowest = [0.0] * len(p_values), 1.0
    for rank, at in reversed(list(enumerate(_ascending(p_values), 1))):
        lowest = min(lowest, p_values[at] * (len(p_values) / rank))
        adjusted[at] = lowest
    return adjusted


def _ascending(p_values: Sequence[float]) -> list[int]:
    if wrong := [p for p in p_values if not 0 <= p <= 1]:
        raise ValueError(f"p-values are 0 to 1: {wrong[0]}")
    return sorted(range(len(p_values)), key=p_values.__getitem__)
