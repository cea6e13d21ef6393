"""What a training stage will do: examples, optimiser steps, tokens, and trie nodes after sharing.

Steps and the order of examples come from the very functions that training draws them with; the trie of a step is laid
out for up to `STEPS` of them, evenly spread, and the rest is taken to share as much.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from math import ceil
from random import Random

from xllms.planning.data import Part, Parts
from xllms.planning.tokens import Sequences, TokenCounter, nodes, shared_prefix
from xllms.recipe import TrainingSettings
from xllms.training.mix import draw_order, plan_mix

STEPS = 16
CPU_NODES, GPU_NODES = 512, 8192  # of a pass, where `token_budget` is not set
_ORDERED = 300_000  # examples whose very order is drawn; beyond, steps are drawn by the languages' shares


@dataclass(frozen=True)
class LanguageLoad:
    """One language in a training stage: examples that there are, tokens of one on average, tokens trained on."""

    code: str
    examples: int
    tokens_each: float
    tokens: float


@dataclass(frozen=True)
class Load:
    """The work of a training stage.

    Attributes:
        examples: distinct ones that fit.
        too_long: those that do not.
        drawn: examples trained on, over all steps.
        steps: optimiser steps.
        tokens: run without sharing.
        nodes: run with it.
        scored: positions whose next token is predicted.
        once: nodes of all examples once over, as the reference pass runs them.
        once_scored: likewise.
        exact: whether all steps and all records were looked at.
        languages: the same by language.
    """

    examples: int
    too_long: int
    drawn: int
    steps: int
    tokens: float
    nodes: float
    scored: float
    once: float
    once_scored: float
    exact: bool
    languages: tuple[LanguageLoad, ...] = field(default=())


@dataclass(frozen=True)
class _Encoded:
    kept: Sequence[Sequences]
    count: int
    too_long: int
    scale: float

    @property
    def tokens_each(self) -> float:
        return self.scale * sum(map(_tokens, self.kept)) / max(1, len(self.kept))


def training_load(
    parts: Parts,
    settings: TrainingSettings,
    seed: int,
    counter: TokenCounter,
    processes: int,
    budget: int = GPU_NODES,
    loss_on_all: bool = False,
) -> Load:
    """The work of training on these records.

    Args:
        parts: records or pairs by language.
        settings: of the stage.
        seed: of the run, which decides the order.
        counter: counts tokens.
        processes: that share a step.
        budget: nodes of a pass, where the settings leave them to the device.
        loss_on_all: whether prompts are scored, too.
    """
    encoded = {code: _encode(part, code, settings, counter) for code, part in sorted(parts.items())}
    encoded = {code: one for code, one in encoded.items() if one.count}
    too_long = sum(part.count for part in parts.values()) - sum(one.count for one in encoded.values())
    if not encoded:
        return Load(0, too_long, 0, 0, 0, 0, 0, 0, 0, True)
    languages = [code for code, one in encoded.items() for _ in range(one.count)]
    shares = plan_mix(languages, [1] * len(languages), settings.sampling, settings.epochs)
    draws = {share.language: share.draws for share in shares}
    total = sum(draws.values())
    steps = min(ceil(total / settings.batch_size), settings.max_steps or total)
    drawn = min(total, steps * settings.batch_size)
    if total <= _ORDERED:
        order = draw_order(languages, shares, seed)
        looked_at = _spread_steps(order, steps, settings.batch_size, encoded)
    else:
        looked_at = _random_steps(draws, min(steps, STEPS), settings.batch_size, encoded, seed)
    budget = settings.token_budget or budget
    laid_out = sum(_laid_out(step, budget, processes) for step in looked_at)
    alone = sum(scale * _tokens(s) for step in looked_at for s, scale in step)
    scored = sum(scale * _scored(s, loss_on_all) for step in looked_at for s, scale in step)
    whole = len(looked_at) == steps
    each = {code: one.tokens_each for code, one in encoded.items()}
    tokens = alone if whole else drawn / total * sum(draws[code] * each[code] for code in draws)
    part = tokens / max(1.0, alone)
    examples = sum(one.count for one in encoded.values())
    rows = tuple(
        LanguageLoad(code, one.count, each[code], drawn / total * draws[code] * each[code])
        for code, one in encoded.items()
    )
    sampled = any(len(one.kept) < one.count or one.scale != 1 for one in encoded.values())
    once = examples / max(1, drawn) * part
    return Load(
        examples, too_long, drawn, steps, tokens, laid_out * part, scored * part, laid_out * once, scored * once,
        whole and not sampled, rows,
    )  # fmt: skip


def tokens_of(parts: Parts, counter: TokenCounter) -> float:
    """Tokens of all records, without sharing, none left out."""
    return sum(
        part.count * _scale(part, code, counter) * _mean([_tokens(counter.sequences(one)) for one in part.sample])
        for code, part in parts.items()
    )


def _encode(part: Part, code: str, settings: TrainingSettings, counter: TokenCounter) -> _Encoded:
    scale = _scale(part, code, counter)
    kept = []
    for item in part.sample:
        sequences = counter.sequences(item)
        if scale * max(len(p) + len(c) for p, c in sequences) > settings.max_length:
            if settings.too_long == "drop" or any(scale * len(p) >= settings.max_length for p, _ in sequences):
                continue
            most = int(settings.max_length / scale)
            sequences = tuple((p, c[: most - len(p)]) for p, c in sequences)
        kept.append(sequences)
    count = round(part.count * len(kept) / max(1, len(part.sample)))
    return _Encoded(kept, count, part.count - count, scale)


def _scale(part: Part, code: str, counter: TokenCounter) -> float:
    return counter.against(code, part.text_in) if part.text_in else 1.0


_Step = list[tuple[Sequences, float]]


def _spread_steps(order: Sequence[int], steps: int, batch: int, encoded: Mapping[str, _Encoded]) -> list[_Step]:
    place = [(code, at) for code, one in encoded.items() for at in range(one.count)]
    wanted = range(steps) if steps <= STEPS else [at * steps // STEPS for at in range(STEPS)]
    return [_step([place[i] for i in order[step * batch : (step + 1) * batch]], encoded) for step in wanted]


def _random_steps(
    draws: Mapping[str, int], steps: int, batch: int, encoded: Mapping[str, _Encoded], seed: int
) -> list[_Step]:
    random = Random(seed)
    codes = [random.choices(list(draws), list(draws.values()), k=batch) for _ in range(steps)]
    return [_step([(code, random.randrange(1 << 30)) for code in step], encoded) for step in codes]


def _step(members: Sequence[tuple[str, int]], encoded: Mapping[str, _Encoded]) -> _Step:
    """The examples of a step; where only a sample is at hand, no stand-in twice: copies would share all they have."""
    found: _Step = []
    taken: Counter[str] = Counter()
    first: dict[str, int] = {}
    for code, at in members:
        one = encoded[code]
        if one.count > len(one.kept):
            at = first.setdefault(code, at) + taken[code]
            taken[code] += 1
        found.append((one.kept[at % len(one.kept)], one.scale))
    return found


def _laid_out(step: _Step, budget: int, processes: int) -> float:
    """Nodes of one step, cut into passes of like size within the budget as training cuts it, each a trie of its own."""
    row = sorted((sequences for sequences, _ in step), key=lambda one: one[0][0] + one[0][1])
    scale = sum(scale for _, scale in step) / max(1, len(step))
    fresh = [nodes(one) for one in row]
    added = [own - (shared_prefix(row[at - 1][0], row[at][0]) if at else 0) for at, own in enumerate(fresh)]
    bounds = _bounds(fresh, added, budget / scale, processes)
    parts = (row[start:stop] for start, stop in pairwise(bounds))
    return scale * sum(nodes([one for sequences in part for one in sequences]) for part in parts if part)


def _bounds(fresh: Sequence[int], added: Sequence[int], budget: float, processes: int) -> list[int]:
    upto = [0, *accumulate(added)]
    rounds = max(1, ceil(upto[-1] / (budget * processes)))
    while True:
        pieces = rounds * processes
        if pieces >= len(fresh):
            return list(range(len(fresh) + 1))
        bounds = [0, *(_nearest(upto, upto[-1] * piece / pieces) for piece in range(1, pieces)), len(fresh)]
        cuts = [(start, stop) for start, stop in pairwise(bounds) if start < stop]
        if all(fresh[start] + upto[stop] - upto[start + 1] <= max(budget, *fresh[start:stop]) for start, stop in cuts):
            return bounds
        rounds += 1


def _nearest(upto: Sequence[int], target: float) -> int:
    above = min(bisect_left(upto, target), len(upto) - 1)
    return above - (above > 0 and target - upto[above - 1] < upto[above] - target)


def _tokens(sequences: Sequences) -> int:
    return sum(len(prompt) + len(completion) - 1 for prompt, completion in sequences)


def _scored(sequences: Sequences, everything: bool) -> int:
    return sum(len(completion) + (len(prompt) - 1 if everything else 0) for prompt, completion in sequences)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / max(1, len(values))
