"""xllms' evaluation against lm-evaluation-harness (ranking) and transformers' `generate`, on Gemma-3-270M in float32.

    python benchmarks/evaluation.py [--quick] [--lmeval LM/bin/python] [--xcopa et sw zh] [--limit N]

Ranking: XCOPA and PAWS-X as lm-eval 0.4.13's own tasks ask them, zero-shot and after five examples. Each side is a
process of its own that answers one case when it is told to (`benchmarks/peers/`), so the sides take turns within one
run, on one thread of one core. Counted are CPU seconds from texts to log-likelihoods, tokenizing included; loading and
lm-eval's building of prompts are not. lm-eval runs with the batch size at which it was fastest here, of 1, 4, 8 and
16. The five examples are the first of the development split, the same for every item (its `first_n` sampler); in the
case `.../5-drawn` each item draws its own, as lm-eval does by default, and only an item's own choices share them.
XCOPA's languages without a test file (ht qu ta th tr vi) answer the development split.

Every log-likelihood is compared. Where two differ by more than 2e-3, and for those that differ most, one sequence at a
time in float64 decides. Memory is the peak resident size of each side's process over its cases.

lm-eval gets its own environment over this one, made once in the cache, unless `--lmeval` names a Python that has it.
Generation is measured by `generating.py`. The last line is one JSON object; in it a ratio above 1 means that xllms is
faster, and `rss_vs_lmeval` below 1 that it needs less memory.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from generating import measure as measure_generation
from peers.lmeval_environment import lmeval_python
from transformers import AutoModelForCausalLM

from training import Worker, spread
from xllms.evaluation.ranking import pair_ids
from xllms.models.loading import load_tokenizer
from xllms.models.shipped import shipped_model
from xllms.prompting import PromptTemplate
from xllms.recipe import ModelSettings

DATA = Path(__file__).parents[2] / "shared" / "data"
TOLERANCE = 2e-3
Case = dict[str, Any]
Answer = dict[str, Any]


def the_cases(arguments: argparse.Namespace, work: Path) -> list[Case]:
    """What both sides answer."""
    if arguments.quick:
        return [
            case("xcopa", "sw", 0, 12, work),
            case("xcopa", "zh", 0, 12, work),
            case("paws", "en", 0, 8, work),
            case("xcopa", "sw", 5, 8, work),
        ]
    limit, few = arguments.limit, arguments.few
    found = []
    if "zero" in arguments.parts:
        found += [case("xcopa", language, 0, limit, work) for language in arguments.xcopa]
        found += [case("paws", language, 0, min(limit or 100, 100), work) for language in arguments.paws]
    if "few" in arguments.parts:
        found += [case("xcopa", language, 5, few, work) for language in arguments.xcopa]
        found += [case("paws", language, 5, few // 2, work) for language in arguments.paws[:1]]
        found += [case("xcopa", language, 5, few // 2, work, sampler="default") for language in arguments.xcopa[:1]]
    return found


def growth_cases(work: Path) -> list[Case]:
    """How our own time grows with items and with few-shot examples."""
    items = [case("xcopa", "sw", 0, n, work, name=f"items/{n}") for n in (25, 100, 400)]
    shots = [case("xcopa", "sw", n, 50, work, name=f"shots/{n}") for n in (0, 1, 5, 20, 80)]
    return [*items, *shots]


def more_choices(requests: dict[str, list[dict[str, Any]]]) -> list[Case]:
    """Questions with other questions' choices beside their own; adds them to the requests."""
    items = requests["shots/0"]
    for count in (2, 4, 8):
        requests[f"choices/{count}"] = [
            {**item, "choices": [c for step in range(count // 2) for c in items[(i + step) % len(items)]["choices"]]}
            for i, item in enumerate(items)
        ]
    return [{"name": f"choices/{count}", "shots": 0} for count in (2, 4, 8)]


def case(
    benchmark: str, language: str, shots: int, limit: int | None, work: Path, sampler: str = "first_n", name: str = ""
) -> Case:
    """One task of lm-eval on local files."""
    if benchmark == "xcopa":
        folder = DATA / "xcopa" / language
        data = {"validation": folder / f"val.{language}.jsonl", "test": folder / f"test.{language}.jsonl"}
        file = f"default_{language}.yaml"
    else:
        data = {"validation": pawsx(language, "dev_2k", work), "test": pawsx(language, "test_2k", work)}
        file = f"paws_{language}.yaml"
    drawn = "-drawn" if sampler == "default" else ""
    return {
        "name": name or f"{benchmark}_{language}/{shots}{drawn}",
        "yaml": file,
        "data": {split: str(path) for split, path in data.items() if path.exists()},
        "shots": shots,
        "sampler": sampler,
        "limit": limit,
    }


def pawsx(language: str, split: str, work: Path) -> Path:
    """The TSV, which quotes nothing, as the JSON lines that lm-eval can be given; rows without a label stay out."""
    target = work / f"paws.{language}.{split}.jsonl"
    if not target.exists():
        lines = (DATA / "paws_x" / language / f"{split}.tsv").read_text(encoding="utf-8").rstrip("\n").split("\n")
        rows = [line.split("\t") for line in lines[1:]]
        records = [{"sentence1": s, "sentence2": t, "label": int(label)} for _, s, t, label in rows if label.strip()]
        target.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records))
    return target


def judge(folder: Path, pairs: list[tuple[str, str]]) -> list[float]:
    """Log-likelihood of each (context, choice), one at a time in float64."""
    template = PromptTemplate(load_tokenizer(ModelSettings(name=str(folder))), "alpaca")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64).eval()
    sums = []
    with torch.inference_mode():
        for pair in pairs:
            sequence = pair_ids(template, *pair)
            ids = torch.tensor(sequence.prompt + sequence.completion)
            hidden = model.model(input_ids=ids[None, :-1], use_cache=False).last_hidden_state[0]
            logprobs = model.lm_head(hidden[len(sequence.prompt) - 1 :]).log_softmax(-1)
            sums.append(float(logprobs.gather(1, ids[len(sequence.prompt) :, None]).sum()))
    return sums


