"""What preference training learns from: the feedback stage's pairs or rankings, and files of the user's own."""

from collections import Counter
from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any

from xllms.errors import InputError
from xllms.formats import read_preferences
from xllms.formats.fields import digest
from xllms.manifest import MANIFEST, STARTED, fingerprint, output_fingerprint, sha256_file
from xllms.recipe import DpoSettings
from xllms.records import Preference, Ranking, read_jsonl
from xllms.splits import asked_in_evaluation, prompt_key

Records = list[Preference | Ranking]
_SHOWN = 3  # broken rows of a file that the manifest names


def inputs(settings: DpoSettings, feedback: Path, instructions: Path | None = None) -> dict[str, str]:
    """Digests of all that `read_pairs` reads.

    Raises:
        InputError: the feedback stage is not finished, or a file cannot be read or stands twice.
    """
    found = {} if _left_out(settings, feedback) else {"feedback": _finished(settings, feedback)}
    if settings.data and (held_out := asked_in_evaluation(instructions)):
        found["evaluation"] = fingerprint(sorted(held_out))
    if twice := [path for path, times in Counter(one.path.resolve() for one in settings.data).items() if times > 1]:
        raise InputError(f"dpo.data: {twice[0]} stands twice; name it once")
    for source in settings.data:
        try:
            found[str(source.path)] = sha256_file(source.path)
        except OSError as error:
            raise InputError(f"dpo.data: {source.path}: cannot be read: {error.strerror}") from None
    return found


def read_pairs(
    settings: DpoSettings, feedback: Path, instructions: Path | None = None
) -> tuple[Records, dict[str, Any]]:
    """Pairs, or rankings for the loss that takes them (a pair of one's own is a ranking of two); and where from.

    Args:
        settings: whose `data` are read.
        feedback: folder of that stage; one that was never run is passed over where `data` holds something.
        instructions: folder of that stage; pairs of one's own that its evaluation asks are left out.

    Returns:
        The records, those that share a prompt or a parallel_id under one parallel_id; and how many came from `feedback`
        and from each file, with what was left out of it, by why.

    Raises:
        InputError: nothing to learn from, or a row that cannot be read, with its file and line.
    """
    ranked = settings.loss.takes_ranking
    records: Records = [] if _left_out(settings, feedback) else _of_feedback(feedback, ranked)
    counts: dict[str, Any] = {} if _left_out(settings, feedback) else {"feedback": len(records)}
    held_out = asked_in_evaluation(instructions) if settings.data else frozenset()
    for source in settings.data:
        reading = read_preferences(
            source.path,
            source.form,
            language=source.language,
            instruction_language=source.instruction_language,
            skip_bad=source.skip_bad,
        )
        left_out: Counter[str] = Counter()
        before = len(records)
        for pair in reading:
            if why := _unfit(pair, held_out):
                left_out[why] += 1
            else:
                records.append(_as_ranking(pair) if ranked else pair)
        counts[str(source.path)] = len(records) - before
        counts |= {f"{source.path}: {why}": count for why, count in left_out.items()}
        if reading.skipped:
            counts[f"{source.path}: broken"] = len(reading.skipped)
            counts[f"{source.path}: broken rows"] = [f"{where}: {why}" for where, why in reading.skipped[:_SHOWN]]
    if not records:
        raise _nothing_to_learn(settings, feedback, counts)
    return with_common_facts(records), counts


def _unfit(pair: Preference, held_out: Set[str]) -> str:
    """Why a pair of one's own is left out; empty where it is not."""
    if pair.chosen.strip() == pair.rejected.strip():
        return "chosen is rejected"
    return "asked in the evaluation" if prompt_key(pair.instruction, pair.input) in held_out else ""


def _nothing_to_learn(settings: DpoSettings, feedback: Path, counts: Mapping[str, Any]) -> InputError:
    if settings.data:
        why = "; ".join(f"{name}: {count}" for name, count in counts.items() if isinstance(count, int))
        return InputError(
            f"dpo.data: no row of {settings.data[0].path} can be read as a pair to learn from ({why}); see that they "
            "are pairs"
        )
    name = "rankings" if settings.loss.takes_ranking else "preferences"
    return InputError(
        f"{feedback / name}: the feedback stage is finished and made no {name}; `counts` in "
        f"{feedback / MANIFEST} say why: raise feedback.samples or feedback.max_new_tokens, lower "
        "feedback.pairing.min_margin, or name pairs of your own in dpo.data"
    )


def with_common_facts(records: Records) -> Records:
    """The records, those that share a prompt or a parallel_id under one parallel_id: they are held out together.

    A file that says nothing of parallels gives every pair a parallel_id of its own, two answers to one prompt too.
    """
    parent: dict[str, str] = {}

    def root(key: str) -> str:
        while parent.setdefault(key, key) != key:
            parent[key] = parent[parent[key]]
            key = parent[key]
        return key

    for record in records:
        prompt = _prompt_key(record)
        parent[root(prompt)] = root(record.parallel_id or prompt)
    return [record.model_copy(update={"parallel_id": root(_prompt_key(record))}) for record in records]


def _prompt_key(record: Preference | Ranking) -> str:
    return "prompt:" + digest(record.instruction, record.input).hex()[:16]


def _left_out(settings: DpoSettings, feedback: Path) -> bool:
    """One that was begun is meant to be trained on: it has to be finished first."""
    return bool(settings.data) and not (feedback / STARTED).exists()


def _finished(settings: DpoSettings, feedback: Path) -> str:
    try:
        return output_fingerprint(feedback)
    except InputError as error:
        if not settings.data:
            raise
        raise InputError(f"{error}, or remove that folder to train on `dpo.data` alone") from None


def _of_feedback(feedback: Path, ranked: bool) -> Records:
    kind: type[Preference] | type[Ranking] = Ranking if ranked else Preference
    paths = sorted((feedback / ("rankings" if ranked else "preferences")).glob("*.jsonl"))
    return [record for path in paths for record in read_jsonl(path, kind)]


def _as_ranking(pair: Preference) -> Ranking:
    return Ranking(
        id=pair.id,
        instruction=pair.instruction,
        input=pair.input,
        answers=pair.answers,
        reasons=(pair.chosen_reason, pair.rejected_reason),
        language=pair.language,
        instruction_language=pair.instruction_language,
        parallel_id=pair.parallel_id,
    )
