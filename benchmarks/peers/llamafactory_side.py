"""LLaMA-Factory's side of `benchmarks/training.py`, run by the Python of its own environment.

    python3 -m venv LF && LF/bin/pip install torch==2.13.0 llamafactory==0.9.5

It gets the same token ids; model, adapter, collator and trainer are made as its `run_sft` and `run_dpo` make them.
"""

# ruff: noqa: E402
import importlib.machinery
import sys
import tempfile
import types
from importlib.metadata import version
from typing import Any

import torch

# LLaMA-Factory wants images and sound too; a registry may give builds of these for another torch, which fail to import.
sys.modules["torchvision"] = None  # type: ignore[assignment]
sys.modules["torchaudio"] = types.ModuleType("torchaudio")
sys.modules["torchaudio"].__spec__ = importlib.machinery.ModuleSpec("torchaudio", None)

from datasets import Dataset
from llamafactory.data import PairwiseDataCollatorWithPadding, SFTDataCollatorWith4DAttentionMask
from llamafactory.data import get_template_and_fix_tokenizer as fix_tokenizer
from llamafactory.data.processor.processor_utils import greedy_knapsack
from llamafactory.hparams import get_train_args
from llamafactory.model import load_model, load_tokenizer
from llamafactory.train.dpo.trainer import CustomDPOTrainer
from llamafactory.train.sft.trainer import CustomSeq2SeqTrainer
from peft import PeftModel
from transformers.utils import logging
from worker import Case, Timed, lora_parameters, serve

# What each case runs under unless the job says otherwise.
BEST: dict[str, dict[str, Any]] = {"sft": {"rows": 1}, "dpo": {"rows": 1}}
IGNORED = -100


class LlamaFactory:
    """CustomSeq2SeqTrainer and CustomDPOTrainer, made as LLaMA-Factory's workflows make them."""

    version = f"llamafactory {version('llamafactory')}"

    def __init__(self, job: dict[str, Any]) -> None:
        self.job = job
        logging.set_verbosity_error()
        self.model: Any = None

    def adapter(self) -> dict[str, torch.nn.Parameter]:
        """Its weights by their common names."""
        return lora_parameters(self.model)

    def prepare(self, case: Case) -> Timed:
        """See `worker.Side`."""
        settings = {**BEST[case["task"]], **self.job.get("llamafactory", {}).get(case["name"], {})}
        packed = bool(settings.get("packing"))
        a_step = len(case["examples"]) // case["steps"]
        rows = 1 if packed else min(settings["rows"], a_step)
        records = _records(case) if not packed else _packed(case, settings["packing"])
        lora = self.job["lora"]
        model_args, data_args, training_args, finetuning_args, _ = get_train_args(
            {
                "stage": case["task"],
                "do_train": True,
                "model_name_or_path": self.job["model"],
                "infer_dtype": "auto",
                "finetuning_type": "lora",
                "lora_rank": lora["r"],
                "lora_alpha": lora["alpha"],
                "lora_target": ",".join(lora["targets"]),
                "pref_beta": self.job["beta"],
                "dataset": "given",
                "template": "default",
                "cutoff_len": 4096,
                "neat_packing": packed,
                "disable_shuffling": True,
                "output_dir": tempfile.mkdtemp(dir=self.job["work"]),
                "per_device_train_batch_size": rows,
                "gradient_accumulation_steps": len(records) // case["steps"] // rows,
                "num_train_epochs": 1,
                "learning_rate": self.job["learning_rate"],
                "lr_scheduler_type": "constant",
                "max_grad_norm": 1e9,
                "logging_steps": 1,
                "save_strategy": "no",
                "report_to": "none",
                "use_cpu": True,
                "bf16": self.job["dtype"] == "bfloat16",
                "disable_gradient_checkpointing": True,
                "disable_tqdm": True,
                "dataloader_pin_memory": False,
                "remove_unused_columns": False,
            }
        )
        tokenizer_module = load_tokenizer(model_args)
        tokenizer = tokenizer_module["tokenizer"]
        template = fix_tokenizer(tokenizer, data_args)
        if self.model is None:
            self.model = load_model(tokenizer, model_args, finetuning_args, True)
        common = {
            "model": self.model,
            "args": training_args,
            "finetuning_args": finetuning_args,
            "train_dataset": Dataset.from_list(records),
            **tokenizer_module,
        }
        collate = {"template": template, "model": self.model, "pad_to_multiple_of": 8, **tokenizer_module}
        if case["task"] == "sft":
            collator = SFTDataCollatorWith4DAttentionMask(
                **collate,
                label_pad_token_id=IGNORED,
                block_diag_attn=model_args.block_diag_attn,
                neat_packing=data_args.neat_packing,
                attn_implementation=getattr(self.model.config, "_attn_implementation", None),
                compute_dtype=model_args.compute_dtype,
            )
            trainer = CustomSeq2SeqTrainer(**common, data_collator=collator)
        else:
            collator = PairwiseDataCollatorWithPadding(**collate, label_pad_token_id=IGNORED)
            trainer = CustomDPOTrainer(**common, ref_model=None, data_collator=collator)
        assert isinstance(self.model, PeftModel)

        def timed() -> float:
            trainer.train()
            return next(entry["loss"] for entry in trainer.state.log_history if "loss" in entry)

        return timed


def _records(case: Case) -> list[dict[str, Any]]:
    media = {"images": None, "videos": None, "audios": None}
    records = []
    for sequences in case["examples"]:
        record: dict[str, Any] = dict(media)
        prefixes = [""] if case["task"] == "sft" else ["chosen_", "rejected_"]
        for prefix, (prompt, completion) in zip(prefixes, sequences, strict=True):
            record[f"{prefix}input_ids"] = prompt + completion
            record[f"{prefix}attention_mask"] = [1] * len(prompt + completion)
            record[f"{prefix}labels"] = [IGNORED] * len(prompt) + completion
        records.append(record)
    return records


def _packed(case: Case, length: int) -> list[dict[str, Any]]:
    """Rows as LLaMA-Factory's `neat_packing` lays them out, without its padding of a row to its whole length."""
    rows = _records(case)
    by_length: dict[int, list[dict[str, Any]]] = {}
    for row in rows:
        by_length.setdefault(len(row["input_ids"]), []).append(row)
    packed = []
    for knapsack in greedy_knapsack([len(row["input_ids"]) for row in rows], length):
        members = [by_length[size].pop() for size in knapsack]
        packed.append(
            {
                "input_ids": [token for m in members for token in m["input_ids"]],
                "labels": [label for m in members for label in m["labels"]],
                "attention_mask": [i for i, m in enumerate(members, 1) for _ in m["input_ids"]],
                "position_ids": [place for m in members for place in range(len(m["input_ids"]))],
                "images": None,
                "videos": None,
                "audios": None,
            }
        )
    return packed


if __name__ == "__main__":
    serve(LlamaFactory)
