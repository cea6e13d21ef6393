"""Benchmark `flores`: translation of FLORES sentences, from English, into English and between others.

`paper` asks as the authors did, 200 sentences drawn as `datasets` shuffles them with seed 42, and 60 pairs without
English; which pairs those were, and how their prompts named the languages, is not known: a rule (`ring`) and the
registry's English names stand in. `standard` asks all sentences with a short prompt that ends where the translation
begins; an answer is its first line. What a model reads is this prompt inside the run's template, which the engine puts
around it, so that even a base model goes on after the template's words, not after the prompt's.

chrF++ compares between languages, BLEU does not (each language has its tokenizer), spBLEU does where its model file is
at hand. COMET is added after all models have answered (`xllms.evaluation.comet_scores`).
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import ClassVar, NamedTuple

import numpy as np

from xllms.errors import InputError
from xllms.evaluation import parallel_text
from xllms.evaluation.benchmark import Asked, Benchmark, Item, Metric, Table, Task
from xllms.evaluation.data import limited
from xllms.evaluation.parallel_text import ParallelText
from xllms.languages import get
from xllms.metrics.item_statistics import ItemStatistics, mean_of
from xllms.metrics.translation import bleu, chrf, spbleu
from xllms.recipe.evaluation import FloresOptions
from xllms.records import Prediction

ENGLISH = "eng_Latn"
SEED = 42
PAPER_SENTENCES = 200
PAPER_PAIRS = 60
_SHOT = "{source}: {sentence}\n{target}: {translation}\n\n"
_STANDARD = (
    "Translate from {source} into {target}. Answer with the translation only.\n\n{shots}{source}: {sentence}\n{target}:"
)
_PAPER = (
    "{shots}Translate the following {source} sentence from {source} to {target}.\n{source} Sentence: {sentence}\n"
    "Please only return the translated {target} text."
)
_PAPER_SHOT = _PAPER.removeprefix("{shots}") + "\n{translation}\n\n"


class Pair(NamedTuple):
    """FLORES codes of what is translated and what it is translated into."""

    source: str
    target: str


class Flores(Benchmark):
    """chrF++, BLEU and, where they can be had, spBLEU and COMET."""

    name = "flores"
    metrics: ClassVar[Mapping[str, Metric]] = {
        "chrf": Metric("chrF++"),
        "spbleu": Metric("spBLEU"),
        "bleu": Metric("BLEU"),
        "comet": Metric("COMET", scale=1),
    }

    def tables(self, asked: Asked) -> Iterator[Table]:
        """`flores.from_english`, `flores.to_english` and `flores.pairs`."""
        ways = _ways(asked)
        named = [_pair(name) for name in _options(asked).pairs]
        codes = list(dict.fromkeys([ENGLISH, *(one.code for one in asked.languages), *(c for p in named for c in p)]))
        text, shots = _texts(asked, codes)
        others = [one.code for one in asked.languages if one.code != ENGLISH and one.code in text.sentences]
        pairs = {
            "from_english": [Pair(ENGLISH, code) for code in others],
            "to_english": [Pair(code, ENGLISH) for code in others],
            "pairs": [pair for pair in named or ring(others, PAPER_PAIRS) if set(pair) <= set(text.sentences)],
        }
        if ENGLISH not in text.sentences and set(ways) != {"pairs"}:
            raise InputError(f"{text.where}: no English (eng_Latn), from and into which {', '.join(ways)} translate")
        usual = 512 if asked.protocol == "paper" else 256
        for way in ways:
            yield Table(
                f"flores.{way}",
                [self._task(way, pair, text, shots, asked) for pair in pairs[way]],
                asked.options.max_new_tokens or usual,
                one_line=asked.protocol == "standard",
                in_language=True,
            )

    def _task(self, way: str, pair: Pair, text: ParallelText, shots: Mapping[str, Sequence[str]], asked: Asked) -> Task:
        key = {"from_english": pair.target, "to_english": pair.source}.get(way, f"{pair.source}-{pair.target}")
        form, shot = (_PAPER, _PAPER_SHOT) if asked.protocol == "paper" else (_STANDARD, _SHOT)
        names = {"source": get(pair.source).name, "target": get(pair.target).name}
        ahead = "".join(
            shot.format(**names, sentence=sentence, translation=translation)
            for sentence, translation in zip(shots[pair.source], shots[pair.target], strict=True)
        )
        sentences, translations = text.sentences[pair.source], text.sentences[pair.target]
        items = tuple(
            Item(
                id=f"flores:{pair.source}-{pair.target}:{number}",
                prompt=form.format(**names, shots=ahead, sentence=sentences[number]),
                reference=translations[number],
                source=sentences[number],
            )
            for number in _chosen(text.count, asked)
        )
        return Task(key, pair.target, items)

    def statistics(self, predictions: Sequence[Prediction]) -> Mapping[str, ItemStatistics]:
        """Of the corpus; COMET where every prediction has been given its score."""
        outputs, references = [p.output for p in predictions], [p.reference for p in predictions]
        found = {"chrf": chrf(outputs, references), "bleu": bleu(outputs, references, get(predictions[0].language))}
        if _has_spbleu():
            found["spbleu"] = spbleu(outputs, references)
        if all("comet" in p.scores for p in predictions):
            found["comet"] = mean_of([p.scores["comet"] for p in predictions])
        return found


def sample(count: int, size: int = PAPER_SENTENCES) -> list[int]:
    """Rows that `Dataset.shuffle(seed=42)` of `datasets` puts first."""
    return [int(number) for number in np.random.default_rng(SEED).permutation(count)[:size]]


def ring(codes: Sequence[str], count: int) -> list[Pair]:
    """Pairs of languages, chosen so that each is about as often translated from as into.

    Sorted codes are put in the order of numpy's `default_rng(42).permutation`, as if round a table; each is translated
    into the next, then each into the second next, and so on, until there are enough pairs or no more.
    """
    ordered = [sorted(codes)[number] for number in sample(len(codes), len(codes))]
    return [
        Pair(source, ordered[(at + step) % len(ordered)])
        for step in range(1, len(ordered))
        for at, source in enumerate(ordered)
    ][:count]


def _options(asked: Asked) -> FloresOptions:
    options = asked.options
    return options if isinstance(options, FloresOptions) else FloresOptions(**options.model_dump())


def _ways(asked: Asked) -> tuple[str, ...]:
    """What the recipe says, else both ways with English; the paper's protocol and named pairs add pairs."""
    options = _options(asked)
    said = "directions" in options.model_fields_set
    ways: tuple[str, ...] = options.directions
    if options.pairs or (asked.protocol == "paper" and not said):
        ways = (*ways, "pairs")
    return tuple(dict.fromkeys(ways))


