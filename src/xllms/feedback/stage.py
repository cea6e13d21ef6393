"""Stage 3 as a whole: for each language, sample answers, rank them and write preference pairs."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from xllms.engines.protocol import Engine, Translator
from xllms.errors import InputError
from xllms.feedback.candidates import foreign_reference
from xllms.feedback.cross_lingual import cross_prompts, draw_pairs, read_matrix, wordings, wordings_digest
from xllms.feedback.prompts import read_prompts
from xllms.feedback.unit import Prompts, Work, candidate_counts, pair_counts, pairs_path, rankings_path, write_unit
from xllms.feedback.writers import Sampled, Writers
from xllms.languages import Language, get, resolve
from xllms.languages.table import some_names
from xllms.manifest import StageFolder, fingerprint, output_fingerprint, sha256_file
from xllms.processes import say
from xllms.progress import Progress
from xllms.recipe import FeedbackSettings, ModelSettings
from xllms.recipe.feedback import ImplicitRankerSettings, ReferenceRankerSettings
from xllms.records import Prompt
from xllms.splits import asked_in_evaluation, read_split

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
    split, left_out = _prompts(settings, instructions)
    asked, planned = _asked(settings, split, seed)
    if not asked:
        raise _nothing_asked(settings, split, instructions)
    _check_references(settings, asked)
    _check_ids(asked)
    if settings.prompts_from:
        left_out["prompts_from"] |= _passed_over(settings, split, asked)
    asked, foreign = _without_foreign(asked)
    stage.begin()
    waiting = {language for language in asked if not pairs_path(folder, language).exists()}
    with Progress("feedback", len(asked), "languages") as progress:
        progress.resume_at(len(asked) - len(waiting))
        if waiting:
            panel = writers.panel(settings, _english(split))
            told = {code: [one for one in records if not foreign_reference(one)] for code, records in split.items()}
            work = Work(settings, seed, folder, told, _by_fact(told), writers, panel)
            order = list(asked)
            for start in range(0, len(order), settings.batch_languages):
                group = order[start : start + settings.batch_languages]
                sampled = _sampled(group, asked, work) if waiting & set(group) else {}
                for language in (language for language in group if language in waiting):
                    write_unit(language, asked[language], sampled, work)
                    progress.advance(1, language.name)
    paths = [pairs_path(folder, language) for language in asked]
    counts = {**pair_counts(paths), **planned, **candidate_counts(folder, list(asked)), **left_out, **foreign}
    if empty := [get(code) for code, pairs in counts["languages"].items() if not pairs]:
        say(f"feedback: no pair in {some_names(empty)}; candidates/ has the answers and what was found of them")
    stage.finish(counts, [*paths, *(rankings_path(folder, language) for language in asked)])


def _inputs(settings: FeedbackSettings, instructions: Path, sft: Path) -> dict[str, str]:
    """Digests of all that is read: earlier stages, the plan's tables, the models that rank."""
    inputs = {} if settings.prompts_from else {"instructions": output_fingerprint(instructions)}
    inputs["sft"] = output_fingerprint(sft)
    for source in settings.prompts_from:
        inputs[str(source.path)] = _digest(source.path)
    if settings.prompts_from and (held_out := asked_in_evaluation(instructions)):
        inputs["evaluation"] = fingerprint(sorted(held_out))
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


def _digest(path: Path) -> str:
    try:
        return sha256_file(path)
    except OSError as error:
        raise InputError(f"feedback.prompts_from: {path}: cannot be read: {error.strerror}") from None


def _prompts(settings: FeedbackSettings, instructions: Path) -> tuple[Prompts, dict[str, Any]]:
    """By response language: the user's own, or the feedback split; and what was left out, for the manifest."""
    if not settings.prompts_from:
        return read_split(instructions, "feedback"), {}
    prompts, left_out = read_prompts(settings.prompts_from, asked_in_evaluation(instructions))
    return prompts, {"prompts_from": left_out}


def _nothing_asked(settings: FeedbackSettings, split: Prompts, instructions: Path) -> InputError:
    place = "feedback.prompts_from" if settings.prompts_from else str(instructions / "feedback")
    return InputError(
        f"{place}: none of the feedback languages has prompts here: feedback.languages are "
        f"{', '.join(settings.languages)}, the prompts are in {', '.join(split) or 'none'}; name some of these there"
    )