def compare(folder: Path, requests: dict[str, Any], found: dict[str, dict[str, Answer]], least: int) -> dict[str, Any]:
    """How far the sides' log-likelihoods are apart, and whether they choose alike.

    Raises:
        SystemExit: a number of ours is not what float64 says.
    """
    apart: list[tuple[float, str, int, int]] = []
    same, right = True, {}
    for name, sides in found.items():
        ours, theirs = sides["ranking"]["scores"], sides["lmeval"]["scores"]
        assert len(ours) == len(theirs) == len(requests[name]) > 0
        for i, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
            apart += [(abs(a - b), name, i, c) for c, (a, b) in enumerate(zip(mine, other, strict=True))]
            same &= mine.index(max(mine)) == other.index(max(other))
        right[name] = {
            side: sum(s.index(max(s)) == item["gold"] for s, item in zip(a["scores"], requests[name], strict=True))
            for side, a in sides.items()
        }
        print(f"  {name}: {len(ours)} items, right: {right[name]}")
    apart.sort(reverse=True)
    doubtful = [place for place in apart if place[0] > TOLERANCE] or apart
    doubtful = doubtful[: max(least, sum(place[0] > TOLERANCE for place in apart))]
    truth = judge(folder, [(requests[n][i]["context"], requests[n][i]["choices"][c]) for _, n, i, c in doubtful])
    errors = {
        side: max(abs(found[n][side]["scores"][i][c] - t) for (_, n, i, c), t in zip(doubtful, truth, strict=True))
        for side in ("ranking", "lmeval")
    }
    print(f"  {len(apart)} log-likelihoods, {sum(p[0] > TOLERANCE for p in apart)} differ by more than {TOLERANCE}, at "
          f"most {apart[0][0]:.1e}; from float64, over the {len(doubtful)} that differ most: ours "
          f"{errors['ranking']:.1e}, lm-eval's {errors['lmeval']:.1e}")  # fmt: skip
    if errors["ranking"] > TOLERANCE:
        raise SystemExit(f"a log-likelihood of ours is off by {errors['ranking']:.1e} from float64")
    accuracy = all(sides["ranking"] == sides["lmeval"] for sides in right.values())
    return {
        "same_choices": same and accuracy,
        "largest_difference": float(f"{apart[0][0]:.1e}"),
        "from_float64": {side: float(f"{error:.1e}") for side, error in errors.items()},
        "accuracy": {name: round(r["ranking"] / len(requests[name]), 4) for name, r in right.items()},
    }


