"""The data side at full size: gates, duplicates, contamination and shards over millions of records in 84 languages.

Records are made on the fly from Tatoeba's and the declaration's human translations with a seeded generator, so 5.2
million need no disk of their own. Planted among them are repeats, near repeats, sentences of FLORES and blatant
translation faults. Every record takes every step, the refused ones too, which is more work than a real run has. At the
end the planted and the found are compared by record; without that agreement there is no result.

    python benchmarks/data.py [--quick] [--sizes 10000 200000] [--workers 2]

Ends with one JSON line: records per second of the largest size, with the making of the records in it; peak memory of
its largest process; growth: seconds a record at the largest size over those at the smallest.
"""

import argparse
import csv
import json
import lzma
import math
import multiprocessing
import random
import resource
import shutil
import statistics
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, partial
from itertools import islice
from pathlib import Path

from xllms.instructions.benchmark_texts import benchmark_texts
from xllms.instructions.contamination import NgramIndex, build_index
from xllms.instructions.duplicates import mark_duplicates
from xllms.instructions.gates import passes
from xllms.languages import UnknownLanguage, get
from xllms.manifest import write_atomic
from xllms.recipe.cleaning import ContaminationSettings, DuplicateSettings
from xllms.recipe.gates import GateSettings
from xllms.records import Instruction, to_jsonl

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
SIZES = (10_000, 200_000, 5_200_000)
SHARD = 1000
PLANTED = {"same": 0.02, "near": 0.02, "benchmark": 0.01, "untranslated": 0.01, "loop": 0.005, "cut": 0.005}
FAULTS = ("untranslated", "loop", "cut")
GATES_MISS, GATES_ACCUSE = 0.01, 0.10  # of the planted faults; of the human translations
# Among millions of records some are alike, or hold a benchmark's words, by chance, and a near repeat can miss every
# band of MinHash: of 5.2 million 15 and 21 records, and 6 of 104,164. Below 10,000 planted ones all must agree.
MISSED, BY_CHANCE = 1e-4, 1e-5  # of what was planted; of all other records
SHORT_ARTICLE = 200  # characters: a long article shared by two records would make them repeats by chance
Pairs = list[tuple[str, str]]


@dataclass(frozen=True)
class Planted:
    """A source record, its translation, and what is wrong with it; the id ends with the same word."""

    source: Instruction
    record: Instruction


@dataclass(frozen=True)
class Pools:
    """What records are made of: (English, translation) sentences and benchmark sentences of each language."""

    pairs: dict[str, Pairs]
    benchmark: dict[str, list[str]]
    index: NgramIndex


@dataclass
class Outcome:
    """What one language's unit did."""

    made: Counter[str]
    found: Counter[str]
    written: int
    seconds: float  # of the processor
    peak_gb: float


def load_pools() -> Pools:
    index = build_index(benchmark_texts(DATA), ContaminationSettings())
    pairs: dict[str, Pairs] = {}
    for code, english, text in (*_tatoeba(), *_articles()):
        pairs.setdefault(code, []).append((english, text))
    pairs = {code: rows for code, rows in sorted(pairs.items()) if len(rows) >= 100 and code != "eng_Latn"}
    pairs = {code: _clean(index, rows) for code, rows in pairs.items()}
    with lzma.open(DATA / "flores200" / "dev510.tsv.xz", "rt", encoding="utf-8", newline="") as file:
        flores = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    column = {code: code if code in flores[0] else "eng_Latn" for code in pairs}
    return Pools(pairs, {code: _long([row[column[code]] for row in flores]) for code in pairs}, index)


