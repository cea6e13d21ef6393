"""xllms' training against TRL and LLaMA-Factory: same token ids, effective batch, LoRA, initial weights and loss.

    python benchmarks/training.py [--quick] [--llamafactory LF/bin/python] [--models gemma3-270m smollm2-135m]

Each side is a process of its own that trains one case at a time when it is told to (`benchmarks/peers/`), so the sides
take turns within one run, on one thread of one core. A repeat is one optimiser step over the case's examples, so every
side computes exactly the same number; a different loss or gradient norm ends the run. Counted are the CPU seconds
(user and system) of that step with collating, optimiser and, for DPO, the reference pass; loading, tokenizing and
packing are not. Memory is the peak resident size during the step.

`sft` are instructions that share nothing but BOS, `sft_short` the quickstart's instructions, `dpo` preference pairs.
LLaMA-Factory needs its own environment:

    python3 -m venv LF && LF/bin/pip install torch==2.13.0 llamafactory==0.9.5

Without `--llamafactory` that side is left out, and its ratio is null. The last line is one JSON object; in it a ratio
above 1 means that xllms is faster, and `rss_vs_trl` below 1 that it needs less memory.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from peers import cases
from peers.flops import flops
from peers.models import MODELS
from peers.worker import lora_parameters
from transformers import AutoConfig, AutoModelForCausalLM

from xllms.models.loading import load_tokenizer
from xllms.packing.trie import TokenSequence
from xllms.prompting import PromptTemplate
from xllms.recipe import LoraSettings, ModelSettings
from xllms.training.adapters import add_lora, lora_targets

PEERS = Path(__file__).parent / "peers"
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
LORA = {"r": 16, "alpha": 32}
Answer = dict[str, Any]
# Relative differences of the first step's loss and gradient norm that rounding explains; a wrong mask, template or
# scale is off by per cents. Across libraries bfloat16 rounds differently at every layer.
BOUNDS = {"float32": (1e-4, 5e-3), "bfloat16": (2e-2, 1e-1)}


class Worker:
    """One side's process."""

    def __init__(self, side: str, python: str, job: Path) -> None:
        self.side = side
        self.log = job.with_name(f"{side}.log")
        self.process = subprocess.Popen(
            [python, str(PEERS / f"{side}_side.py"), str(job)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log.open("w"),
            text=True,
            env={**os.environ, **ENVIRONMENT},
        )
        self.version = self._answer()["ready"]

    def run(self, case: str) -> Answer:
        """Train one case once."""
        assert self.process.stdin
        self.process.stdin.write(json.dumps({"case": case}) + "\n")
        self.process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        """Let it end."""
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()

    def _answer(self) -> Answer:
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.side} stopped:\n{self.log.read_text()[-3000:]}")
        answer: Answer = json.loads(line)
        return answer


def the_cases(template: PromptTemplate, quick: bool) -> list[dict[str, Any]]:
    sft, short, dpo = (2, 12, 1) if quick else (16, 32, 8)
    return [
        cases.case("warm_up", "sft", cases.short(template, 2)),
        cases.case("sft", "sft", cases.plain(template, sft)),
        cases.case("sft_short", "sft", cases.short(template, short)),
        cases.case("dpo", "dpo", cases.pairs(template, dpo)),
    ]


