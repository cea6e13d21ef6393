"""Who is evaluated: a run's models, and engines that the recipe names, each loaded when it is first asked."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from xllms.engines.protocol import Engine, Sampling
from xllms.errors import InputError
from xllms.evaluation.benchmark import Item, Table
from xllms.memory import release_memory
from xllms.recipe import ModelSettings
from xllms.records import Record

Ranker = Callable[[Sequence[tuple[str, Sequence[str]]], Sequence[str]], Sequence[Any]]


class Output(Record):
    """What came back for one item: a text, or a log-probability for each choice.

    `truncated` counts tokens that were cut off the left of the prompt, `asked` is a digest of what was asked of whom.
    """

    id: str
    text: str = ""
    ended: bool = True
    error: str = ""
    logprobs: tuple[float, ...] = ()
    truncated: int = 0
    asked: str = ""


class Subject:
    """One model under evaluation.

    Args:
        name: in the tables.
        fingerprint: identity of its weights, so that answers of another model are never taken for its own.
        engine: made when it is first asked to write.
        ranker: of (context, choices) and their names, made when it is first asked to rank; None: it can only write.
        release: called when it is asked no more.
        check: called before any work, for what would keep it from being loaded.
    """

    def __init__(
        self,
        name: str,
        fingerprint: str,
        engine: Callable[[], Engine],
        ranker: Callable[[], Ranker] | None = None,
        release: Callable[[], None] = lambda: None,
        check: Callable[[], object] = lambda: None,
    ) -> None:
        self.name, self.fingerprint = name, fingerprint
        self.check, self._release = check, release
        self._make_engine, self._make_ranker = engine, ranker
        self._engine: Engine | None = None
        self._ranker: Ranker | None = None

    def release(self) -> None:
        """Let go of what it has loaded: the next model takes its place."""
        self._engine = self._ranker = None
        self._release()

    def can(self, table: Table) -> bool:
        """Whether it can be asked what the table asks."""
        return self._make_ranker is not None or not table.ranked

    def ask(self, table: Table, items: Sequence[Item]) -> list[Output]:
        """Outputs in the order of the items."""
        return self._rank(items) if table.ranked else self._write(table, items)

    def _write(self, table: Table, items: Sequence[Item]) -> list[Output]:
        if self._engine is None:
            self._engine = self._make_engine()
        asked = [(item.prompt, item.input) for item in items]
        written = self._engine.write(asked, table.max_new_tokens, Sampling(one_line=table.one_line, stop=table.stop))
        return [
            # A server may send half a surrogate pair, which no file of text can hold.
            Output(
                id=item.id,
                text=answer.text.encode("utf-8", "replace").decode(),
                ended=answer.ended,
                error=answer.error,
            )
            for item, answer in zip(items, written, strict=True)
        ]

    def _rank(self, items: Sequence[Item]) -> list[Output]:
        if self._ranker is None:
            assert self._make_ranker is not None, "see `can`"
            self._ranker = self._make_ranker()
        ranked = self._ranker([(item.prompt, item.choices) for item in items], [item.id for item in items])
        return [
            Output(id=item.id, logprobs=tuple(map(float, row.logprobs)), truncated=row.truncated)
            for item, row in zip(items, ranked, strict=True)
        ]


def local(name: str, fingerprint: str, model: ModelSettings, template: str, tuned: Path | None) -> Subject:
    """A run's model, in this process.

    Args:
        name: base, sft or dpo.
        fingerprint: of what was tuned.
        model: the base model.
        template: the prompt template.
        tuned: the stage folder that holds what was tuned; None for the base model.
    """
    from xllms.models import Loaded, load

    held: list[Loaded] = []

    def loaded() -> Loaded:
        if not held:
            held.append(load(model, template, tuned))
        return held[0]

    def engine() -> Engine:
        from xllms.engines.local import LocalEngine

        return LocalEngine(loaded())

    def ranker() -> Ranker:
        from xllms.evaluation.ranking import rank

        return lambda questions, names: rank(loaded(), questions, names)

    def release() -> None:
        if held:
            held.clear()
            release_memory()

    def check() -> object:
        from xllms.models.loading import resolve

        return resolve(model.name)

    return Subject(name, fingerprint, engine, ranker, release, check)


def missing(name: str, there: Sequence[str]) -> InputError:
    """The error for a model that the run does not hold."""
    return InputError(f"evaluation.models: the run has no model `{name}` yet; it has {', '.join(there)}")
