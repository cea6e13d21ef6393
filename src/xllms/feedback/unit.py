"""The unit of work of this stage, one language: its prompts' answers ranked, set against each other, and written.

`preferences/<code>.jsonl` is written last: where it is, the language is done.
"""

import json
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xllms.feedback.candidates import Candidate
from xllms.feedback.pairing import preferences, rankings
from xllms.feedback.rankers import Panel
from xllms.feedback.rejects import Reject, answered, construct, from_samples
from xllms.feedback.writers import Sampled, Writers
from xllms.languages import Language, get
from xllms.manifest import fingerprint, write_atomic
from xllms.recipe import FeedbackSettings
from xllms.records import Preference, Prompt, Ranking, read_json_lines, to_jsonl

Prompts = Mapping[str, Sequence[Prompt]]


@dataclass(frozen=True)
class Work:
    """What every unit needs."""

    settings: FeedbackSettings
    seed: int
    folder: Path
    split: Prompts
    same_fact: Mapping[str, Mapping[str, Prompt]]
    writers: Writers
    panel: Panel

    def seed_of(self, *languages: Language) -> int:
        """The seed of what is drawn for these languages."""
        return int(fingerprint([self.seed, "feedback", *(language.code for language in languages)])[:8], 16)


@dataclass(frozen=True)
class _Ranked:
    """A prompt's samples, best first, its reference if it has one, and what was counted of both."""

    record: Prompt
    samples: list[Candidate]
    reference: Candidate | None
    counts: Counter[str]
    refusals: Mapping[str, str]


def write_unit(language: Language, records: Sequence[Prompt], sampled: Mapping[str, Sampled], work: Work) -> None:
    """Rank the answers to one language's prompts, and write its candidates, rankings and, last, its pairs.

    Args:
        language: that is answered in.
        records: its prompts.
        sampled: the answers to each, by its id.
        work: what every unit needs.

    Raises:
        EngineError: a judge or translator cannot go on.
    """
    settings, folder = work.settings, work.folder
    draw = random.Random(work.seed_of(language))
    pairs: list[Preference] = []
    orders: list[Ranking] = []
    lines: list[str] = []
    unit = [_ranked(record, sampled[record.id], work) for record in records]
    # What another question may be answered with: the references, or the best samples where there are none.
    said = [own for one in unit if not one.record.output and (own := answered(one.record, one.samples))]
    said += [record for record in work.split.get(language.code, ()) if record.output]
    for one in unit:
        constructed = _constructed(one, said, work, draw)
        pairs += preferences(one.record, one.samples, one.reference, constructed, settings.pairing)
        orders += rankings(one.record, one.samples, one.reference, constructed, settings.pairing)
        lines.append(json.dumps(_candidates(one, constructed), ensure_ascii=False) + "\n")
    write_atomic(_candidates_path(folder, language), "".join(lines))
    write_atomic(rankings_path(folder, language), to_jsonl(orders))
    write_atomic(pairs_path(folder, language), to_jsonl(pairs))


def _ranked(record: Prompt, sampled: Sampled, work: Work) -> _Ranked:
    samples, reference = work.panel.rank(record, sampled.origins)
    counts = work.panel.take_counts() + sampled.left_out
    counts["no answer in the language"] = int(answered(record, samples) is None)
    refusals = {**sampled.refusals, **work.writers.judges_refusals()}
    return _Ranked(record, samples, reference, counts, refusals)


def _constructed(one: _Ranked, said: Sequence[Prompt], work: Work, draw: random.Random) -> list[Reject]:
    kinds, record = work.settings.rejects, answered(one.record, one.samples)
    if record is None:
        return []
    if one.reference is None:
        return from_samples(kinds, record, one.samples, said, draw)
    return construct(kinds, record, work.same_fact.get(record.parallel_id, {}), said, draw)


def _candidates(ranked: _Ranked, constructed: Sequence[Reject]) -> dict[str, Any]:
    return {
        "id": ranked.record.id,
        "instruction": ranked.record.instruction,
        "reference": ranked.record.output,
        "samples": [_sample(candidate) for candidate in ranked.samples],
        "constructed": [{"kind": one.kind, "text": one.text, "language": one.language} for one in constructed],
        "counts": {key: count for key, count in sorted(ranked.counts.items()) if count},
        **({"refusals": ranked.refusals} if ranked.refusals else {}),
    }


def _sample(candidate: Candidate) -> dict[str, Any]:
    near = None if candidate.chrf is None else round(candidate.chrf, 2)
    shown = {"text": candidate.text, "origin": candidate.origin, "chrf": near}
    language = {"language": candidate.status, "found": candidate.found}
    if candidate.total is None:
        return {**shown, **language}
    return {**shown, **language, "total": round(candidate.total, 2), "notes": candidate.notes}


def _candidates_path(folder: Path, language: Language) -> Path:
    return folder / "candidates" / f"{language.code}.jsonl"


def pairs_path(folder: Path, language: Language) -> Path:
    """Where a language's pairs go."""
    return folder / "preferences" / f"{language.code}.jsonl"


def rankings_path(folder: Path, language: Language) -> Path:
    """Where a language's rankings go."""
    return folder / "rankings" / f"{language.code}.jsonl"


def pair_counts(paths: Sequence[Path]) -> dict[str, Any]:
    """Pairs per language, and how often each reason stood behind a choice."""
    per_language: dict[str, int] = {}
    reasons: Counter[str] = Counter()
    for path in paths:
        rows = [row for _, row in read_json_lines(path)]
        per_language[get(path.stem).code] = len(rows)
        for row in rows:
            reasons[f"chosen: {row['chosen_reason'].partition(':')[0]}"] += 1
            reasons[f"rejected: {row['rejected_reason'].partition(':')[0]}"] += 1
    return {
        "pairs": sum(per_language.values()),
        "languages": per_language,
        "reasons": dict(sorted(reasons.items())),
    }


def candidate_counts(folder: Path, languages: Sequence[Language]) -> dict[str, Any]:
    """What sampling left out and what the rankers counted, over all units, those of an earlier start too.

    Of each engine that refused something, its first reason.
    """
    total: Counter[str] = Counter()
    refusals: dict[str, str] = {}
    for language in languages:
        for _, row in read_json_lines(_candidates_path(folder, language)):
            total.update(row["counts"])
            refusals = {**row.get("refusals", {}), **refusals}
    counted = {"candidates": dict(sorted(total.items()))} if total else {}
    return {**counted, **({"refusals": dict(sorted(refusals.items()))} if refusals else {})}
