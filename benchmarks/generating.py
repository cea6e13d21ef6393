"""xllms' generation against transformers' `generate` in data order, eight prompts at a time: the same greedy tokens?

    python benchmarks/generating.py [--quick] [--models gemma3-270m smollm2-135m] [--core N]

Both sides answer the same prompt ids with the same weights in float32, on one thread of one core, in one process: half
of the peer's batches run before ours and half after, and CPU seconds are counted. The prompts are FLORES sentences to
be translated, and MGSM's questions, in the Alpaca template as the paper's authors ask. Each token must be the peer's.
Where a row differs, both answers are run again in float64 (norms and rotations stay what transformers makes them,
float32): every token that either took must be the likeliest there, or less than 1e-4 behind it. Such rows are counted
(`ties`), and any other makes `same_tokens` false.

`one_line` is ours with `Sampling(one_line=True)` against the same run of the peer, which goes on to its limit or EOS
and is cut afterwards, as the authors do. A ratio above 1 means that xllms is faster. The last line is one JSON object.
"""

import argparse
import csv
import json
import lzma
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from peers.cases import DATA
from peers.models import MODELS

from xllms.engines.local import LocalEngine
from xllms.engines.protocol import Sampling
from xllms.languages import get
from xllms.models import Loaded, load
from xllms.models.loading import load_tokenizer
from xllms.prompting import PromptTemplate
from xllms.recipe import ModelSettings

Ids = tuple[int, ...]
PEER_BATCH = 8
ROUNDING = 1e-4
LANGUAGES = ("swh_Latn", "deu_Latn", "tha_Thai", "arb_Arab", "rus_Cyrl", "zho_Hans", "ben_Beng", "yor_Latn")
MGSM = ("bn", "de", "en", "es", "fr", "ja", "ru", "sw", "te", "th", "zh")


@dataclass(frozen=True)
class Size:
    """How much is asked: sentences of each language and direction, questions of each language, tokens of an answer."""

    languages: int
    sentences: int
    questions: int
    tokens: int


QUICK = Size(languages=4, sentences=3, questions=1, tokens=16)
WHOLE = Size(languages=8, sentences=8, questions=6, tokens=96)


@dataclass
class Compared:
    """One model's prompts on both sides."""

    peer: float
    ours: float
    ours_one_line: float
    rows: int
    tokens: int
    ties: int
    different: int
    one_line_same: bool


class IdsAsText(PromptTemplate):
    """Answers as ids, so that both sides can be compared token by token."""

    def decode(self, ids: Ids) -> str:
        """The ids."""
        return " ".join(map(str, ids))


def translations(size: Size) -> list[str]:
    """The paper's prompt, language by language in both directions."""
    with lzma.open(DATA / "flores200" / "dev510.tsv.xz", "rt", encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))[: size.sentences]
    prompts = []
    for code in LANGUAGES[: size.languages]:
        for source, target in (("eng_Latn", code), (code, "eng_Latn")):
            a, b = get(source).name, get(target).name
            prompts += [
                f"Translate the following {a} sentence from {a} to {b}.\n{a} Sentence: {row[source]}\n"
                f"Please only return the translated {b} text."
                for row in rows
            ]
    return prompts


def questions(size: Size) -> list[str]:
    """MGSM's, language by language."""
    found = []
    for language in MGSM:
        with (DATA / "mgsm" / f"mgsm_{language}.tsv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))[: size.questions]
        found += [row[0] for row in rows]
    return found


def peer_answers(loaded: Loaded, prompts: Sequence[Ids], limit: int) -> tuple[list[Ids], float]:
    """transformers, in data order; ids up to the end, and CPU seconds."""
    model: Any = loaded.model
    stop = sorted(loaded.template.stop_ids)
    found: list[Ids] = []
    start = time.process_time()
    for first in range(0, len(prompts), PEER_BATCH):
        batch = prompts[first : first + PEER_BATCH]
        longest = max(map(len, batch))
        ids = torch.tensor([[stop[0]] * (longest - len(row)) + list(row) for row in batch])
        mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in batch])
        with torch.inference_mode():
            output = model.generate(
                input_ids=ids,
                attention_mask=mask,
                max_new_tokens=limit,
                do_sample=False,
                eos_token_id=stop,
                pad_token_id=stop[0],
            )
        found += [tuple(row) for row in output[:, longest:].tolist()]
    seconds = time.process_time() - start
    ends = [next((at for at, token in enumerate(row) if token in stop), len(row)) for row in found]
    return [row[:end] for row, end in zip(found, ends, strict=True)], seconds


def our_answers(
    loaded: Loaded, prompts: Sequence[str], limit: int, sampling: Sampling = Sampling()
) -> tuple[list[Ids], float]:
    """The engine of a recipe, as it stands."""
    engine = LocalEngine(loaded)
    start = time.process_time()
    written = engine.write([(prompt, "") for prompt in prompts], limit, sampling)
    seconds = time.process_time() - start
    assert not any(answer.error for answer in written)
    return [tuple(map(int, answer.text.split())) for answer in written], seconds


