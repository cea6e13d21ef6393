"""Which split a CLDR fact belongs to: one answer for all languages.

A name's split comes from a hash of the seed and its id. A date belongs to a split only if its month and its
weekday do, a list only if all its names do, an amount only if its value and its currency do. So nothing that
is asked for in one split can be learnt from a composite in another, in any language.
"""

from collections.abc import Iterator
from datetime import date, timedelta
from functools import lru_cache
from hashlib import sha256
from random import Random

from xllms.instructions.cldr_book import Entity, common
from xllms.instructions.cldr_locale import universe
from xllms.splits import SPLITS

# Of twelve months and seven weekdays a hash might leave a split without any: they are dealt out by number.
_DEALT = {"month": (6, 1, 2, 3), "weekday": (3, 1, 1, 2)}
_SHARES = (0.60, 0.08, 0.14, 0.18)
_FIRST, _LAST = date(1990, 1, 1), date(2035, 12, 31)
_TRIES = 600


def split_of(entity_id: str, seed: int) -> str:
    """The split of one named thing or number value, such as `territory:FR` or `value:1250`."""
    kind, _, key = entity_id.partition(":")
    if kind in _DEALT:
        return _dealt(kind, seed)[key]
    point = int.from_bytes(sha256(f"{seed}:{entity_id}".encode()).digest()[:8]) / 2**64
    for split, share in zip(SPLITS, _SHARES, strict=True):
        point -= share
        if point < 0:
            return split
    return SPLITS[-1]


@lru_cache(maxsize=8)
def _dealt(kind: str, seed: int) -> dict[str, str]:
    keys = sorted(universe()[kind], key=lambda key: sha256(f"{seed}:{kind}:{key}".encode()).digest())
    splits = [split for split, count in zip(SPLITS, _DEALT[kind], strict=True) for _ in range(count)]
    return dict(zip(keys, splits, strict=True))


@lru_cache(maxsize=64)
def names(kind: str, split: str, seed: int) -> tuple[Entity, ...]:
    """The named things of one kind in one split, those first that even sparse locales name."""
    ids = [f"{kind}:{key}" for key in universe()[kind]]
    mine = [Entity(i, kind, kind, (i,)) for i in ids if split_of(i, seed) == split]
    Random(f"{seed}:{kind}").shuffle(mine)
    return tuple(sorted(mine, key=_is_rare))


@lru_cache(maxsize=8)
def dates(split: str, seed: int) -> tuple[Entity, ...]:
    """The days of 1990 to 2035 whose month and weekday are in the split."""
    days = (_FIRST + timedelta(n) for n in range((_LAST - _FIRST).days + 1))
    found = []
    for day in days:
        parts = (f"month:{day.month}", f"weekday:{day.weekday()}")
        if all(split_of(part, seed) == split for part in parts):
            found.append(Entity(f"date:{day}", "date", "date", parts))
    Random(f"{seed}:date").shuffle(found)
    return tuple(found)


def lists(split: str, seed: int, salt: str) -> Iterator[Entity]:
    """Lists of three languages or three territories, in turn; all names from the split, and common ones."""
    random = Random(f"{seed}:list:{split}:{salt}")
    pools = {kind: _common_names(kind, split, seed) for kind in ("language", "territory")}
    seen = set()
    for attempt in range(_TRIES):
        kind = ("language", "territory")[attempt % 2]
        if len(pools[kind]) < 3:
            continue
        parts = tuple(entity.id for entity in random.sample(pools[kind], 3))
        if frozenset(parts) not in seen:
            seen.add(frozenset(parts))
            keys = "+".join(part.partition(":")[2] for part in parts)
            yield Entity(f"list:{kind}:{keys}", "list", "list", parts)


def numbers(split: str, seed: int, salt: str) -> Iterator[Entity]:
    """Amounts of money, and between them decimal numbers and percentages; no value is in two splits."""
    random = Random(f"{seed}:number:{split}:{salt}")
    currencies = _common_names("currency", split, seed)
    seen = set()
    for attempt in range(_TRIES):
        form = ("amount", "decimal", "amount", "percent")[attempt % 4]
        value = _value(form, split, seed, random)
        parts: tuple[str, ...] = ()
        key = f"{value}%" if form == "percent" else value
        if form == "amount":
            currency = random.choice(currencies)
            key, parts = f"{value} {currency.key}", (currency.id,)
        if key not in seen:
            seen.add(key)
            yield Entity(f"number:{key}", "number", form, parts)


def _value(form: str, split: str, seed: int, random: Random) -> str:
    """A number of the split, drawn until it is one."""
    while True:
        if form == "decimal":
            value = str(random.randint(12_000, 99_999_999) / 10)
        else:
            value = str(random.randint(2, 99 if form == "percent" else 9_999))
        if split_of(f"value:{value}", seed) == split:
            return value


def _common_names(kind: str, split: str, seed: int) -> tuple[Entity, ...]:
    return tuple(entity for entity in names(kind, split, seed) if entity.id in common())


def candidates(kind: str, split: str, seed: int, salt: str) -> Iterator[Entity]:
    """The facts of one kind in one split, in the order in which they are taken.

    Args:
        kind: a kind of `CldrSource.kinds`.
        split: the split.
        seed: the recipe's seed.
        salt: empty for the order that all languages share; a language's code for an order of its own.
    """
    if kind == "list":
        yield from lists(split, seed, salt)
    elif kind == "number":
        yield from numbers(split, seed, salt)
    else:
        pool = list(dates(split, seed) if kind == "date" else names(kind, split, seed))
        if salt:
            Random(f"{seed}:{kind}:{split}:{salt}").shuffle(pool)
            pool.sort(key=_is_rare)
        yield from pool


def _is_rare(entity: Entity) -> bool:
    """Sorts names that a sparse locale lacks, such as Sogdian, behind those that all have."""
    return entity.kind != "date" and entity.id not in common()