def rank_both(arguments: argparse.Namespace, work: Path) -> dict[str, Any]:
    folder = shipped_model()
    main = the_cases(arguments, work)
    growth = growth_cases(work) if "growth" in arguments.parts and not arguments.quick else []
    warm_up = case("xcopa", "sw", 0, 2, work, name="warm_up")
    job, requests_file = work / "job.json", work / "requests.json"
    cases = [warm_up, *main, *growth]

    def write(cases: list[Case]) -> None:
        job.write_text(
            json.dumps(
                {
                    "model": str(folder),
                    "dtype": "float32",
                    "work": str(work),
                    "requests": str(requests_file),
                    "lmeval": {"batch_size": arguments.batch_size},
                    "cases": {case["name"]: case for case in cases},
                }
            )
        )

    write(cases)
    workers = {"lmeval": Worker("lmeval", arguments.lmeval or lmeval_python(), job)}
    requests = json.loads(requests_file.read_text())
    if growth:
        growth += more_choices(requests)
        requests_file.write_text(json.dumps(requests))
        write([*cases, *growth])
    workers["ranking"] = Worker("ranking", sys.executable, job)
    print(f"ranking, Gemma-3-270M, float32, one thread: {', '.join(worker.version for worker in workers.values())}")
    found: dict[str, dict[str, Answer]] = {}
    for turn, name in enumerate(["warm_up", *(case["name"] for case in main)]):
        sides = list(workers) if turn % 2 else list(workers)[::-1]
        found[name] = {side: workers[side].run(name) for side in sides}
        report(name, found[name], len(requests[name]))
    del found["warm_up"]
    workers["lmeval"].close()
    for grown in growth:
        report(grown["name"], {"ranking": workers["ranking"].run(grown["name"])}, len(requests[grown["name"]]))
    workers["ranking"].close()
    if not found:
        return {}
    peak = {side: max(answers[side]["peak"] for answers in found.values()) for side in workers}
    print(f"  peak: {', '.join(f'{side} {value / 1e9:.2f} GB' for side, value in peak.items())}")
    return {
        "rank_vs_lmeval": ratio(found, "/0"),
        "rank5_vs_lmeval": ratio(found, "/5"),
        "rank5_drawn_vs_lmeval": ratio(found, "/5-drawn"),
        "rss_vs_lmeval": round(peak["ranking"] / peak["lmeval"], 2),
        **compare(folder, requests, found, 4 if arguments.quick else 20),
    }


def report(name: str, sides: dict[str, Answer], items: int) -> None:
    for side, answer in sides.items():
        print(f"  {name:14} {side:8} {items:5} items, {answer['cpu']:8.2f} CPU s, {answer['cpu'] / items:.3f} an item, "
              f"peak {answer['peak'] / 1e9:.2f} GB", flush=True)  # fmt: skip


def ratio(found: dict[str, dict[str, Answer]], ending: str) -> float | None:
    """lm-eval's CPU seconds over ours, of all cases of a kind together."""
    sides = [sides for name, sides in found.items() if name.endswith(ending)]
    if not sides:
        return None
    each = [s["lmeval"]["cpu"] / s["ranking"]["cpu"] for s in sides]
    total = sum(s["lmeval"]["cpu"] for s in sides) / sum(s["ranking"]["cpu"] for s in sides)
    print(f"  cases *{ending}: lm-eval takes {total:.2f} times our CPU seconds; by case {spread(each)}")
    return round(total, 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few items, no growth: under five minutes")
    parser.add_argument("--lmeval", metavar="PYTHON", help="Python of an environment with lm_eval 0.4.13")
    parser.add_argument("--batch-size", type=int, default=4, help="of lm-eval")
    parser.add_argument("--xcopa", nargs="+", default=["et", "sw", "zh"], metavar="LANG")
    parser.add_argument("--paws", nargs="*", default=["en", "de", "zh"], metavar="LANG")
    parser.add_argument("--limit", type=int, help="items a case at most; XCOPA is whole if not given")
    parser.add_argument("--few", type=int, default=50, help="items of a five-shot case")
    parser.add_argument("--parts", nargs="+", choices=["zero", "few", "growth"], default=["zero", "few", "growth"])
    parser.add_argument("--only", choices=["ranking", "generation"], help="one half of the benchmark")
    parser.add_argument("--core", type=int, help="the core that all run on; the last one if not given")
    arguments = parser.parse_args()
    start = time.perf_counter()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {arguments.core if arguments.core is not None else max(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    results: dict[str, Any] = {}
    if arguments.only != "generation":
        with tempfile.TemporaryDirectory() as folder:
            results |= rank_both(arguments, Path(folder))
    if arguments.only != "ranking":
        results |= measure_generation(arguments.quick)
    print(json.dumps({"benchmark": "evaluation", "quick": arguments.quick,
                      "minutes": round((time.perf_counter() - start) / 60, 1), **results}))  # fmt: skip


if __name__ == "__main__":
    main()
