"""Who answers and who judges: the run's own models and the recipe's engines, each made when it is first asked."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from xllms.engines.factory import known
from xllms.engines.local import LocalEngine
from xllms.engines.protocol import Engine, Sampling, Translator
from xllms.feedback.judging import JudgeRanker
from xllms.feedback.likelihood import ImplicitRanker, TranslationRanker
from xllms.feedback.rankers import LanguageRanker, Panel, Ranker, ReferenceRanker
from xllms.models import Loaded, load
from xllms.recipe import FeedbackSettings, ModelSettings
from xllms.recipe.feedback import (
    CandidateSettings,
    ImplicitRankerSettings,
    JudgeRankerSettings,
    LanguageRankerSettings,
    RankerSettings,
    ReferenceRankerSettings,
)
from xllms.records import Prompt

_ORIGINS = {"sft": "sample of the SFT model", "base": "sample of the base model"}


@dataclass(frozen=True)
class Sampled:
    """Answers to one prompt.

    Attributes:
        origins: text -> who wrote it first.
        left_out: how many were, by why.
        refusals: engine -> what it said when it first refused one.
    """

    origins: dict[str, str]
    left_out: Counter[str]
    refusals: dict[str, str]


class Writers:
    """The engines of this stage by name; `sft` and `base` are the run's own models.

    Args:
        model: the run's base model.
        template: `alpaca` or `chat`.
        sft: folder of the finished sft stage.
        engines: name -> maker, of the recipe's engines.
        translators: name -> maker, of the recipe's translators.
    """

    def __init__(
        self,
        model: ModelSettings,
        template: str,
        sft: Path,
        engines: Mapping[str, Callable[[], Engine]],
        translators: Mapping[str, Callable[[], Translator]],
    ) -> None:
        self._model, self._template, self._sft = model, template, sft
        self._engines, self._translators = engines, translators
        self._made: dict[str, Engine] = {}
        self._loaded: dict[Path | None, Loaded] = {}
        self._judges: list[tuple[str, JudgeRanker]] = []

    def check(self, settings: FeedbackSettings) -> None:
        """Find a name that nobody has before any work.

        Raises:
            InputError: names it, and those there are.
        """
        for name in settings.engines_used:
            known(self._engines, name, "engines")
        for name in settings.translators_used:
            known(self._translators, name, "translators")

    def engine(self, name: str) -> Engine:
        """The engine of that name."""
        if name not in self._made:
            own = {"sft": self._sft, "base": None}
            self._made[name] = LocalEngine(self.loaded(own[name])) if name in own else self._engines[name]()
        return self._made[name]

    def loaded(self, tuned: Path | None) -> Loaded:
        """The run's base model, with what the stage in `tuned` made of it."""
        if tuned not in self._loaded:
            self._loaded[tuned] = load(self._model, self._template, tuned)
        return self._loaded[tuned]

    def panel(self, settings: FeedbackSettings, english: Mapping[str, Prompt]) -> Panel:
        """The rankers; `english` holds the English instruction of each parallel_id."""
        weighed = [ranker for ranker in settings.rankers if ranker.weight > 0]
        return Panel([(self._ranker(ranker, english), ranker.weight) for ranker in weighed])

    def _ranker(self, settings: RankerSettings, english: Mapping[str, Prompt]) -> Ranker:
        if isinstance(settings, LanguageRankerSettings):
            return LanguageRanker()
        if isinstance(settings, ReferenceRankerSettings):
            return ReferenceRanker(settings.similarity)
        if isinstance(settings, JudgeRankerSettings):
            judge = JudgeRanker(self.engine(settings.engine), settings.compare, settings.max_new_tokens)
            self._judges.append((settings.engine, judge))
            return judge
        if isinstance(settings, ImplicitRankerSettings):
            tuned, reference = self.loaded(settings.tuned), self.loaded(settings.reference)
            return ImplicitRanker(tuned, reference, english, settings.beta, settings.per_token)
        loaded = self.loaded(self._sft if settings.model == "sft" else None)
        return TranslationRanker(self._translators[settings.translator](), loaded, english)

    def judges_refusals(self) -> dict[str, str]:
        """Engine -> why it first refused a verdict since the last call."""
        taken = [(f"{name} (judge)", judge.take_refusal()) for name, judge in self._judges]
        return {name: said for name, said in taken if said}

    def sample(self, records: Sequence[Prompt], settings: FeedbackSettings, seed: int) -> dict[str, Sampled]:
        """Answers to each record, by its id, from all sources.

        An answer that was cut off at the limit never said its end, and is left out of the ranking.
        """
        sampled = {record.id: Sampled({}, Counter(), {}) for record in records}
        asked: set[str] = set()
        for number, source in enumerate(settings.sampled):
            again = f":{source.temperature}:{source.top_p}" if source.engine in asked else ""
            asked.add(source.engine)
            own_seed = Random(f"{seed}:{source.engine}{again}").getrandbits(32) if number else seed
            self._sample_from(source, records, settings.max_new_tokens, own_seed, sampled)
        return sampled

    def _sample_from(
        self,
        source: CandidateSettings,
        records: Sequence[Prompt],
        max_new_tokens: int,
        seed: int,
        sampled: Mapping[str, Sampled],
    ) -> None:
        engine = self.engine(source.engine)
        origin = _ORIGINS.get(source.engine, f"sample of {source.engine}")
        for one_line in (True, False):
            part = [record for record in records if record.one_line is one_line]
            if not part:
                continue
            asked = [(record.instruction, record.input) for record in part for _ in range(source.samples)]
            sampling = Sampling(source.temperature, source.top_p, seed, one_line)
            written = engine.write(asked, max_new_tokens, sampling)
            for number, answer in enumerate(written):
                own = sampled[part[number // source.samples].id]
                if answer.error or not answer.ended:
                    own.left_out["refused" if answer.error else "cut off"] += 1
                    if answer.error:
                        own.refusals.setdefault(source.engine, answer.error)
                else:
                    own.origins.setdefault(answer.text, origin)