def _long(sentences: list[str]) -> list[str]:
    """The longer half: an n-gram fits into each, in any script."""
    return sorted(sentences, key=len)[len(sentences) // 2 :]


def _tatoeba() -> Iterator[tuple[str, str, str]]:
    with lzma.open(DATA / "tatoeba" / "tatoeba_v1_eng_pairs.tsv.xz", "rt", encoding="utf-8", newline="\n") as file:
        for line in islice(file, 1, None):
            name, english, text = line.rstrip("\n").split("\t")
            if code := _code(name):
                yield code, english, text


def _articles() -> Iterator[tuple[str, str, str]]:
    with lzma.open(DATA / "udhr" / "udhr_articles.tsv.xz", "rt", encoding="utf-8", newline="\n") as file:
        rows = [line.rstrip("\n").split("\t") for line in islice(file, 1, None)]
    english = {row[3]: row[4] for row in rows if row[0] == "eng"}
    for _, _, tag, article, text in rows:
        if 0 < len(english.get(article, "")) <= SHORT_ARTICLE and text and (code := _code(tag)):
            yield code, english[article], text


@cache
def _code(name: str) -> str:
    try:
        return get(name).code
    except UnknownLanguage:
        return ""


def _clean(index: NgramIndex, pairs: Pairs) -> Pairs:
    """Pairs that are in no benchmark already, on either side."""
    records = [Instruction(id="-", instruction=a, output=b, language="eng_Latn", source="pool") for a, b in pairs]
    return [pair for pair, (_, hit) in zip(pairs, index.find_all(records), strict=True) if not hit]


def make(code: str, count: int, pools: Pools) -> Iterator[Planted]:
    """The records of one language: a tenth of them planted, repeats always after what they repeat."""
    draw = random.Random(f"{code}:{count}")
    earlier: list[Planted] = []
    for number in range(count):
        kind = draw.choices(("clean", *PLANTED), (1 - sum(PLANTED.values()), *PLANTED.values()))[0]
        if kind in ("same", "near") and not earlier:
            kind = "clean"
        if kind in ("same", "near"):
            yield _repeat(draw.choice(earlier), f"{code}:{number}:{kind}", kind)
            continue
        made = _record(f"{code}:{number}:{kind}", code, kind, draw, pools)
        if kind == "clean" and len(made.record.output) > 300:  # one more word leaves it above the threshold for sure
            earlier = [*earlier[-199:], made] if len(earlier) < 400 else earlier
        yield made


def _record(name: str, code: str, kind: str, draw: random.Random, pools: Pools) -> Planted:
    pairs = pools.pairs[code]
    asked = draw.choices(pairs, k=draw.randint(1, 3))
    given = draw.choices(pairs, k=draw.randint(1, 3)) if draw.random() < 0.4 else []
    told = draw.choices(pairs, k=min(40, max(3, round(draw.lognormvariate(math.log(6), 0.7)))))
    serial = " ".join(str(draw.randint(1, 9999)) for _ in range(6))  # no two records are alike by chance
    output = f"{_joined(told, 1)} {serial}"
    if kind == "untranslated":
        output = f"{_joined(told, 0)} {serial}"
    elif kind == "loop":
        output = " ".join([told[0][1]] * 30)
    elif kind == "cut":
        told = told * 8
        output = told[0][1][:10]
    elif kind == "benchmark":
        output = f"{output}\n{draw.choice(pools.benchmark[code])}"
    english = f"{_joined(told, 0)} {serial}"
    fields = {"source": "made", "instruction_language": "eng_Latn"}
    source = Instruction(
        id=name, instruction=_joined(asked, 0), input=_joined(given, 0), output=english, language="eng_Latn", **fields
    )
    fields["instruction_language"] = code
    record = Instruction(
        id=name, instruction=_joined(asked, 1), input=_joined(given, 1), output=output, language=code, **fields
    )
    return Planted(source, record)


def _joined(pairs: Pairs, side: int) -> str:
    return " ".join(pair[side] for pair in pairs)


def _repeat(first: Planted, name: str, kind: str) -> Planted:
    record, source = first.record, first.source
    # Not in other case: swapped, the Turkish dotless i is another letter.
    output = record.output.replace(" ", "  ") + "\n" if kind == "same" else f"{record.output} 10000"
    return Planted(source, record.model_copy(update={"id": name, "output": output}))


def clean(code: str, count: int, pools: Pools, folder: Path) -> Outcome:
    """One language: its records through every step, the good ones into shards."""
    begun = time.process_time()
    waiting: deque[Planted] = deque()
    reasons: deque[str | None] = deque()

    def feed() -> Iterator[Instruction]:
        for planted in make(code, count, pools):
            waiting.append(planted)
            yield planted.record

    def marked() -> Iterator[Instruction]:
        for record, reason in mark_duplicates(feed(), DuplicateSettings()):
            reasons.append(reason)
            yield record

    made, found = Counter[str](), Counter[str]()
    language, gates = get(code), GateSettings()
    good: list[Instruction] = []
    written = shard = 0
    for record, hit in pools.index.find_all(marked()):
        source, reason = waiting.popleft().source, reasons.popleft()
        kind = record.id.rpartition(":")[2]
        refused = passes(source, record, gates, language)
        made[kind] += 1
        found.update(
            f"{kind}>{step}" for step, hurt in (("repeat", reason), ("benchmark", hit), ("gate", refused)) if hurt
        )
        if not (reason or hit or refused):
            found[f"{kind}>kept"] += 1
            good.append(record)
        if len(good) == SHARD:
            written += _write(folder / code / f"{shard:05}.jsonl", good)
            good, shard = [], shard + 1
    written += _write(folder / code / f"{shard:05}.jsonl", good)
    shutil.rmtree(folder / code)  # 5 GB otherwise
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    return Outcome(made, found, written, time.process_time() - begun, peak)


def _write(path: Path, records: list[Instruction]) -> int:
    """Write a shard and count what is on the disk."""
    write_atomic(path, to_jsonl(records))
    with path.open("rb") as file:
        return sum(1 for _ in file)


_POOLS: Pools  # set before the workers are forked, so that they share it


def _unit(job: tuple[str, int], folder: Path) -> Outcome:
    return clean(*job, _POOLS, folder)


def run(size: int, workers: int) -> tuple[float, float]:
    """(records per second, peak of the largest process in GB) of one size, or an error where the counts disagree."""
    codes = list(_POOLS.pairs)
    jobs = [(code, size // len(codes) + (at < size % len(codes))) for at, code in enumerate(codes)]
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder, multiprocessing.get_context("fork").Pool(workers) as pool:
        done = list(pool.imap_unordered(partial(_unit, folder=Path(folder)), jobs, chunksize=1))
    seconds = time.perf_counter() - begun
    made, found = sum((one.made for one in done), Counter()), sum((one.found for one in done), Counter())
    rate, peak = size / seconds, max(one.peak_gb for one in done)
    cost = sum(one.seconds for one in done) / size * 1e6  # what a busy machine does not change
    print(
        f"{size:9,} records  {rate:7,.0f} records/s  {cost:.0f} µs of a processor each  peak {peak:.2f} GB a process  "
        f"{seconds:.0f} s",
        flush=True,
    )
    _check(size, made, found, sum(one.written for one in done))
    return rate, peak


def _check(size: int, made: Counter[str], found: Counter[str], written: int) -> None:
    """Planted and found agree: but for chance in repeats and benchmarks, nearly in the gates, which judge language."""
    print(f"          planted {dict(made)}\n          found   {dict(sorted(found.items()))}")
    assert sum(made.values()) == size
    for step, planted in (("repeat", ("same", "near")), ("benchmark", ("benchmark",))):
        wanted = sum(made[kind] for kind in planted)
        right = sum(found[f"{kind}>{step}"] for kind in planted)
        wrong = sum(found[f"{kind}>{step}"] for kind in made if kind not in planted)
        assert right >= (1 - MISSED) * wanted, f"{step}: found {right} of {wanted}"
        assert wrong <= BY_CHANCE * (size - wanted), f"{step}: {wrong} records are none"
    faults = sum(made[kind] for kind in FAULTS)
    caught = sum(found[f"{kind}>gate"] for kind in FAULTS)
    accused = found["clean>gate"] / made["clean"]
    assert caught >= (1 - GATES_MISS) * faults, f"gates caught {caught} of {faults}"
    assert accused <= GATES_ACCUSE, f"gates refuse {accused:.1%} of human translations"
    assert written == sum(found[f"{kind}>kept"] for kind in made)
    print(f"          gates: {caught} of {faults} faults caught, {accused:.1%} of human translations refused")


def steps(count: int = 2000) -> None:
    """What each step costs by itself, in processor time of one process."""
    codes = list(_POOLS.pairs)[::8]
    costs: dict[str, float] = Counter()
    characters = []
    for code in codes:
        for one in make(code, 2, _POOLS):  # loads CLDR's words, one second a process
            passes(one.source, one.record, GateSettings(), get(code))
        start = time.process_time()
        planted = list(make(code, count // len(codes), _POOLS))
        marks = {"making": time.process_time()}
        records = [one.record for one in planted]
        _ = [passes(one.source, one.record, GateSettings(), get(code)) for one in planted]
        marks["gates"] = time.process_time()
        _ = list(mark_duplicates(records, DuplicateSettings()))
        marks["duplicates"] = time.process_time()
        _ = list(_POOLS.index.find_all(records))
        marks["contamination"] = time.process_time()
        with tempfile.TemporaryDirectory() as folder:
            _write(Path(folder) / "shard.jsonl", records)
        marks["writing"] = time.process_time()
        for name, mark in marks.items():
            costs[name] += (mark - start) / (count // len(codes) * len(codes)) * 1e6
            start = mark
        characters += [len(r.instruction) + len(r.input) + len(r.output) for r in records]
    print(f"records of {statistics.mean(characters):.0f} characters, half below {statistics.median(characters):.0f}")
    print("µs a record: " + ", ".join(f"{name} {cost:.0f}" for name, cost in costs.items()), flush=True)


def main() -> None:
    global _POOLS
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="stop at 200,000")
    parser.add_argument("--sizes", type=int, nargs="+")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    if not DATA.exists():
        sys.exit("needs the shared data beside the checkout (../shared/data)")
    begun = time.perf_counter()
    _POOLS = load_pools()
    index = _POOLS.index
    print(
        f"index: {len(index.hashes):,} n-grams of {sum(index.counts.values()):,} benchmark texts, "
        f"{index.size / 1e6:.0f} MB; with the sentences {time.perf_counter() - begun:.0f} s"
    )
    print(f"{len(_POOLS.pairs)} languages, {sum(map(len, _POOLS.pairs.values())):,} sentence pairs", flush=True)
    steps()
    results = [run(size, options.workers) for size in options.sizes or SIZES[: 2 if options.quick else 3]]
    result = {"records_per_s": round(results[-1][0]), "peak_rss_gb": round(results[-1][1], 2)}
    print(json.dumps({**result, "growth": round(results[0][0] / results[-1][0], 2)}))


if __name__ == "__main__":
    main()
