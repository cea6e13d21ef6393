"""Stage 3 as a whole: for each language, sample answers from the SFT model, rank them and write preference pairs."""

import json
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from xllms.engines.local import LocalEngine
from xllms.engines.protocol import Sampling
from xllms.errors import InputError
from xllms.feedback.ranking import Candidate, judge, pair, rank, ranking, wrong_language
from xllms.languages import Language, get, resolve
from xllms.manifest import StageFolder, fingerprint, output_fingerprint, write_atomic
from xllms.models import load
from xllms.progress import Progress
from xllms.recipe import FeedbackSettings, ModelSettings
from xllms.records import Instruction, to_jsonl
from xllms.splits import read_split


def run(
    settings: FeedbackSettings,
    model: ModelSettings,
    template: str,
    seed: int,
    instructions: Path,
    sft: Path,
    folder: Path,
) -> None:
    """Write `preferences/<code>.jsonl`, `rankings/<code>.jsonl` and, beside them, every candidate with its scores.

    Raises:
        InputError: none of the languages has prompts, no SFT adapter, a folder made with other settings.
    """
    stage = StageFolder(
        folder,
        "feedback",
        {
            "feedback": settings.model_dump(mode="json"),
            "model": model.model_dump(mode="json"),
            "template": template,
            "seed": seed,
        },
        {"instructions": output_fingerprint(instructions), "sft": output_fingerprint(sft)},
    )
    if stage.done:
        return
    prompts = read_split(instructions, "feedback")
    languages = [language for language in resolve(settings.languages) if language.code in prompts]
    if not languages:
        raise InputError(f"{instructions / 'feedback'}: none of the feedback languages has prompts here")
    stage.begin()
    waiting = [language for language in languages if not _pairs_path(folder, language).exists()]
    with Progress("feedback", len(languages), "languages") as progress:
        progress.resume_at(len(languages) - len(waiting))
        if waiting:
            engine = LocalEngine(load(model, template, sft))
            same_fact = _by_fact(prompts)
            for language in waiting:
                _write_unit(language, prompts[language.code], same_fact, engine, settings, seed, folder)
                progress.advance(1, language.name)
    paths = [_pairs_path(folder, language) for language in languages]
    stage.finish(_counts(paths), [*paths, *(_rankings_path(folder, language) for language in languages)])


def _write_unit(
    language: Language,
    records: Sequence[Instruction],
    same_fact: Mapping[str, Mapping[str, Instruction]],
    engine: LocalEngine,
    settings: FeedbackSettings,
    seed: int,
    folder: Path,
) -> None:
    unit_seed = int(fingerprint([seed, "feedback", language.code])[:8], 16)  # the same whatever ran before
    draw = random.Random(unit_seed)
    records = list(records)[: settings.prompts]
    answers = _sample(records, engine, settings, unit_seed)
    pairs, rankings, lines = [], [], []
    for record in records:
        texts = dict.fromkeys(answers[record.id])
        ranked = rank([judge(text, record, language, "sample of the SFT model") for text in texts])
        constructed = wrong_language(record, same_fact.get(record.parallel_id, {}), language, draw)
        pairs += pair(record, ranked, constructed)
        rankings += ranking(record, ranked, constructed)
        lines.append(json.dumps(_candidates(record, ranked, constructed), ensure_ascii=False) + "\n")
    write_atomic(folder / "candidates" / f"{language.code}.jsonl", "".join(lines))
    write_atomic(_rankings_path(folder, language), to_jsonl(rankings))
    write_atomic(_pairs_path(folder, language), to_jsonl(pairs))


def _sample(
    records: Sequence[Instruction], engine: LocalEngine, settings: FeedbackSettings, seed: int
) -> dict[str, list[str]]:
    """Answers to each record. One that was cut off at the limit never said its end, and is left out of the ranking."""
    answers: dict[str, list[str]] = {}
    for one_line in (True, False):
        part = [record for record in records if record.one_line is one_line]
        asked = [(r.instruction, r.input) for r in part for _ in range(settings.samples)]
        sampling = Sampling(settings.temperature, settings.top_p, seed, one_line)
        written = engine.write(asked, settings.max_new_tokens, sampling)
        for number, record in enumerate(part):
            own = written[number * settings.samples : (number + 1) * settings.samples]
            answers[record.id] = [answer.text for answer in own if answer.ended]
    return answers


def _candidates(
    record: Instruction, ranked: Sequence[Candidate], constructed: tuple[str, str] | None
) -> dict[str, Any]:
    return {
        "id": record.id,
        "instruction": record.instruction,
        "reference": record.output,
        "samples": [{"text": c.text, "chrf": round(c.chrf, 2), "language": c.status, "found": c.found} for c in ranked],
        "wrong_language": {"text": constructed[0], "language": constructed[1]} if constructed else None,
    }


def _by_fact(prompts: Mapping[str, Sequence[Instruction]]) -> dict[str, dict[str, Instruction]]:
    facts: dict[str, dict[str, Instruction]] = {}
    for code, records in prompts.items():
        for record in records:
            if record.parallel_id:
                facts.setdefault(record.parallel_id, {})[code] = record
    return facts


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
