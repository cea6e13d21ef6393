"""The pairs that preference training will have: real ones where they are made or the user's own, else as many as the
feedback stage should make, with answers as long as the references.
"""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from xllms.errors import InputError
from xllms.feedback.prompts import read_prompts
from xllms.formats import read_preferences
from xllms.languages import resolve
from xllms.planning.data import Data, Item, Part, Parts, part_of, together
from xllms.recipe import DpoSettings, FeedbackSettings, Recipe
from xllms.records import Preference, Prompt, Ranking
from xllms.training.pairs import read_pairs

_RANKED = 4  # answers of a ranking: right, right elsewhere, wrong, wrong elsewhere


@dataclass(frozen=True)
class Pairs:
    """Training pairs by language, how many are held back, and where they come from."""

    parts: Parts
    held_back: Parts
    source: str

    @property
    def count(self) -> int:
        """All of them."""
        return sum(part.count for parts in (self.parts, self.held_back) for part in parts.values())


def feedback_prompts(recipe: Recipe, data: Data) -> Parts:
    """The prompts of the feedback stage, by the language to answer in.

    Raises:
        InputError: none of its languages has any.
    """
    settings = recipe.feedback
    there = data.splits["feedback"]
    if settings.prompts_from:
        there = {code: part_of(found) for code, found in read_prompts(settings.prompts_from)[0].items()}
    wanted = [language.code for language in resolve(settings.languages)]
    parts = {code: _first(there[code], settings.prompts) for code in wanted if code in there}
    if not parts:
        place = "feedback.prompts_from" if settings.prompts_from else "the feedback split of the recipe's data"
        raise InputError(
            f"plan: feedback: none of its languages ({', '.join(settings.languages[:5])}) has prompts in {place}; "
            "raise `feedback` of a source in instructions.sources, or name other feedback.languages"
        )
    return parts


def training_pairs(recipe: Recipe, prompts: Parts, feedback_is_done: bool) -> Pairs:
    """The pairs of the dpo stage.

    Raises:
        InputError: a file of the user's own cannot be read.
    """
    settings = recipe.dpo
    if feedback_is_done:
        out = recipe.output
        records, _ = read_pairs(settings, out / "feedback", out / "instructions")
        kept, held = held_back(records, settings.validation_share, recipe.seed)
        return Pairs(_by_language(kept), _by_language(held), "the pairs that the finished feedback stage wrote")
    found = _expected(prompts, recipe.feedback, settings)
    for file in settings.data:
        about = {"language": file.language, "instruction_language": file.instruction_language}
        own = list(read_preferences(file.path, file.form, **about, skip_bad=file.skip_bad))
        for code, part in _by_language(own).items():
            found[code] = together(found.get(code), part)
    both = {code: _parted(part, settings.validation_share) for code, part in found.items()}
    return Pairs(
        {code: kept for code, (kept, _) in both.items()},
        {code: held for code, (_, held) in both.items()},
        "ASSUMED: " + _assumption(recipe.feedback, settings),
    )


def held_back(records: Sequence[Item], share: float, seed: int) -> tuple[list[Item], list[Item]]:
    """Records to train on and to validate with, whole facts at a time, as training parts them."""
    facts = [_fact(record) for record in records]
    sizes = Counter(facts)
    order = sorted(sizes)
    random.Random(seed).shuffle(order)
    held: set[str] = set()
    lacking = share * len(records)
    for fact in order:
        if abs(lacking - sizes[fact]) < abs(lacking):
            held.add(fact)
            lacking -= sizes[fact]
    kept = [record for record, fact in zip(records, facts, strict=True) if fact not in held]
    return kept, [record for record, fact in zip(records, facts, strict=True) if fact in held]


def _fact(record: Item) -> str:
    return record.parallel_id or f"{record.instruction}\n{record.input}"


def _each(feedback: FeedbackSettings, dpo: DpoSettings) -> int:
    """Pairs of a prompt: each answer made to be rejected, and the worst sample, or all of them."""
    if dpo.loss.takes_ranking:
        return 1
    worse = sum(one.samples for one in feedback.sampled) if feedback.pairing.mode == "all" else 1
    return min(len(feedback.rejects) + worse, feedback.pairing.max_pairs or 1 << 30)


def _assumption(feedback: FeedbackSettings, dpo: DpoSettings) -> str:
    number = _each(feedback, dpo)
    what = "a ranking" if dpo.loss.takes_ranking else f"{number} pairs"
    return f"{what} of each prompt, answers as long as the references"


def _expected(prompts: Parts, feedback: FeedbackSettings, dpo: DpoSettings) -> Parts:
    each = _each(feedback, dpo)
    answers = _RANKED if dpo.loss.takes_ranking else 2
    parts: Parts = {}
    for code, part in prompts.items():
        sample = [one for one in part.sample if isinstance(one, Prompt)]
        said = [one.output or one.instruction for one in sample]
        made = tuple(
            _made(one, [said[(at + more) % len(said)] + "." * more for more in range(answers)])
            for at, one in enumerate(sample)
        )
        size = sum(len(one.to_json().encode()) + 1 for one in made) / max(1, len(made))
        parts[code] = Part(part.count * each, made, part.count * each * size, part.text_in)
    return parts


def _made(prompt: Prompt, answers: Sequence[str]) -> Preference | Ranking:
    about = {
        "id": prompt.id,
        "instruction": prompt.instruction,
        "input": prompt.input,
        "language": prompt.language,
        "instruction_language": prompt.instruction_language,
        "parallel_id": prompt.parallel_id,
    }
    if len(answers) > 2:
        return Ranking(**about, answers=tuple(answers))
    chosen, rejected = answers
    return Preference(**about, chosen=chosen, rejected=rejected, chosen_reason="reference", rejected_reason="sample")


def _by_language(records: Sequence[Item]) -> Parts:
    found: dict[str, list[Item]] = {}
    for record in records:
        found.setdefault(record.language, []).append(record)
    return {code: part_of(found[code]) for code in sorted(found)}


def _first(part: Part, most: int) -> Part:
    count = min(part.count, most)
    whole = len(part.sample) == part.count
    return Part(count, part.sample[:count] if whole else part.sample, part.bytes * count / part.count, part.text_in)


def _parted(part: Part, share: float) -> tuple[Part, Part]:
    held = round(share * part.count)
    each = part.bytes / part.count
    kept = Part(part.count - held, part.sample, each * (part.count - held), part.text_in)
    return kept, Part(held, part.sample, each * held, part.text_in)
