"""Stage 3 as a whole: for each language, sample answers, rank them and write preference pairs."""

import json
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xllms.engines.protocol import Engine, Translator
from xllms.errors import InputError
from xllms.feedback.candidates import Candidate
from xllms.feedback.cross_lingual import cross_prompts, draw_pairs, read_matrix, wordings, wordings_digest
from xllms.feedback.pairing import preferences, rankings
from xllms.feedback.rankers import Panel
from xllms.feedback.rejects import Reject, construct
from xllms.feedback.writers import Sampled, Writers
from xllms.languages import Language, get, resolve
from xllms.manifest import StageFolder, fingerprint, output_fingerprint, sha256_file, write_atomic
from xllms.progress import Progress
from xllms.recipe import FeedbackSettings, ModelSettings
from xllms.recipe.feedback import ImplicitRankerSettings
from xllms.records import Instruction, Preference, Ranking, to_jsonl
from xllms.splits import read_split

Prompts = Mapping[str, Sequence[Instruction]]
_ENGLISH = "eng_Latn"


def run(
    settings: FeedbackSettings,
    model: ModelSettings,
    template: str,
    seed: int,
    instructions: Path,
    sft: Path,
    folder: Path,
    *,
    engines: Mapping[str, Callable[[], Engine]] | None = None,
    translators: Mapping[str, Callable[[], Translator]] | None = None,
    engine_settings: Mapping[str, Any] | None = None,
) -> None:
    """Write `preferences/<code>.jsonl`, `rankings/<code>.jsonl` and, beside them, every candidate with its scores.

    Args:
        settings: of this stage.
        model: the run's base model.
        template: `alpaca` or `chat`.
        seed: of the run.
        instructions: folder of the finished stage.
        sft: folder of the finished stage.
        folder: where the files go.
        engines: name -> maker, of the recipe's engines.
        translators: name -> maker, of the recipe's translators.
        engine_settings: settings of each engine and translator by its name; of those used, they belong to the stage's.

    Raises:
        InputError: none of the languages has prompts, no SFT adapter, an engine that the recipe has not, a folder made
            with other settings.
        EngineError: an engine cannot go on; the languages that were finished are kept.
    """
    used = {name: (engine_settings or {}).get(name) for name in (*settings.engines_used, *settings.translators_used)}
    made_with = {
        "feedback": settings.model_dump(mode="json"),
        "model": model.model_dump(mode="json"),
        "template": template,
        "seed": seed,
        **({"engines": used} if used else {}),
    }
    stage = StageFolder(folder, "feedback", made_with, _inputs(settings, instructions, sft))
    if stage.done:
        return
    writers = Writers(model, template, sft, engines or {}, translators or {})
    writers.check(settings)
    split = read_split(instructions, "feedback")
    asked, planned = _asked(settings, split, seed)
    if not asked:
        raise InputError(f"{instructions / 'feedback'}: none of the feedback languages has prompts here")
    stage.begin()
    waiting = {language for language in asked if not _pairs_path(folder, language).exists()}
    with Progress("feedback", len(asked), "languages") as progress:
        progress.resume_at(len(asked) - len(waiting))
        if waiting:
            panel = writers.panel(settings, _english(split))
            work = _Work(settings, seed, folder, split, _by_fact(split), writers, panel)
            order = list(asked)
            for start in range(0, len(order), settings.batch_languages):
                group = order[start : start + settings.batch_languages]
                sampled = _sampled(group, asked, work) if waiting & set(group) else {}
                for language in (language for language in group if language in waiting):
                    _write_unit(language, asked[language], sampled, work)
                    progress.advance(1, language.name)
    paths = [_pairs_path(folder, language) for language in asked]
    counts = {**_counts(paths), **planned, **_candidate_counts(folder, list(asked))}
    stage.finish(counts, [*paths, *(_rankings_path(folder, language) for language in asked)])


def _inputs(settings: FeedbackSettings, instructions: Path, sft: Path) -> dict[str, str]:
    """Digests of all that is read: earlier stages, the plan's tables, the models that rank."""
    inputs = {"instructions": output_fingerprint(instructions), "sft": output_fingerprint(sft)}
    if settings.plan != "same":
        if settings.wordings is not None:
            wordings(settings.wordings)  # says what is wrong with the file, if anything
        inputs["wordings"] = wordings_digest(settings.wordings)
    if settings.matrix is not None:
        read_matrix(settings.matrix)
        inputs[str(settings.matrix)] = sha256_file(settings.matrix)
    for ranker in settings.rankers:
        if isinstance(ranker, ImplicitRankerSettings):
            for tuned in (ranker.tuned, ranker.reference):
                inputs[str(tuned)] = output_fingerprint(tuned)
    return inputs


def _asked(
    settings: FeedbackSettings, split: Prompts, seed: int
) -> tuple[dict[Language, Sequence[Instruction]], dict[str, Any]]:
    """Response language -> its prompts, in the order of the languages; and what came of the plan, for the manifest."""
    languages = [language for language in resolve(settings.languages) if language.code in split]
    if settings.plan == "same":
        return {language: split[language.code][: settings.prompts] for language in languages}, {}
    weights = read_matrix(settings.matrix) if settings.matrix else None
    pairs = draw_pairs(languages, settings.plan, len(languages) * settings.prompts, seed, weights)
    made, missing = cross_prompts(pairs, split, wordings(settings.wordings))
    drawn = Counter((record.instruction_language, code) for code, records in made.items() for record in records)
    counts = {"asked": _by_name(drawn), "nothing parallel for": _by_name(missing)}
    if not made:
        raise InputError(
            f"feedback.plan: {settings.plan}: no fact (parallel_id) has an instruction in the one drawn language "
            "and an answer in the other; translate the instructions too, or use plan: same"
        )
    return {get(code): made[code] for code in sorted(made)}, counts


