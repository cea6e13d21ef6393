"""Source `cldr`: facts from Babel's CLDR, asked in English, answered in each language."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import cycle

from xllms.instructions.cldr_book import Book, Entity, english_book
from xllms.instructions.cldr_locale import has_locale
from xllms.instructions.cldr_prompts import instruction
from xllms.instructions.cldr_split import candidates
from xllms.instructions.rejected import Rejected
from xllms.languages import Language
from xllms.recipe import CldrKind, CldrSource
from xllms.records import Instruction
from xllms.splits import SPLITS

NO_LOCALE = "the language has no CLDR locale"
HELD_OUT = "holds the answer of a fact that is held out"
COPIED = "the English text again, over the share allowed"
# Half of the items are several words long: one name hardly tells which language an answer is in.
_LONG_PLAN: tuple[CldrKind, ...] = (
    "date", "territory", "list", "language", "date", "currency",
    "list", "month", "date", "territory", "list", "number",
    "date", "language", "list", "territory", "date", "currency",
    "list", "weekday", "date", "territory", "list", "language",
)  # fmt: skip
# Welsh lists carry an alternative, `a(c)`, and are refused: dates keep up the share of long answers.
_STAND_IN: dict[CldrKind, CldrKind] = {"list": "date", "date": "list"}
_COPIED_SHARE = 10  # one item in ten may read as in English, such as Canada
_LETTERLESS_SHARE = 12  # one item in twelve may be digits alone
_UNSPACED = frozenset(("Hans", "Hant", "Jpan", "Hang", "Kore"))


@dataclass
class Drawn:
    """What the source gives for one language: records by split, and what was not taken."""

    records: dict[str, list[Instruction]]
    rejected: list[Rejected] = field(default_factory=list)


def cldr_records(settings: CldrSource, language: Language, seed: int) -> Drawn:
    """The CLDR records of one language.

    Evaluation and feedback take their facts in one order for all languages; training draws its own for each
    language. No text that evaluation asks for stands in an answer of feedback, validation or training, and so
    on.

    Args:
        settings: kinds, and how many records per split.
        language: language of the answers; without a CLDR locale nothing is drawn.
        seed: decides splits and order.
    """
    if not has_locale(language.cldr):
        nothing = Rejected(id="cldr", language=language.code, source="cldr", reason=NO_LOCALE)
        return Drawn({split: [] for split in SPLITS}, [nothing])
    drawer = _Drawer(language, seed, settings.kinds)
    taken = {
        "evaluation": drawer.draw("evaluation", settings.evaluation, _LONG_PLAN),
        "feedback": drawer.draw("feedback", settings.feedback, _LONG_PLAN),
        "validation": drawer.draw("validation", settings.validation, settings.kinds),
        "train": drawer.draw("train", settings.train, settings.kinds),
    }
    records = {split: [drawer.record(entity) for entity in taken[split]] for split in SPLITS}
    return Drawn(records, drawer.rejected)


class _Drawer:
    """Takes facts for one language, split after split, and remembers what is held out."""

    def __init__(self, language: Language, seed: int, kinds: Iterable[CldrKind]) -> None:
        self.language, self.seed, self.kinds = language, seed, frozenset(kinds)
        self.book = Book(language.cldr, language.script)
        self.english = english_book()
        self.rejected = [
            self._reject(id_, id_.partition(":")[0], reason)
            for id_, reason in self.book.refused.items()
            if id_.partition(":")[0] in self.kinds
        ]
        self._held: set[str] = set()
        self._shortest = 2 if language.script in _UNSPACED else 4

    def draw(self, split: str, count: int, plan: Iterable[CldrKind]) -> list[Entity]:
        """Up to `count` facts of one split, their kinds in the plan's order."""
        salt = self.language.code if split in ("train", "validation") else ""
        pools = {kind: candidates(kind, split, self.seed, salt) for kind in sorted(self.kinds)}
        taken: list[Entity] = []
        copied, letterless = count // _COPIED_SHARE, count // _LETTERLESS_SHARE
        for planned in cycle(plan):
            if len(taken) >= count or not pools:
                break
            kind = planned if planned in pools else _STAND_IN.get(planned, planned)
            if kind not in pools:
                continue
            entity = self._next(pools[kind], copied > 0, letterless > 0)
            if entity is None:
                del pools[kind]
                continue
            taken.append(entity)
            copied -= self._is_copied(entity)
            letterless -= not self._has_letters(entity)
        self._held |= {text for entity in taken for text in self._texts(entity)}
        return taken

    def record(self, entity: Entity) -> Instruction:
        """The instruction that asks for one fact."""
        answer, english = self.book.write(entity), self.english.write(entity)
        assert answer is not None and english is not None, entity
        return Instruction(
            id=f"cldr:{entity.id}:{self.language.code}",
            instruction=instruction(entity.form, entity.id, english, self.language.name),
            output=answer,
            language=self.language.code,
            source="cldr",
            kind=entity.kind,
            parallel_id=f"cldr:{entity.id}",
        )

    def _next(self, pool: Iterator[Entity], copied: bool, letterless: bool) -> Entity | None:
        """The next fact that the locale can write and that the shares and the held-out texts allow."""
        for entity in pool:
            text = self.book.write(entity)
            if text is None or self.english.write(entity) is None:
                continue
            if not letterless and not self._has_letters(entity):
                continue
            if not copied and self._is_copied(entity):
                if entity.parts == (entity.id,):
                    self.rejected.append(self._reject(entity.id, entity.kind, COPIED, text))
            elif self._holds_held_out(entity):
                self.rejected.append(self._reject(entity.id, entity.kind, HELD_OUT, text))
            else:
                return entity
        return None

    def _texts(self, entity: Entity) -> set[str]:
        texts = {self.book.names[part].casefold() for part in entity.parts}
        return texts | {(self.book.write(entity) or "").casefold()}

    def _holds_held_out(self, entity: Entity) -> bool:
        texts = self._texts(entity)
        long = [held for held in self._held if len(held) >= self._shortest]
        return not texts.isdisjoint(self._held) or any(held in text for text in texts for held in long)

    def _is_copied(self, entity: Entity) -> bool:
        """True when most of the fact reads as in English and says nothing about the answer's language."""
        if self.book is self.english or self.language.cldr == "en":
            return False
        names = [(self.book.names[part], self.english.names[part]) for part in entity.parts]
        pairs = names or [(self.book.write(entity) or "", self.english.write(entity) or "")]
        same = sum(own.casefold() == english.casefold() for own, english in pairs)
        return same * 2 > len(pairs)

    def _has_letters(self, entity: Entity) -> bool:
        return bool(entity.parts) or any(map(str.isalpha, self.book.write(entity) or ""))

    def _reject(self, entity_id: str, kind: str, reason: str, text: str = "") -> Rejected:
        id_, code = f"cldr:{entity_id}", self.language.code
        return Rejected(id=id_, language=code, source="cldr", kind=kind, reason=reason, text=text)