def _pair(name: str) -> Pair:
    source, _, target = name.partition("-")
    if not source or not target:
        raise InputError(f"evaluation.flores.pairs: `{name}` is no pair; write it as swh_Latn-fra_Latn")
    pair = Pair(get(source).code, get(target).code)
    if pair.source == pair.target:
        raise InputError(f"evaluation.flores.pairs: `{name}` names one language twice")
    return pair


def _texts(asked: Asked, codes: Sequence[str]) -> tuple[ParallelText, Mapping[str, Sequence[str]]]:
    """The test sentences, and of each language those that stand solved in front: from dev where the test is another
    split, else the last of the test, which are then not asked."""
    text = parallel_text.read(asked, "flores", codes, asked.options.split)
    shots = asked.options.shots
    if not shots:
        return text, dict.fromkeys(text.sentences, ())
    dev = parallel_text.find(asked, "flores", list(text.sentences), "dev")
    if dev is not None and dev.where != text.where and set(dev.sentences) >= set(text.sentences):
        return text, {code: lines[:shots] for code, lines in dev.sentences.items()}
    if shots >= text.count:
        raise InputError(f"{text.where}: {text.count} sentences are too few for {shots} shots and a test")
    asked_of = {code: lines[:-shots] for code, lines in text.sentences.items()}
    return ParallelText(text.where, asked_of), {code: lines[-shots:] for code, lines in text.sentences.items()}


def _chosen(count: int, asked: Asked) -> tuple[int, ...]:
    numbers = sample(count, count) if asked.protocol == "paper" else list(range(count))
    return limited(numbers, asked, PAPER_SENTENCES if asked.protocol == "paper" else None)


@cache
def _has_spbleu() -> bool:
    """Whether spBLEU can be had; says so once if not."""
    try:
        spbleu(["a"], ["a"])
    except InputError as error:
        print(f"flores: left out: {error}", file=sys.stderr)
        return False
    return True


benchmark = Flores()
