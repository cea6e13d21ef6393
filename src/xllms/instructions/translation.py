"""Records in another language: instruction, input and output go through the translator together, as one text.

What it must not touch is masked before and put back after (`masking`). Where the text comes back with its fields run
into each other, each field is translated alone.
"""

from collections.abc import Sequence

from xllms.engines.protocol import Translator
from xllms.instructions.masking import Masked, join_fields, mask, split_fields, unmask
from xllms.languages import Language
from xllms.records import Instruction

Fields = tuple[str, str, str]  # instruction, input, output


def translate_records(
    records: Sequence[Instruction], translator: Translator, source: Language, target: Language
) -> list[Fields]:
    """Each record's fields in the target language, in order. A masked part that the translator lost is not in them.

    Raises:
        EngineError: the translator cannot go on.
    """
    joined = [mask(join_fields(*_fields(record))) for record in records]
    found = [_split(text, masked) for text, masked in _through(translator, joined, source, target)]
    apart = [i for i, record in enumerate(records) if not _alike(found[i], _fields(record))]
    alone = _through(translator, [mask(text) for i in apart for text in _fields(records[i])], source, target)
    texts = [unmask(text, masked.parts)[0].strip() for text, masked in alone]
    for at, i in enumerate(apart):
        instruction, input, output = texts[3 * at : 3 * at + 3]
        found[i] = (instruction, input, output)
    return [fields for fields in found if fields is not None]


def _fields(record: Instruction) -> Fields:
    return record.instruction, record.input, record.output


def _through(
    translator: Translator, masked: Sequence[Masked], source: Language, target: Language
) -> list[tuple[str, Masked]]:
    texts = translator.translate([one.text for one in masked], source, target) if masked else []
    return list(zip(texts, masked, strict=True))


def _split(text: str, masked: Masked) -> Fields | None:
    """Split before the parts are back: code may hold a line like the separator."""
    fields = split_fields(text)
    if fields is None:
        return None
    instruction, input, output = (unmask(field, masked.parts)[0] for field in fields)
    return instruction, input, output


def _alike(found: Fields | None, source: Fields) -> bool:
    """Whether the same fields hold a text."""
    return found is not None and [bool(f) for f in found] == [bool(text.strip()) for text in source]
