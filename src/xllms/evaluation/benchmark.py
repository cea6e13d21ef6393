"""What a benchmark is: items in many languages, asked in one of two ways, and what is measured on the answers.

A file in `benchmarks/` holds one; so does a file of one's own, named in `evaluation.benchmarks` (`./mine.py`):

    class Riddles(Benchmark):
        name = "riddles"

        def tables(self, asked: Asked) -> Iterator[Table]:
            tasks = [Task(code, code, tuple(read_items(path))) for code, path in ...]
            yield Table("riddles", tasks)

    benchmark = Riddles()

Items with `choices` are ranked by likelihood, others are answered; the rest (asking, resuming, the language of the
answers, intervals, tests, the report) is the runner's.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from xllms.languages import Language
from xllms.metrics.item_statistics import ItemStatistics, accuracy
from xllms.recipe.evaluation import BenchmarkOptions, Protocol, Way
from xllms.records import Prediction


@dataclass(frozen=True)
class Metric:
    """One measure, from 0 to `scale`; shares (scale 1) are shown in percent."""

    label: str
    higher_is_better: bool = True
    scale: float = 100


ACCURACY = Metric("Accuracy", scale=1)
BALANCED_ACCURACY = Metric("Balanced accuracy", scale=1)
EXACT_MATCH = Metric("Exact match", scale=1)
OFF_TARGET = Metric("Off-target rate", higher_is_better=False, scale=1)


@dataclass(frozen=True)
class Item:
    """One question.

    Attributes:
        id: unlike all others of its table, such as xcopa:sw:test:17.
        prompt: the instruction; of a ranked item, the text as it stands that each choice goes on from.
        reference: the right answer, as `Benchmark.parse` would find it.
        input: further text of the instruction, in the template's own place.
        choices: what is ranked, with the space that stands before it; none: the model writes an answer.
        gold: number of the right choice.
        kind: what figures may be split by, such as cause or effect.
        source: what is to be translated or summarised.
    """

    id: str
    prompt: str
    reference: str
    input: str = ""
    choices: tuple[str, ...] = ()
    gold: int | None = None
    kind: str = ""
    source: str = ""

    def __post_init__(self) -> None:
        if self.choices and not (self.gold is not None and 0 <= self.gold < len(self.choices)):
            raise ValueError(f"{self.id}: the right choice is number {self.gold}, of {len(self.choices)}")


@dataclass(frozen=True)
class Task:
    """What one figure is about: the items of a table in one language, or from one language into another.

    Attributes:
        key: FLORES code, or two with `-` between; the row of the table.
        language: FLORES code of the answers, which are checked to be in it where the table says so.
        items: at least one.
    """

    key: str
    language: str
    items: tuple[Item, ...]

    def __post_init__(self) -> None:
        if not self.items:
            raise ValueError(f"task {self.key} has no items")


@dataclass(frozen=True)
class Table:
    """Tasks that are asked in the same way, and stand in one table of scores.

    Attributes:
        name: the benchmark's name, or with a variant after a dot: xcopa.ranked.
        tasks: one a row.
        max_new_tokens: of a written answer; 0: as `Asked` has it.
        one_line: an answer is its first line that is not blank.
        stop: an answer ends before any of these.
        in_language: whether answers are to be in the task's language, so that the off-target rate stands beside the
            scores; not so for letters and numbers.
    """

    name: str
    tasks: Sequence[Task]
    max_new_tokens: int = 0
    one_line: bool = False
    stop: tuple[str, ...] = ()
    in_language: bool = False

    @property
    def ranked(self) -> bool:
        """Whether choices are ranked, and nothing is written."""
        return bool(self.tasks[0].items[0].choices)


@dataclass(frozen=True)
class Asked:
    """What the recipe asks of a benchmark.

    Attributes:
        languages: in which the run is evaluated; a benchmark takes those that it has.
        protocol: `paper` as the authors asked, `standard` as the field does today.
        options: of this benchmark.
        data: folder of benchmark files, if there is one.
        instructions: folder of stage 1.
        limit: items of a task at most.
        max_new_tokens: of facts, and of a benchmark that sets none.
    """

    languages: tuple[Language, ...]
    protocol: Protocol = "standard"
    options: BenchmarkOptions = field(default_factory=BenchmarkOptions)
    data: Path | None = None
    instructions: Path = Path()
    limit: int | None = None
    max_new_tokens: int = 32

    @property
    def ways(self) -> tuple[Way, ...]:
        """How a benchmark of choices asks: as the recipe says, else as the protocol has it."""
        return self.options.ways or (("written",) if self.protocol == "paper" else ("ranked",))

    def wants(self, code: str) -> bool:
        """Whether a language is among those asked for."""
        return any(language.code == code for language in self.languages)


class Benchmark(ABC):
    """Base of all benchmarks. A subclass sets `name` and `metrics`, and yields tables; the rest has a default."""

    name: ClassVar[str] = ""
    metrics: ClassVar[Mapping[str, Metric]] = {"accuracy": ACCURACY}
    digest: str = ""  # of a file of one's own, whose rules may change
    judged: ClassVar[bool] = False  # whether `evaluation.judge` holds the models' answers against each other

    @abstractmethod
    def tables(self, asked: Asked) -> Iterable[Table]:
        """The tables with their items.

        Raises:
            InputError: a file is missing, broken or of another version; names file and line.
        """

    def parse(self, item: Item, output: str) -> str | None:
        """The answer in a written output, to be held against the reference; None if there is none."""
        return output.strip() or None

    def correct(self, item: Item, parsed: str | None) -> bool:
        """Whether the parsed answer is right."""
        return parsed is not None and parsed == item.reference

    def statistics(self, predictions: Sequence[Prediction]) -> Mapping[str, ItemStatistics]:
        """Each metric on one task's predictions; a metric that the table does not have is left out."""
        return {"accuracy": accuracy([p.correct for p in predictions])}
