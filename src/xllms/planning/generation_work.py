"""What models will be asked to write and to rank: in the feedback stage, and in the evaluation.

Each prompt is read once, however many answers are drawn from it. Answers of a tuned model are taken to be as long as
the references, those of the base model as long as the limit allows: it has not learnt to stop. A batch runs until its
last answer ends, so its steps are taken to be the limit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil

from xllms.errors import InputError
from xllms.evaluation.benchmark import Asked, Item, Table
from xllms.evaluation.benchmarks import find
from xllms.languages import resolve
from xllms.planning.data import Data, Part, Parts, part_of, spread
from xllms.planning.tokens import Ids, TokenCounter, nodes
from xllms.recipe import OpenAISettings, Recipe, Settings
from xllms.recipe.evaluation import MODELS
from xllms.recipe.feedback import OWN_ENGINES
from xllms.records import Prompt

_ROWS = 128  # answers that the engine in this process writes side by side at most
_ITEMS = 64  # of a task, in which tokens are counted


@dataclass(frozen=True)
class Generation:
    """The work of asking models.

    Attributes:
        prompts: asked.
        answers: written, or ranked choices.
        read: nodes run to read prompts and choices.
        scored: of these, those that the output head scores.
        written: tokens.
        decode_steps: passes of the model that write one token of each answer in a batch.
        tables: languages times tables times models: files that are written.
        bytes: of the texts that are kept.
        fees: what servers charge.
        notes: what is not counted.
    """

    prompts: int = 0
    answers: int = 0
    read: float = 0
    scored: float = 0
    written: float = 0
    decode_steps: float = 0
    tables: int = 0
    bytes: float = 0
    fees: float = 0
    notes: tuple[str, ...] = ()

    def __add__(self, other: "Generation") -> "Generation":
        return Generation(
            self.prompts + other.prompts,
            self.answers + other.answers,
            self.read + other.read,
            self.scored + other.scored,
            self.written + other.written,
            self.decode_steps + other.decode_steps,
            self.tables + other.tables,
            self.bytes + other.bytes,
            self.fees + other.fees,
            tuple(dict.fromkeys((*self.notes, *other.notes))),
        )


def feedback_work(recipe: Recipe, prompts: Parts, counter: TokenCounter) -> Generation:
    """Answers to the feedback prompts, of the run's own models; others' as fees or as a note."""
    settings = recipe.feedback
    groups = ceil(len(prompts) / settings.batch_languages)
    asked, limit = sum(part.count for part in prompts.values()), settings.max_new_tokens
    usual = _mean_answer(prompts, counter, limit)
    total = Generation(prompts=asked)
    for drawn in settings.sampled:
        answers, long = asked * drawn.samples, limit if drawn.engine == "base" else usual
        read = _read(prompts, counter, max(1, _ROWS // drawn.samples))
        if drawn.engine in OWN_ENGINES:
            steps = groups * ceil(answers / groups / _ROWS) * limit
            total += Generation(0, answers, read, answers, answers * long, steps)
        else:
            whole = sum(part.count * _mean(_prompts(part, counter)) for part in prompts.values()) * drawn.samples
            total += _of_others(recipe.engines.get(drawn.engine), drawn.engine, whole, answers * long)
    unasked = [one.type for one in settings.rankers if one.weight and one.type in ("judge", "implicit", "translation")]
    notes = tuple(f"feedback: the ranker `{name}` is not counted" for name in dict.fromkeys(unasked))
    size = sum(part.bytes for part in prompts.values())
    spoken = sum(_answer_bytes(part) * part.count for part in prompts.values()) / max(1, asked)
    return total + Generation(tables=len(prompts), bytes=size + total.answers * spoken, notes=notes)


def evaluation_work(recipe: Recipe, data: Data, counter: TokenCounter, tables: Sequence[Table]) -> Generation:
    """All models asked the held-out facts, where the recipe has these, and all tables.

    Raises:
        InputError: none of the evaluation languages has held-out facts.
    """
    settings = recipe.evaluation
    facts = _facts(recipe, data) if "facts" in settings.benchmarks else {}
    total = Generation()
    for model in settings.models or MODELS:
        if facts:
            total += _written(facts, counter, settings.max_new_tokens, settings.batch_items, model)
        for table in tables:
            total += _table(table, counter, settings.batch_items, settings.max_new_tokens, model)
    others = tuple(f"evaluation: the engine `{name}` is not counted" for name in settings.engines)
    judge = ("evaluation: the judge is not counted",) if settings.judge else ()
    return total + Generation(notes=(*others, *judge))


def benchmark_tables(recipe: Recipe) -> tuple[list[Table], tuple[str, ...]]:
    """Tables of all benchmarks but the facts, with their items; and a note of each that is not at hand.

    Raises:
        InputError: a benchmark's file is missing or broken.
    """
    settings = recipe.evaluation
    tables: list[Table] = []
    notes: list[str] = []
    for name in settings.benchmarks:
        options = settings.options(name)
        if name == "facts":
            continue
        if options.hub:
            notes.append(f"evaluation: {name} is on the hub ({options.hub}), not counted")
            continue
        asked = Asked(
            resolve(settings.languages), settings.protocol, options, settings.data, recipe.output / "instructions",
            settings.limit, settings.max_new_tokens,
        )  # fmt: skip
        tables += [table for table in find(name).tables(asked) if table.tasks]
    return tables, tuple(notes)


def _facts(recipe: Recipe, data: Data) -> Parts:
    settings, there = recipe.evaluation, data.splits["evaluation"]
    found = {one.code: there[one.code] for one in resolve(settings.languages) if one.code in there}
    if not found:
        raise InputError(
            f"plan: evaluation: none of its languages ({', '.join(settings.languages[:5])}) has held-out records; "
            "raise `evaluation` of a source in instructions.sources, or take facts out of evaluation.benchmarks"
        )
    limit = settings.limit or 1 << 30
    return {code: Part(min(part.count, limit), part.sample, part.bytes) for code, part in found.items()}


def _written(parts: Parts, counter: TokenCounter, limit: int, batch: int, model: str) -> Generation:
    items = sum(part.count for part in parts.values())
    long = limit if model == "base" else _mean_answer(parts, counter, limit)
    steps = ceil(items / batch) * ceil(min(batch, items) / _ROWS) * limit
    size = sum(part.bytes for part in parts.values()) + items * 4 * long
    return Generation(items, items, _read(parts, counter, batch), items, items * long, steps, len(parts), size)


def _table(table: Table, counter: TokenCounter, batch: int, usual: int, model: str) -> Generation:
    if not table.ranked:
        parts = {task.key: _part(task.items, task.language) for task in table.tasks}
        return _written(parts, counter, table.max_new_tokens or usual, batch, model)
    total = Generation()
    for task in table.tasks:
        few = spread(task.items, _ITEMS)
        each = len(task.items) / len(few)
        rows = [
            (counter.plain(item.prompt, task.language), counter.completion(choice, task.language))
            for item in few
            for choice in item.choices
        ]
        choices = sum(len(item.choices) for item in task.items)
        scored = each * sum(len(completion) for _, completion in rows)
        size = sum(len(item.prompt.encode()) + 100 for item in task.items)
        total += Generation(len(task.items), choices, each * nodes(rows), scored, tables=1, bytes=size)
    return total


def _part(items: Sequence[Item], language: str) -> Part:
    few = [
        Prompt(
            id=item.id,
            instruction=item.prompt or "?",
            input=item.input,
            output=item.reference,
            language=language,
            source="benchmark",
        )
        for item in spread(items, _ITEMS)
    ]
    like = part_of(few)
    return Part(len(items), like.sample, like.bytes * len(items) / len(few))


def _of_others(engine: Settings | None, name: str, read: float, written: float) -> Generation:
    if isinstance(engine, OpenAISettings):
        fees = (read * engine.input_price + written * engine.output_price) / 1e6
        unpriced = not (engine.input_price or engine.output_price)
        return Generation(fees=fees, notes=(f"the engine `{name}` has no price in the recipe",) * unpriced)
    return Generation(notes=(f"what the engine `{name}` writes takes GPU time that is not counted",))


def _read(parts: Mapping[str, Part], counter: TokenCounter, unit: int) -> float:
    """Nodes run to read all prompts, so many at a time: those side by side share what they begin with."""
    prompts = sorted(ids for part in parts.values() for ids in _prompts(part, counter))
    units = [prompts[at : at + unit] for at in range(0, len(prompts), unit)]
    run = sum(nodes([(ids, (b"",)) for ids in one]) for one in units)
    return run * sum(part.count for part in parts.values()) / max(1, len(prompts))


def _prompts(part: Part, counter: TokenCounter) -> list[Ids]:
    return [counter.prompt(one.instruction, one.input, one.instruction_language) for one in part.sample[: part.count]]


def _mean_answer(parts: Mapping[str, Part], counter: TokenCounter, limit: int) -> float:
    """Tokens of a reference and its end, or the limit where there is none."""
    total = weight = 0.0
    for code, part in parts.items():
        scale = counter.against(code, part.text_in) if part.text_in else 1.0
        said = [one.output for one in part.sample if isinstance(one, Prompt) and one.output]
        each = [min(limit, scale * len(counter.completion(text, code))) for text in said] or [float(limit)]
        total += part.count * sum(each) / len(each)
        weight += part.count
    return total / max(1.0, weight)


def _answer_bytes(part: Part) -> float:
    sizes = [len(one.output.encode()) for one in part.sample if isinstance(one, Prompt)]
    return sum(sizes) / max(1, len(sizes))


def _mean(rows: Sequence[Ids]) -> float:
    return sum(map(len, rows)) / max(1, len(rows))