def _check_ids(asked: Mapping[Language, Sequence[Prompt]]) -> None:
    """Answers are found by their prompt's id: under one id, two prompts would be given each other's."""
    times = Counter(one.id for records in asked.values() for one in records)
    if twice := [name for name, count in times.items() if count > 1]:
        raise InputError(f"feedback: two prompts have the id {twice[0]}; give each record an id of its own")


def _passed_over(
    settings: FeedbackSettings, split: Prompts, asked: Mapping[Language, Sequence[Prompt]]
) -> dict[str, Any]:
    """Prompts of the user's own that nobody is asked, by why."""
    drawn = [one for records in asked.values() for one in records]
    wanted = {language.code for language in resolve(settings.languages)}
    if settings.plan == "matrix":  # names its own
        wanted |= {code for one in drawn for code in (one.language, one.instruction_language)}
    elsewhere = {code: len(records) for code, records in split.items() if code not in wanted}
    ids = {one.id if settings.plan == "same" else one.parallel_id for one in drawn}
    inside = [one for code, records in split.items() if code in wanted for one in records]
    beyond = sum((one.id if settings.plan == "same" else one.parallel_id) not in ids for one in inside)
    return {
        **({"not in feedback.languages": elsewhere} if elsewhere else {}),
        **({"beyond feedback.prompts": beyond} if beyond else {}),
    }


def _without_foreign(
    asked: Mapping[Language, Sequence[Prompt]],
) -> tuple[dict[Language, Sequence[Prompt]], dict[str, Any]]:
    """The prompts, those whose reference is in another language as prompts that have none; and how many those are."""
    counts = {language.code: sum(map(foreign_reference, records)) for language, records in asked.items()}
    own = {
        language: [_unanswered(one) if foreign_reference(one) else one for one in records]
        if counts[language.code]
        else records
        for language, records in asked.items()
    }
    found = {code: count for code, count in counts.items() if count}
    return own, {"reference in another language": found} if found else {}


def _unanswered(record: Prompt) -> Prompt:
    return Prompt.model_validate({**record.model_dump(include=set(Prompt.model_fields)), "output": ""})


def _check_references(settings: FeedbackSettings, asked: Mapping[Language, Sequence[Prompt]]) -> None:
    without = [record.id for records in asked.values() for record in records if not record.output]
    weighing = [ranker for ranker in settings.rankers if ranker.weight]
    if without and all(isinstance(ranker, ReferenceRankerSettings) for ranker in weighing):
        raise InputError(
            f"feedback.rankers: only `reference` weighs, and {len(without)} prompts have no answer to compare with "
            f"({without[0]}); give `language` a weight, or add judge, implicit or translation"
        )


def _asked(
    settings: FeedbackSettings, split: Prompts, seed: int
) -> tuple[dict[Language, Sequence[Prompt]], dict[str, Any]]:
    """Response language -> its prompts, in the order of the languages; and what came of the plan, for the manifest."""
    languages = [language for language in resolve(settings.languages) if language.code in split]
    if settings.plan in ("english", "matrix") and any(not one.output for records in split.values() for one in records):
        languages = list(resolve(settings.languages))  # what needs no reference can be answered in any
    if settings.plan == "uniform" and not languages:
        return {}, {}
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


def _sampled(
    group: Sequence[Language], asked: Mapping[Language, Sequence[Prompt]], work: Work
) -> Mapping[str, Sampled]:
    """Answers to the prompts of a group of languages, side by side: one language alone leaves the processor idle.

    They are the same whatever ran before, so a group is asked as a whole even where some of it is done.
    """
    seed = work.seed_of(*group)
    return work.writers.sample([record for language in group for record in asked[language]], work.settings, seed)


def _by_fact(split: Prompts) -> dict[str, dict[str, Prompt]]:
    facts: dict[str, dict[str, Prompt]] = {}
    for code, records in split.items():
        for record in records:
            if record.parallel_id and record.output:
                facts.setdefault(record.parallel_id, {})[code] = record
    return facts


def _english(split: Prompts) -> dict[str, Prompt]:
    """For each parallel_id a record that asks in English, the English one if there is one."""
    order = sorted(split, key=lambda code: code != _ENGLISH)
    found: dict[str, Prompt] = {}
    for record in (record for code in order for record in split[code]):
        if record.instruction_language == _ENGLISH and record.parallel_id:
            found.setdefault(record.parallel_id, record)
    return found