def behind(model: Any, prompt: Ids, answer: Ids, limit: int, stop: frozenset[int]) -> float:
    """How far any token of a greedy answer, its end included, is behind the likeliest, in a float64 model's logits."""
    taken = list(answer)
    with torch.inference_mode():
        logits = model(torch.tensor([[*prompt, *answer]]), logits_to_keep=len(answer) + 1).logits[0].double()
    best = logits.amax(-1)
    chosen = logits[torch.arange(len(taken)), torch.tensor(taken, dtype=torch.long)]
    gap = float((best[:-1] - chosen).max()) if taken else 0.0
    end = 0.0 if len(answer) == limit else float(best[-1] - logits[-1, sorted(stop)].max())
    return max(gap, end)


def first_line(text: str) -> str:
    """As `Sampling.one_line` has it."""
    return next((line.strip() for line in text.splitlines() if line.strip()), "")


def compare(name: str, size: Size) -> Compared:
    """One model on all prompts."""
    folder = str(MODELS[name]())
    settings = ModelSettings(name=folder, dtype="float32", device="cpu")
    loaded = load(settings, "alpaca")
    loaded.template = IdsAsText(load_tokenizer(settings), "alpaca")
    prompts = [*translations(size), *questions(size)]
    ids = [loaded.template.prompt_ids(prompt) for prompt in prompts]
    our_answers(loaded, prompts[:2], 2)  # warm up, both sides
    peer_answers(loaded, ids[:2], 2)
    half = len(ids) // 2 // PEER_BATCH * PEER_BATCH
    before, first = peer_answers(loaded, ids[:half], size.tokens)
    ours, spent = our_answers(loaded, prompts, size.tokens)
    lines, spent_lines = our_answers(loaded, prompts, size.tokens, Sampling(one_line=True))
    after, second = peer_answers(loaded, ids[half:], size.tokens)
    theirs = [*before, *after]
    differing = [row for row in range(len(ids)) if ours[row] != theirs[row]]
    wrong = 0
    if differing:
        exact: Any = loaded.model.double()
        for row in differing:
            gaps = [
                behind(exact, ids[row], side[row], size.tokens, loaded.template.stop_ids) for side in (ours, theirs)
            ]
            wrong += max(gaps) >= ROUNDING
            print(f"  {name}, row {row}: differs; behind in float64: ours {gaps[0]:.1e}, transformers' {gaps[1]:.1e}")

    def text(answer: Ids) -> str:
        return first_line(loaded.template.tokenizer.decode(list(answer), skip_special_tokens=True))

    same_lines = all(text(line) == text(answer) for line, answer in zip(lines, ours, strict=True))
    found = Compared(
        first + second, spent, spent_lines, len(ids), sum(map(len, theirs)), len(differing) - wrong, wrong, same_lines
    )
    ended = sum(len(answer) < size.tokens for answer in theirs)
    print(
        f"{name}: {found.rows} prompts of {min(map(len, ids))} to {max(map(len, ids))} tokens, {found.tokens} tokens "
        f"answered, {ended} ended; CPU seconds: transformers {found.peer:.1f}, xllms {found.ours:.1f} "
        f"({found.peer / found.ours:.2f}×), one line {found.ours_one_line:.1f} "
        f"({found.peer / found.ours_one_line:.2f}×); ties {found.ties}, different {found.different}",
        flush=True,
    )
    return found


def measure(quick: bool, models: Sequence[str] = tuple(MODELS)) -> dict[str, float | bool]:
    """Ratios of CPU seconds over models, the least of them as `generate_vs_hf`, and whether all tokens are the same."""
    torch.set_num_threads(1)
    found = {name: compare(name, QUICK if quick else WHOLE) for name in models}
    ratios = {name: one.peer / one.ours for name, one in found.items()}
    lines = {name: one.peer / one.ours_one_line for name, one in found.items()}
    result: dict[str, float | bool] = {
        "generate_vs_hf": round(min(ratios.values()), 2),
        "generate_one_line_vs_hf": round(min(lines.values()), 2),
        "same_tokens": all(one.different == 0 and one.one_line_same for one in found.values()),
        "generate_rows": sum(one.rows for one in found.values()),
        "generate_ties": sum(one.ties for one in found.values()),
    }
    result |= {f"generate_vs_hf_{name}": round(ratio, 2) for name, ratio in ratios.items()}
    result |= {f"generate_one_line_vs_hf_{name}": round(ratio, 2) for name, ratio in lines.items()}
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer prompts, shorter answers")
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS))
    parser.add_argument("--core", type=int, help="the core that all run on; the last one if not given")
    arguments = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {arguments.core if arguments.core is not None else max(os.sched_getaffinity(0))})
    start = time.perf_counter()
    found = measure(arguments.quick, arguments.models)
    minutes = round((time.perf_counter() - start) / 60, 1)
    print(json.dumps({"benchmark": "generating", "quick": arguments.quick, "minutes": minutes, **found}))


if __name__ == "__main__":
    main()
