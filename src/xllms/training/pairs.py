"""What preference training learns from: the feedback stage's pairs or rankings, and files of the user's own."""

from pathlib import Path

from xllms.errors import InputError
from xllms.formats import read_preferences
from xllms.formats.fields import digest
from xllms.manifest import STARTED, output_fingerprint, sha256_file
from xllms.recipe import DpoSettings
from xllms.records import Preference, Ranking, read_jsonl

Records = list[Preference | Ranking]


def inputs(settings: DpoSettings, feedback: Path) -> dict[str, str]:
    """Digests of all that `read_pairs` reads.

    Raises:
        InputError: the feedback stage is not finished, or a file cannot be read.
    """
    found = {} if _left_out(settings, feedback) else {"feedback": output_fingerprint(feedback)}
    for source in settings.data:
        try:
            found[str(source.path)] = sha256_file(source.path)
        except OSError as error:
            raise InputError(f"dpo.data: {source.path}: cannot be read: {error.strerror}") from None
    return found


def read_pairs(settings: DpoSettings, feedback: Path) -> tuple[Records, dict[str, int]]:
    """Pairs, or rankings for the loss that takes them (a pair of one's own is a ranking of two); and where from.

    Args:
        settings: whose `data` are read.
        feedback: folder of that stage; one that was never run is passed over where `data` holds something.

    Returns:
        The records, and how many came from `feedback` and from each file, with the broken rows that were left out.

    Raises:
        InputError: nothing to learn from, or a row that cannot be read, with its file and line.
    """
    ranked = settings.loss.takes_ranking
    records: Records = [] if _left_out(settings, feedback) else _of_feedback(feedback, ranked)
    counts = {"feedback": len(records)} if records else {}
    for source in settings.data:
        reading = read_preferences(
            source.path,
            source.form,
            language=source.language,
            instruction_language=source.instruction_language,
            skip_bad=source.skip_bad,
        )
        before = len(records)
        records += (_as_ranking(pair) if ranked else pair for pair in reading)
        counts[str(source.path)] = len(records) - before
        if reading.skipped:
            counts[f"{source.path}: broken"] = len(reading.skipped)
    if not records:
        raise InputError(f"dpo.data: no row of {settings.data[0].path} can be read; see that they are pairs")
    return with_common_facts(records) if settings.data else records, counts


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


def _of_feedback(feedback: Path, ranked: bool) -> Records:
    kind: type[Preference] | type[Ranking] = Ranking if ranked else Preference
    name = "rankings" if ranked else "preferences"
    paths = sorted((feedback / name).glob("*.jsonl"))
    records: Records = [record for path in paths for record in read_jsonl(path, kind)]
    if not records:
        raise InputError(f"{feedback / name}: no {name} here; run `xllms feedback RECIPE` first")
    return records


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
