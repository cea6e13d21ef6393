"""How an evaluation is divided among tasks of a scheduler: `xllms evaluate RECIPE --part 3/16`.

What is divided are lots: tasks of a table that one model is asked together. They hang on the recipe and the data, and
not on what is answered already, so all parts, wherever and whenever they run, agree on which are whose. A part's lots
stand next to each other, and those of one model do: so a part loads as few models as it can.
"""

from collections.abc import Sequence
from itertools import pairwise

from xllms.errors import InputError
from xllms.evaluation.benchmark import Task

Part = tuple[int, int]  # (3, 16): the third of sixteen


def check(part: Part) -> None:
    """Refuse a part that there is not.

    Raises:
        InputError: says which there are.
    """
    number, of = part
    if not 1 <= number <= of:
        raise InputError(f"part {number}/{of}: K/N is the Kth of N parts, with K from 1 to N, such as 3/16")


def lots(tasks: Sequence[Task], batch_items: int) -> list[tuple[Task, ...]]:
    """Tasks in their order, as many together as fit into one batch: small ones do not make small batches."""
    sizes = [len(task.items) for task in tasks]
    return [tuple(tasks[i] for i in those) for those in _cut(sizes, batch_items)]


def share(sizes: Sequence[int], part: Part) -> range:
    """Which lots of these sizes are a part's.

    They are cut so that the largest part is as small as it can be. Fewer parts than N may do for that; the last ones
    then have nothing to do, as where there are fewer lots.

    Args:
        sizes: items of each lot, in order.
        part: (K, N).
    """
    number, of = part
    low, high = max(sizes, default=0), sum(sizes)
    while low < high:
        middle = (low + high) // 2
        if len(_cut(sizes, middle)) <= of:
            high = middle
        else:
            low = middle + 1
    found = _cut(sizes, low)
    return found[number - 1] if number <= len(found) else range(0)


def _cut(sizes: Sequence[int], most: int) -> list[range]:
    """Neighbours of at most so many items together; a larger one stands alone."""
    cuts, held = [0], 0
    for at, size in enumerate(sizes):
        if held and held + size > most:
            cuts.append(at)
            held = 0
        held += size
    return [range(first, after) for first, after in pairwise([*cuts, len(sizes)]) if first < after]