def growth_cases(template: PromptTemplate) -> list[dict[str, Any]]:
    """How cost grows: with the number of examples, and with their length at a like number of tokens."""
    more = [cases.case(f"examples_{n}x", "sft", cases.short(template, 16 * n), steps=n) for n in (1, 4, 16)]
    longer = [
        cases.case(f"length_{length}", "sft", cases.of_length(template, length, 2048 // length))
        for length in (128, 512, 2048)
    ]
    # Four ranked answers against a pair, on our side only: peers have no ranking objective.
    ranked = [
        cases.case("rank_2", "dpo", cases.ranked(template, 8, 2)),
        cases.case("rank_4", "ranking", cases.ranked(template, 8, 4)),
    ]
    return [*more, *longer, *ranked]


def initial_adapter(folder: Path, target: Path) -> list[str]:
    """Weights that every side's adapter begins with: random A, zero B. Returns the modules that get one."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(folder)
    targets = sorted({name.rpartition(".")[2] for name in lora_targets(model, "all-linear")})
    adapted = add_lora(model, LoraSettings(r=LORA["r"], alpha=LORA["alpha"], targets=targets))
    torch.save({name: parameter.detach().clone() for name, parameter in lora_parameters(adapted).items()}, target)
    return targets


def check_same(case: str, answers: dict[str, Answer], dtype: str) -> float:
    """Largest relative difference of a side's loss from ours.

    Raises:
        SystemExit: two sides do not compute the same.
    """
    ours, worst = answers["xllms"], 0.0
    bounds = BOUNDS[dtype]
    for side, answer in answers.items():
        loss, norm = (abs(answer[key] / ours[key] - 1) for key in ("loss", "norm"))
        print(f"  {case}, {side}: loss {answer['loss']:.6f} (off {loss:.1e}), gradient norm {answer['norm']:.5g} "
              f"(off {norm:.1e})")  # fmt: skip
        if loss > bounds[0] or norm > bounds[1]:
            raise SystemExit(f"{case}: {side} and xllms do not compute the same")
        worst = max(worst, loss)
    return worst


def measure(workers: dict[str, Worker], names: list[str], repeats: int, skip: set[tuple[str, str]]) -> dict[str, Any]:
    """Case -> side -> answers, the sides in turns and each repeat in another order."""
    found: dict[str, dict[str, list[Answer]]] = {name: {} for name in names}
    for repeat in range(repeats):
        for name in names:
            sides = [side for side in workers if (side, name) not in skip]
            turn = repeat % len(sides)
            for side in [*sides[turn:], *sides[:turn]]:
                found[name].setdefault(side, []).append(workers[side].run(name))
    return found


def tokens(case: dict[str, Any]) -> int:
    return sum(len(prompt) + len(completion) for example in case["examples"] for prompt, completion in example)


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def ratio(peer: list[Answer] | None, ours: list[Answer]) -> list[float] | None:
    return [a["cpu"] / b["cpu"] for a, b in zip(peer, ours, strict=True)] if peer else None


def report(name: str, case: dict[str, Any], sides: dict[str, list[Answer]]) -> None:
    count, total = len(case["examples"]), tokens(case)
    for side, answers in sides.items():
        cpu = [answer["cpu"] for answer in answers]
        against = ratio(answers, sides["xllms"]) if side != "xllms" else None
        print(
            f"  {name:14} {side:13} {spread([c / count for c in cpu])} CPU s/example, "
            f"{spread([total / c for c in cpu])} tokens/CPU s, peak {max(a['peak'] for a in answers) / 1e9:.2f} GB"
            + (f", ratio {spread(against)}" if against else "")
        )


def one_model(name: str, arguments: argparse.Namespace, work: Path) -> dict[str, Any]:
    folder = MODELS[name]()
    template = PromptTemplate(load_tokenizer(ModelSettings(name=str(folder))), "alpaca")
    given = the_cases(template, arguments.quick)
    main = [case["name"] for case in given if not case["name"].startswith("warm_up")]
    growth = [] if arguments.quick else growth_cases(template)
    targets = initial_adapter(folder, work / "adapter.pt")
    job = work / "job.json"
    all_cases = {case["name"]: case for case in [*given, *growth]}
    job.write_text(
        json.dumps(
            {
                "model": str(folder),
                "dtype": arguments.dtype,
                "adapter": str(work / "adapter.pt"),
                "lora": {**LORA, "targets": targets},
                "beta": 0.1,
                "learning_rate": 1e-4,
                "work": str(work),
                "cases": all_cases,
                **json.loads(arguments.settings),
            }
        )
    )
    pythons = {"xllms": sys.executable, "trl": sys.executable}
    if arguments.llamafactory:
        pythons["llamafactory"] = arguments.llamafactory
    workers = {
        side: Worker(side, python, job) for side, python in pythons.items() if side in ("xllms", *arguments.peers)
    }
    print(f"{name}, {arguments.dtype}, one thread: {', '.join(worker.version for worker in workers.values())}")
    # Quick: LLaMA-Factory for SFT only.
    skip = (
        {("llamafactory", case) for case in all_cases if case not in ("warm_up", "sft")} if arguments.quick else set()
    )
    check_same("warm-up", {side: worker.run("warm_up") for side, worker in workers.items()}, arguments.dtype)
    found = measure(workers, main, arguments.repeats or (1 if arguments.quick else 3), skip)
    worst = max(check_same(case, {s: a[0] for s, a in found[case].items()}, arguments.dtype) for case in main)
    for case in main:
        report(case, all_cases[case], found[case])
    config = AutoConfig.from_pretrained(folder)
    fractions: dict[str, float] = {}
    for case in main:
        sequences = [TokenSequence(tuple(p), tuple(c)) for example in all_cases[case]["examples"] for p, c in example]
        needed = flops(config, sequences, LORA["r"], reference=case == "dpo")
        for side, answers in found[case].items():
            share = statistics.median(needed / answer["gemm"] / answer["cpu"] for answer in answers)
            rate = statistics.median(answer["gemm"] for answer in answers)
            print(f"  {case:14} {side:13} {share:.0%} of the GEMM limit ({needed / 1e9:.0f} GFLOP needed, "
                  f"{rate / 1e9:.0f} GFLOP/s)")  # fmt: skip
            if side == "xllms":
                fractions[case] = round(share, 3)
    # TRL beside us where length grows; ranking is ours alone, and examples cost a peer what they cost it above.
    left_out = {(side, case["name"]) for side in workers for case in growth if side != "xllms"}
    left_out -= {("trl", case["name"]) for case in growth if case["name"].startswith("length")}
    grown = measure(workers, [case["name"] for case in growth], 1, left_out)
    for case, sides in grown.items():
        report(case, all_cases[case], sides)
    for worker in workers.values():
        worker.close()

    def median(case: str, side: str) -> float | None:
        values = ratio(found[case].get(side), found[case]["xllms"])
        return round(statistics.median(values), 2) if values else None

    peak = {side: max(a["peak"] for case in main for a in found[case].get(side, [])) for side in workers}
    result = {
        "sft_vs_trl": median("sft", "trl"),
        "sft_short_vs_trl": median("sft_short", "trl"),
        "sft_vs_llamafactory": median("sft", "llamafactory"),
        "dpo_vs_trl": median("dpo", "trl"),
        "dpo_vs_llamafactory": median("dpo", "llamafactory"),
        "rss_vs_trl": round(peak["xllms"] / peak["trl"], 2) if "trl" in peak else None,
        "gemm_fraction": fractions["sft"],
        "gemm_fractions": fractions,
        "same_loss": True,
        "largest_loss_difference": float(f"{worst:.1e}"),
        "cpu_seconds_per_token": {
            case: {
                side: float(f"{statistics.median(a['cpu'] for a in answers) / tokens(all_cases[case]):.4g}")
                for side, answers in sides.items()
            }
            for case, sides in {**found, **grown}.items()
        },
        "peak_gb": {side: round(value / 1e9, 2) for side, value in peak.items()},
    }
    if "rank_4" in grown:
        result["four_answers_vs_pair"] = round(
            grown["rank_4"]["xllms"][0]["cpu"] / grown["rank_2"]["xllms"][0]["cpu"], 2
        )
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--quick", action="store_true", help="fewer examples, one repeat, no growth: under five minutes"
    )
    parser.add_argument("--llamafactory", metavar="PYTHON", help="Python of an environment with LLaMA-Factory")
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS))
    parser.add_argument("--peers", nargs="*", choices=["trl", "llamafactory"], default=["trl", "llamafactory"])
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--repeats", type=int)
    parser.add_argument("--core", type=int, help="the core that all run on; the last one if not given")
    parser.add_argument("--settings", default="{}", help="""other settings of a peer: {"trl": {"sft": {"rows": 1}}}""")
    arguments = parser.parse_args()
    start = time.perf_counter()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {arguments.core if arguments.core is not None else max(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    if not arguments.llamafactory:
        print("LLaMA-Factory is left out: give --llamafactory PYTHON (how to make one: --help)")
    results = {}
    for name in arguments.models:
        with tempfile.TemporaryDirectory() as folder:
            results[name] = one_model(name, arguments, Path(folder))
    print(json.dumps({"benchmark": "training", "dtype": arguments.dtype, "quick": arguments.quick,
                      "minutes": round((time.perf_counter() - start) / 60, 1), **results}))  # fmt: skip


if __name__ == "__main__":
    main()
