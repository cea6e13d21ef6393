"""A run's instructions or preference pairs in the form that another tool reads."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from xllms.errors import InputError
from xllms.formats import write_instructions, write_preferences
from xllms.formats.hub import push
from xllms.languages import resolve
from xllms.manifest import read_manifest, write_atomic
from xllms.records import Instruction, Preference, RecordT, read_jsonl

ENDINGS = {"jsonl": ".jsonl", "json": ".json", "parquet": ".parquet"}
STAGES = ("instructions", "feedback")
CARD = "README.md"


def export(
    run: Path,
    folder: Path,
    stage: str = "instructions",
    form: str = "xllms",
    container: str = "jsonl",
    languages: Sequence[str] = (),
    repo_id: str = "",
) -> dict[str, int]:
    """Write one file per split, all languages in it one after another; of all languages, with the data card.

    Args:
        run: folder of a run.
        folder: where the files go; must not exist yet.
        stage: `instructions`, or `feedback` for its preference pairs.
        form: as in `formats.write_instructions` and `formats.write_preferences`.
        container: jsonl, json or parquet.
        languages: groups or names; all if empty.
        repo_id: data set repository on the hub that the folder is sent to; nothing is sent if empty.

    Returns:
        Name of each file -> records in it.

    Raises:
        InputError: no such run or stage, an unknown form, a folder that is there.
    """
    if stage not in STAGES:
        raise InputError(f"cannot export `{stage}`; there are {', '.join(STAGES)}")
    if container not in ENDINGS:
        raise InputError(f"cannot write `{container}`; there are {', '.join(ENDINGS)}")
    source = run / stage
    read_manifest(source)
    if folder.exists():
        raise InputError(f"{folder}: is there already; name a new folder")
    wanted = {language.code for language in resolve(languages)} if languages else None
    written: dict[str, int] = {}
    for part in sorted(path for path in source.iterdir() if path.is_dir()):
        paths = [path for path in sorted(part.glob("*.jsonl")) if wanted is None or path.stem in wanted]
        target = folder / f"{part.name}{ENDINGS[container]}"
        if stage == "instructions" and part.name != "rejected" and paths:
            written[target.name] = write_instructions(target, _records(paths, Instruction), form)
        elif part.name == "preferences" and paths:
            written[target.name] = write_preferences(target, _records(paths, Preference), form)
    if not written:
        raise InputError(f"{source}: has nothing in the languages asked for")
    if (source / CARD).exists() and wanted is None:
        card = (source / CARD).read_text(encoding="utf-8")
        for name in written:
            card = card.replace(f"{name.partition('.')[0]}/*.jsonl", name)
        write_atomic(folder / CARD, card)
    if repo_id:
        push(folder, repo_id)
    return written


def _records(paths: Sequence[Path], record_type: type[RecordT]) -> Iterator[RecordT]:
    for path in paths:
        yield from read_jsonl(path, record_type)
