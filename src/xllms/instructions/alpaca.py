"""Source `alpaca`: the user's own data in Alpaca form, a JSON array or JSON lines."""

import json
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

from xllms.errors import InputError
from xllms.instructions.rejected import Rejected
from xllms.languages import get
from xllms.recipe import AlpacaSource
from xllms.records import Instruction, read_json_lines
from xllms.splits import SPLITS

DUPLICATE = "stands earlier in the file"


def alpaca_records(settings: AlpacaSource, seed: int) -> tuple[dict[str, list[Instruction]], list[Rejected]]:
    """The records of one file by split, and its repeated ones.

    The split comes from the seed and the prompt alone, so two responses to one prompt never part.

    Raises:
        InputError: the file cannot be read, is empty or cut off, or a record lacks what it needs; names file
            and line.
    """
    language, asked_in = get(settings.language).code, get(settings.instruction_language).code
    records: dict[str, list[Instruction]] = {split: [] for split in SPLITS}
    rejected: list[Rejected] = []
    seen: set[str] = set()
    for where, value in _read(settings.path):
        fields = {name: _text(value, name, where) for name in ("instruction", "input", "output")}
        parallel_id = f"alpaca:{_digest(*fields.values()).hex()[:16]}"
        if parallel_id in seen:
            text = fields["instruction"]
            again = Rejected(id=parallel_id, language=language, source="alpaca", reason=DUPLICATE, text=text)
            rejected.append(again)
            continue
        seen.add(parallel_id)
        split = _split(settings, seed, fields["instruction"], fields["input"])
        record = Instruction(
            id=f"{parallel_id}:{language}",
            **fields,
            language=language,
            instruction_language=asked_in,
            source="alpaca",
            parallel_id=parallel_id,
        )
        records[split].append(record)
    if not seen:
        raise InputError(f"{settings.path}: holds no records; fill it or take the source out")
    return records, rejected


def _split(settings: AlpacaSource, seed: int, *prompt: str) -> str:
    point = int.from_bytes(_digest(str(seed), *prompt)[:8]) / 2**64
    for split in ("validation", "feedback", "evaluation"):
        share: float = getattr(settings, f"{split}_share")
        if point < share:
            return split
        point -= share
    return "train"


def _digest(*texts: str) -> bytes:
    return sha256(json.dumps(texts, ensure_ascii=False).encode("utf-8", "surrogatepass")).digest()


def _text(value: Any, name: str, where: str) -> str:
    """One field of a record; only `input` may be absent or empty."""
    if not isinstance(value, dict):
        raise InputError(f"{where}: not an object with instruction, input, output: {json.dumps(value)[:40]}")
    if name not in value and name != "input":
        raise InputError(f"{where}: field `{name}` is missing (has: {', '.join(value) or 'nothing'})")
    text = value.get(name) if value.get(name) is not None or name != "input" else ""
    if isinstance(text, str) and not text.isprintable() and any("\ud800" <= c <= "\udfff" for c in text):
        raise InputError(
            f"{where}: field `{name}` holds half a character (a lone surrogate); repair or drop the record"
        )
    if not isinstance(text, str):
        raise InputError(f"{where}: field `{name}` is not a text but {json.dumps(text)[:40]}")
    if not text.strip() and name != "input":
        raise InputError(f"{where}: field `{name}` is empty; fill it or remove the record")
    return text


def _read(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield (`file:line` with the record's index, JSON value)."""
    if _starts_array(path):
        yield from _read_array(path)
        return
    for line, value in read_json_lines(path):
        yield f"{path}:{line}", value


def _starts_array(path: Path) -> bool:
    try:
        with path.open(encoding="utf-8-sig") as file:
            return next((line.lstrip() for line in file if line.strip()), "").startswith("[")
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text (byte {error.start}); save it as UTF-8") from None


def _read_array(path: Path) -> Iterator[tuple[str, Any]]:
    """Decode an array element by element: json.loads would not tell on which line a record stands."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    decoder = json.JSONDecoder()
    at, line, index = _after_space(text, text.index("[") + 1), 1, 0
    counted = 0
    if text[at : at + 1] != "]":
        while True:
            line, counted = line + text.count("\n", counted, at), at
            where = f"{path}:{line}: record {index}"
            try:
                value, at = decoder.raw_decode(text, at)
            except json.JSONDecodeError as error:
                raise _broken(path, text, error.pos, error.msg, index) from None
            yield where, value
            at, index = _after_space(text, at), index + 1
            if text[at : at + 1] != ",":
                break
            at = _after_space(text, at + 1)
    if text[at : at + 1] != "]":
        raise _broken(path, text, at, "expected , or ]", index)
    if text[at + 1 :].strip():
        raise _broken(path, text, at + 1, "text after the array", index)


def _after_space(text: str, at: int) -> int:
    while text[at : at + 1] in (" ", "\n", "\r", "\t") and at < len(text):
        at += 1
    return at


def _broken(path: Path, text: str, at: int, message: str, index: int) -> InputError:
    rest = text[at:].strip()
    cut = "; the file seems to be cut off here" if not rest or "Unterminated" in message else ""
    line = text.count("\n", 0, at) + 1
    return InputError(f"{path}:{line}: not JSON in record {index} (counted from 0): {message}{cut}")
