"""COMET of translations, added once a model has answered a whole table, so that COMET loads once for all languages.

Scores are kept language by language, each with a digest of what was scored by which COMET model: a killed run goes on
with the next of the evaluated models, and a score is never taken for one of another translation. An empty translation
scores 0 without asking: COMET gives it more than many a wrong one.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from xllms.manifest import fingerprint, write_atomic
from xllms.metrics.comet import COMMAND, segment_scores
from xllms.records import Prediction, Record, read_jsonl, to_jsonl

Cells = Mapping[str, Mapping[str, Sequence[Prediction]]]  # task -> model -> predictions


class Scored(Record):
    """One translation's score; `asked` is the digest of COMET model, source, translation and reference."""

    id: str
    asked: str
    score: float


def add_comet(
    cells: Cells,
    model: str,
    folder: Path,
    command: str = COMMAND,
    gpus: int = 0,
    advance: Callable[[int, str], None] = lambda count, label: None,
) -> dict[str, dict[str, list[Prediction]]]:
    """The same predictions with a score `comet`.

    Args:
        cells: of one table.
        model: of COMET, such as Unbabel/wmt22-comet-da; one with `kiwi` in its name is given no references.
        folder: where this table's scores are kept: `MODEL/TASK.jsonl`.
        command: how `comet-score` is called.
        gpus: that it may use.
        advance: told of items that were scored, with a label.

    Raises:
        InputError: COMET is not installed; says how it is.
        XllmsError: it failed.
    """
    found: dict[str, dict[str, list[Prediction]]] = {
        key: {name: list(predictions) for name, predictions in by_model.items()} for key, by_model in cells.items()
    }
    for name in dict.fromkeys(name for by_model in cells.values() for name in by_model):
        rows = {key: by_model[name] for key, by_model in cells.items() if name in by_model}
        digests = {key: [_digest(one, model) for one in predictions] for key, predictions in rows.items()}
        known = _known(folder / name, rows)
        waiting = {
            digest: one
            for key, predictions in rows.items()
            for one, digest in zip(predictions, digests[key], strict=True)
            if digest not in known
        }
        known |= _scores(waiting, model, command, gpus)
        for key, predictions in rows.items():
            scores = [known[digest] for digest in digests[key]]
            _keep(folder / name / f"{key}.jsonl", predictions, digests[key], scores)
            found[key][name] = [
                one.model_copy(update={"scores": {**one.scores, "comet": score}})
                for one, score in zip(predictions, scores, strict=True)
            ]
        advance(sum(map(len, rows.values())), f"{name} by COMET")
    return found


def _known(folder: Path, rows: Mapping[str, Sequence[Prediction]]) -> dict[str, float]:
    paths = [path for key in rows if (path := folder / f"{key}.jsonl").exists()]
    return {one.asked: one.score for path in paths for one in read_jsonl(path, Scored)}


def _scores(waiting: Mapping[str, Prediction], model: str, command: str, gpus: int) -> dict[str, float]:
    empty = {digest: 0.0 for digest, one in waiting.items() if not one.output.strip()}
    asked = {digest: one for digest, one in waiting.items() if digest not in empty}
    if not asked:
        return empty
    said = segment_scores(
        [one.source for one in asked.values()],
        [one.output for one in asked.values()],
        None if _reads_no_references(model) else [one.reference for one in asked.values()],
        model,
        command,
        gpus,
    )
    return {**empty, **dict(zip(asked, said, strict=True))}


def _keep(path: Path, predictions: Sequence[Prediction], digests: Sequence[str], scores: Sequence[float]) -> None:
    found = [
        Scored(id=one.id, asked=digest, score=score)
        for one, digest, score in zip(predictions, digests, scores, strict=True)
    ]
    text = to_jsonl(found)
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        write_atomic(path, text)


def _reads_no_references(model: str) -> bool:
    return "kiwi" in model.lower()


def _digest(one: Prediction, model: str) -> str:
    reference = "" if _reads_no_references(model) else one.reference
    return fingerprint([model, one.source, one.output, reference])[:32]
