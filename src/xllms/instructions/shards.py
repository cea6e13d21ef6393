"""The unit of work of the translation: a shard of records and a language, from records to kept and rejected ones.

A record is translated, answered by the rule of its language's resource class (hybrid responses), and held against the
gates; of the answers that the rule asks for, the first that passes is kept.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import IO, Any

from xllms.engines.protocol import Engine, Sampling, Translator, Usage
from xllms.errors import InputError
from xllms.instructions.gates import passes
from xllms.instructions.masking import translatable
from xllms.instructions.rejected import Rejected
from xllms.instructions.similarity import round_trip
from xllms.instructions.translation import translate_records
from xllms.languages import Language, get
from xllms.languages.identification import identify
from xllms.manifest import read_json, write_atomic
from xllms.metrics.comet import command_words, segment_scores
from xllms.metrics.similarity import Embedder, SentenceEncoder, similarity
from xllms.recipe import TranslationSettings
from xllms.records import Instruction


@dataclass(frozen=True)
class Lines:
    """Lines of a file of [split, record]: what a shard names its records by, since millions of them fit no memory.

    Attributes:
        path: of the file.
        ranges: (begin, end) in bytes of the lines, in order.
    """

    path: Path
    ranges: tuple[tuple[int, int], ...]

    def read(self) -> list[Any]:
        """The lines' values.

        Raises:
            InputError: the file cannot be read.
        """
        try:
            with self.path.open("rb") as file:
                return [json.loads(line) for begin, end in self.ranges for line in _between(file, begin, end)]
        except OSError as error:
            raise InputError(f"{self.path}: cannot be read: {error.strerror}; run the same command again") from None


@dataclass(frozen=True)
class Shard:
    """One unit of work.

    Attributes:
        path: where its result goes.
        language: FLORES code to translate into.
        lines: its records with their splits, all in one language.
    """

    path: Path
    language: str
    lines: Lines

    def records(self) -> list[tuple[str, Instruction]]:
        """(split, record) of each."""
        return [(split, Instruction(**record)) for split, record in self.lines.read()]


@dataclass
class ShardResult:
    """What came of a shard: records with their splits, what was refused, and what it cost by engine."""

    kept: list[tuple[str, Instruction]] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    usage: dict[str, Usage] = field(default_factory=dict)

    def write(self, path: Path) -> None:
        """Write it whole or not at all."""
        value = {
            "kept": [[split, record.model_dump()] for split, record in self.kept],
            "rejected": [one.model_dump() for one in self.rejected],
            "usage": {name: asdict(usage) for name, usage in self.usage.items()},
        }
        write_atomic(path, json.dumps(value, ensure_ascii=False))

    @classmethod
    def read(cls, path: Path) -> "ShardResult":
        """Read what `write` wrote."""
        value = read_json(path)
        return cls(
            [(split, Instruction(**record)) for split, record in value["kept"]],
            [Rejected(**one) for one in value["rejected"]],
            {name: Usage(**usage) for name, usage in value["usage"].items()},
        )


class ShardTranslator:
    """Runs shards; holds translators and teacher, each made when it is first needed.

    Args:
        settings: of the translation.
        translators: name -> maker, in the order in which they are tried.
        teacher: maker of the engine that writes answers; None if all are translated.

    Raises:
        InputError: a gate needs COMET, which is not installed.
    """

    def __init__(
        self,
        settings: TranslationSettings,
        translators: Mapping[str, Callable[[], Translator]],
        teacher: Callable[[], Engine] | None,
    ) -> None:
        self.settings = settings
        self._translators: dict[str, Translator] = {}
        self._makers, self._make_teacher = translators, teacher
        self._teacher: Engine | None = None
        self._embedder: Embedder | None = None
        for gates in settings.gates.of_all_languages:
            if gates.min_quality is not None:
                command_words(gates.quality_command)  # before a shard is translated, not after

    def translator(self, source: Language, target: Language) -> Translator | None:
        """The first translator that has the pair."""
        for name, make in self._makers.items():
            if name not in self._translators:
                self._translators[name] = make()
            if self._translators[name].supports(source, target):
                return self._translators[name]
        return None

    def __call__(self, shard: Shard) -> None:
        """Run one shard and write its result.

        Raises:
            InputError: no translator has the language.
            EngineError: an engine cannot go on.
        """
        before = {name: replace(usage) for name, usage in self._usages()}
        result = ShardResult()
        for split, outcome in self._outcomes(shard.records(), get(shard.language)):
            if isinstance(outcome, Rejected):
                result.rejected.append(outcome)
            else:
                result.kept.append((split, outcome))
        result.usage = {name: _since(usage, before.get(name, Usage())) for name, usage in self._usages()}
        result.write(shard.path)

    def _usages(self) -> Iterator[tuple[str, Usage]]:
        for translator in self._translators.values():
            yield translator.name, translator.usage
        if self._teacher is not None:
            yield self._teacher.name, self._teacher.usage

    def _outcomes(
        self, records: Sequence[tuple[str, Instruction]], language: Language
    ) -> Iterator[tuple[str, Instruction | Rejected]]:
        decided = [(split, record, translatable(record)) for split, record in records]
        taken = [record for _, record, decision in decided if decision.action != "drop"]
        kept_outputs = [decision.action == "keep_output" for _, _, decision in decided if decision.action != "drop"]
        translated = self._translated(taken, kept_outputs, language)
        written = self._written(translated, language)
        far = self._far(taken, translated, language)
        answers = iter(zip(translated, written, far, strict=True))
        for split, record, decision in decided:
            if decision.action == "drop":
                yield split, _rejected(record, language, f"untranslatable: {decision.reason}")
                continue
            own, other, reason = next(answers)
            if reason is not None:
                yield split, _rejected(record, language, reason, own.instruction)
            else:
                yield split, self._gated(record, _in_order(own, other, self._rule(language)), language)

    def _translated(
        self, records: Sequence[Instruction], kept_outputs: Sequence[bool], language: Language
    ) -> list[Instruction]:
        if not records:
            return []
        source = get(records[0].language)
        translator = self.translator(source, language)
        if translator is None:
            raise InputError(f"translation: none of {', '.join(self._makers)} has {source.name} to {language.name}")
        texts = translate_records(records, translator, source, language)
        return [
            record.model_copy(
                update={
                    "id": f"{record.parallel_id}:{language.code}",
                    "instruction": instruction,
                    "input": input,
                    "output": record.output if keep else output,
                    "language": language.code,
                    "instruction_language": language.code,
                    "response": "kept" if keep else "translated",
                    "made_by": translator.name,
                }
            )
            for record, (instruction, input, output), keep in zip(records, texts, kept_outputs, strict=True)
        ]

    def _rule(self, language: Language) -> str:
        if self._make_teacher is None:
            return "translated"
        return next((rule for name, rule in self.settings.responses.items() if name == language.resource), "translated")

    def _written(self, translated: Sequence[Instruction], language: Language) -> list[Instruction | None]:
        """The teacher's own answer to each translated instruction, where the rule asks for one and it gave one."""
        answers: list[Instruction | None] = [None] * len(translated)
        asked = [i for i, r in enumerate(translated) if r.response == "translated" and r.instruction]
        if self._rule(language) == "translated" or self._make_teacher is None or not asked:
            return answers
        if self._teacher is None:
            self._teacher = self._make_teacher()
        prompts = [(translated[i].instruction, translated[i].input) for i in asked]
        written = self._teacher.write(prompts, self.settings.max_new_tokens, Sampling())
        for i, answer in zip(asked, written, strict=True):
            text = answer.text.strip()
            if answer.ended and not answer.error and text:
                made_by = f"{translated[i].made_by}, {self._teacher.name}"
                update = {"output": text, "response": "written", "made_by": made_by}
                answers[i] = translated[i].model_copy(update=update)
        return answers

    def _far(
        self, sources: Sequence[Instruction], translated: Sequence[Instruction], language: Language
    ) -> list[str | None]:
        """Why an instruction is too far from its source, by the gates that need an engine; most often None."""
        gates = self.settings.gates.for_language(language.code)
        reasons: list[str | None] = [None] * len(sources)
        texts = [one.instruction for one in sources], [one.instruction for one in translated]
        if gates.min_similarity is not None and sources:
            if self._embedder is None:
                self._embedder = SentenceEncoder()
            for i, near in enumerate(similarity(*texts, self._embedder)):
                if near < gates.min_similarity:
                    reasons[i] = f"similarity: {near:.2f} to the source"
        if gates.min_round_trip is not None and sources:
            source = get(sources[0].language)
            translator = self.translator(language, source)
            if translator is None:
                raise InputError(
                    f"gates.min_round_trip: none of {', '.join(self._makers)} has {language.name} to {source.name}; "
                    f"set it to null for {language.name} in gates.overrides"
                )
            for i, score in enumerate(round_trip(*texts, translator, source, language)):
                if score < gates.min_round_trip:
                    reasons[i] = reasons[i] or f"round trip: chrF++ {score:.0f}"
        # COMET costs most by far: it is not asked of what is refused already.
        waiting = [i for i, reason in enumerate(reasons) if reason is None and texts[1][i].strip()]
        if gates.min_quality is not None and waiting:
            before, after = ([side[i] for i in waiting] for side in texts)
            model, command, gpus = gates.quality_model, gates.quality_command, gates.quality_gpus
            scores = segment_scores(before, after, None, model, command, gpus)
            for i, score in zip(waiting, scores, strict=True):
                if score < gates.min_quality:
                    reasons[i] = f"quality: {score:.2f}"
        return reasons

    def _gated(self, source: Instruction, answers: Sequence[Instruction], language: Language) -> Instruction | Rejected:
        """The first answer that passes the gates, else the first one's reason."""
        reasons = []
        for answer in answers:
            reason = passes(source, answer, self.settings.gates, language)
            if reason is None:
                return answer
            reasons.append(str(reason))
        text = "\n".join(part for part in (answers[0].instruction, answers[0].input, answers[0].output) if part)
        return _rejected(source, language, reasons[0], text)


def _between(file: IO[bytes], begin: int, end: int) -> list[bytes]:
    file.seek(begin)
    return file.read(end - begin).split(b"\n")[:-1]


def _in_order(translated: Instruction, written: Instruction | None, rule: str) -> list[Instruction]:
    """The answers that the rule allows, the one to prefer first.

    `better` prefers the one whose language is surely right; between equals the written one, which no English wording
    has bent.
    """
    if written is None:
        return [translated]
    if rule == "written":
        return [written, translated]
    language = get(translated.language)
    sure = [identify(answer.output, language).status == "right" for answer in (written, translated)]
    return [translated, written] if sure == [False, True] else [written, translated]


def _rejected(record: Instruction, language: Language, reason: str, text: str = "") -> Rejected:
    return Rejected(
        id=record.parallel_id,
        language=language.code,
        source=record.source,
        kind=record.kind,
        reason=reason,
        text=text or record.instruction,
    )


def _since(usage: Usage, before: Usage) -> Usage:
    return Usage(**{one.name: getattr(usage, one.name) - getattr(before, one.name) for one in fields(Usage)})