def _by_name(pairs: Counter[tuple[str, str]]) -> dict[str, int]:
    return {f"{asked_in} -> {code}": count for (asked_in, code), count in sorted(pairs.items())}


@dataclass(frozen=True)
class _Work:
    """What every unit needs."""

    settings: FeedbackSettings
    seed: int
    folder: Path
    split: Prompts
    same_fact: Mapping[str, Mapping[str, Instruction]]
    writers: Writers
    panel: Panel


def _sampled(
    group: Sequence[Language], asked: Mapping[Language, Sequence[Instruction]], work: _Work
) -> Mapping[str, Sampled]:
    """Answers to the prompts of a group of languages, side by side: one language alone leaves the processor idle.

    They are the same whatever ran before, so a group is asked as a whole even where some of it is done.
    """
    seed = _seed(work, *group)
    return work.writers.sample([record for language in group for record in asked[language]], work.settings, seed)


def _seed(work: _Work, *languages: Language) -> int:
    return int(fingerprint([work.seed, "feedback", *(language.code for language in languages)])[:8], 16)


def _write_unit(
    language: Language, records: Sequence[Instruction], sampled: Mapping[str, Sampled], work: _Work
) -> None:
    settings, folder = work.settings, work.folder
    draw = random.Random(_seed(work, language))
    pairs: list[Preference] = []
    orders: list[Ranking] = []
    lines: list[str] = []
    for record in records:
        own = sampled[record.id]
        ranked, reference = work.panel.rank(record, own.origins)
        facts = work.same_fact.get(record.parallel_id, {})
        constructed = construct(settings.rejects, record, facts, work.split.get(language.code, ()), draw)
        pairs += preferences(record, ranked, reference, constructed, settings.pairing)
        orders += rankings(record, ranked, reference, constructed, settings.pairing)
        counts = work.panel.take_counts() + own.left_out
        lines.append(json.dumps(_candidates(record, ranked, constructed, counts), ensure_ascii=False) + "\n")
    write_atomic(_candidates_path(folder, language), "".join(lines))
    write_atomic(_rankings_path(folder, language), to_jsonl(orders))
    write_atomic(_pairs_path(folder, language), to_jsonl(pairs))


def _candidates(
    record: Instruction, ranked: Sequence[Candidate], constructed: Sequence[Reject], counts: Mapping[str, int]
) -> dict[str, Any]:
    return {
        "id": record.id,
        "instruction": record.instruction,
        "reference": record.output,
        "samples": [_sample(candidate) for candidate in ranked],
        "constructed": [{"kind": one.kind, "text": one.text, "language": one.language} for one in constructed],
        "counts": {key: count for key, count in sorted(counts.items()) if count},
    }


def _sample(candidate: Candidate) -> dict[str, Any]:
    shown = {"text": candidate.text, "origin": candidate.origin, "chrf": round(candidate.chrf, 2)}
    language = {"language": candidate.status, "found": candidate.found}
    if candidate.total is None:
        return {**shown, **language}
    return {**shown, **language, "total": round(candidate.total, 2), "notes": candidate.notes}


def _by_fact(split: Prompts) -> dict[str, dict[str, Instruction]]:
    facts: dict[str, dict[str, Instruction]] = {}
    for code, records in split.items():
        for record in records:
            if record.parallel_id:
                facts.setdefault(record.parallel_id, {})[code] = record
    return facts


def _english(split: Prompts) -> dict[str, Instruction]:
    """For each parallel_id a record that asks in English, the English one if there is one."""
    order = sorted(split, key=lambda code: code != _ENGLISH)
    found: dict[str, Instruction] = {}
    for record in (record for code in order for record in split[code]):
        if record.instruction_language == _ENGLISH and record.parallel_id:
            found.setdefault(record.parallel_id, record)
    return found


def _candidates_path(folder: Path, language: Language) -> Path:
    return folder / "candidates" / f"{language.code}.jsonl"


def _pairs_path(folder: Path, language: Language) -> Path:
    return folder / "preferences" / f"{language.code}.jsonl"


def _rankings_path(folder: Path, language: Language) -> Path:
    return folder / "rankings" / f"{language.code}.jsonl"


def _counts(paths: Sequence[Path]) -> dict[str, Any]:
    """Pairs per language, and how often each reason stood behind a choice."""
    per_language: dict[str, int] = {}
    reasons: Counter[str] = Counter()
    for path in paths:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        per_language[get(path.stem).code] = len(rows)
        for row in rows:
            reasons[f"chosen: {row['chosen_reason'].partition(':')[0]}"] += 1
            reasons[f"rejected: {row['rejected_reason'].partition(':')[0]}"] += 1
    return {
        "pairs": sum(per_language.values()),
        "languages": per_language,
        "reasons": dict(sorted(reasons.items())),
    }


def _candidate_counts(folder: Path, languages: Sequence[Language]) -> dict[str, Any]:
    """What sampling left out and what the rankers counted, over all units, those of an earlier start too."""
    total: Counter[str] = Counter()
    for language in languages:
        for line in _candidates_path(folder, language).read_text(encoding="utf-8").splitlines():
            total.update(json.loads(line)["counts"])
    return {"candidates": dict(sorted(total.items()))} if total else {}
