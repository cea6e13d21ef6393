"""TRL's side of `benchmarks/training.py`: SFTTrainer and DPOTrainer with the best settings that were found."""

import tempfile
import uuid
from typing import Any

import torch
import trl
from datasets import Dataset, disable_progress_bars
from peft import LoraConfig, PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer, pack_dataset
from worker import Case, Timed, lora_parameters, serve

# What each case runs under unless the job says otherwise. Tried on Gemma-3-270M, float32, one thread (tokens per CPU
# second, peak GB), with gradient checkpointing off throughout; `packing` is "bfd", which makes TRL padding-free:
#   8 instructions of 210 tokens: one row a pass 34.6, 2.9; sorted rows of two 28.7, 3.8; packed to 512 31.7, 3.5;
#                                 to 1,024 24.2, 4.1; to 2,048 24.4, 6.0
#   16 of the quickstart's:       one row a pass 32.9, 2.2; eight 25.9, 3.7; packed to 512 32.6, 3.3;
#                                 to 1,024 27.5, 4.3
#   2 pairs:                      one pair a pass 16.5, 4.3; two 10.4, 6.4; one, reference precomputed 19.3, 4.3
# A row a pass wins because nothing is padded and attention runs over one example at a time; packing pays on a GPU,
# where FlashAttention takes the sequences apart. On a CPU TRL's head runs at every position, scored or not, and its
# Liger kernels need CUDA.
BEST: dict[str, dict[str, Any]] = {
    "sft": {"rows": 1},
    "dpo": {"rows": 1, "precompute": True},
}
IGNORED = -100


class Dpo(DPOTrainer):
    """DPOTrainer on pairs that are token ids already; the reference pass is put off until the clock runs."""

    def _prepare_dataset(self, dataset: Dataset, *_: Any) -> Dataset:
        return dataset

    def _precompute_ref_logps(self, dataset: Dataset, name: str, batch_size: int) -> Dataset:
        self._put_off = (name, batch_size)
        return dataset

    def reference(self) -> None:
        """Run the reference pass, under a new fingerprint: TRL would take an earlier repeat's values from its cache."""
        self.train_dataset._fingerprint = uuid.uuid4().hex
        self.train_dataset = super()._precompute_ref_logps(self.train_dataset, *self._put_off)


class Trl:
    """SFTTrainer and DPOTrainer."""

    version = f"trl {trl.__version__}"

    def __init__(self, job: dict[str, Any]) -> None:
        self.job = job
        logging.set_verbosity_error()
        disable_progress_bars()
        self.model: Any = AutoModelForCausalLM.from_pretrained(
            job["model"],
            dtype=getattr(torch, job["dtype"]),
            attn_implementation=job.get("trl_attention", "sdpa"),
        )
        self.tokenizer = AutoTokenizer.from_pretrained(job["model"])

    def adapter(self) -> dict[str, torch.nn.Parameter]:
        """Its weights by their common names."""
        return lora_parameters(self.model)

    def prepare(self, case: Case) -> Timed:
        """See `worker.Side`."""
        settings = {**BEST[case["task"]], **self.job.get("trl", {}).get(case["name"], {})}
        trainer = self._sft(case, settings) if case["task"] == "sft" else self._dpo(case, settings)
        self.model = trainer.model

        def timed() -> float:
            if settings.get("precompute"):
                trainer.reference()
            trainer.train()
            return next(entry["loss"] for entry in trainer.state.log_history if "loss" in entry)

        return timed

    def _fresh(self) -> dict[str, Any]:
        """Base model and adapter for a trainer, which makes a fresh adapter itself.

        Then DPO's reference is the base model with the adapter switched off; with an adapter that is there already TRL
        keeps a second copy of it and runs that.
        """
        lora = self.job["lora"]
        config = LoraConfig(
            r=lora["r"], lora_alpha=lora["alpha"], target_modules=lora["targets"], task_type="CAUSAL_LM"
        )
        base = self.model.unload() if isinstance(self.model, PeftModel) else self.model
        return {"model": base, "peft_config": config, "processing_class": self.tokenizer}

    def _common(self, rows: int, accumulation: int, **more: Any) -> dict[str, Any]:
        return {
            "output_dir": tempfile.mkdtemp(dir=self.job["work"]),
            "per_device_train_batch_size": rows,
            "gradient_accumulation_steps": accumulation,
            "num_train_epochs": 1,
            "learning_rate": self.job["learning_rate"],
            "lr_scheduler_type": "constant",
            "max_grad_norm": 1e9,
            "logging_steps": 1,
            "save_strategy": "no",
            "report_to": "none",
            "use_cpu": True,
            "bf16": False,
            "gradient_checkpointing": False,  # TRL's default is True: a third more compute
            "disable_tqdm": True,
            "dataloader_pin_memory": False,
            "max_length": 4096,
            **more,
        }

    def _sft(self, case: Case, settings: dict[str, Any]) -> SFTTrainer:
        records = [
            {"input_ids": prompt + completion, "labels": [IGNORED] * len(prompt) + completion}
            for ((prompt, completion),) in case["examples"]
        ]
        a_step = len(records) // case["steps"]
        if length := settings.get("packing"):
            length = max([length, *(len(record["input_ids"]) for record in records)])
            packed = pack_dataset(Dataset.from_list(records), length, "bfd")
            common = self._common(1, -(-len(packed) // case["steps"]), packing=True, max_length=length)
        else:
            rows = min(settings["rows"], a_step)
            if settings.get("sorted"):
                records.sort(key=lambda record: len(record["input_ids"]))
            common = self._common(rows, -(-a_step // rows))
        return SFTTrainer(
            **self._fresh(),
            args=SFTConfig(**common, train_sampling_strategy="sequential"),
            train_dataset=Dataset.from_list(records),
        )

    def _dpo(self, case: Case, settings: dict[str, Any]) -> Dpo:
        records = [
            {"prompt_ids": prompt, "chosen_ids": chosen, "rejected_ids": rejected}
            for (prompt, chosen), (_, rejected) in case["examples"]
        ]
        rows = min(settings["rows"], len(records) // case["steps"])
        more = {"beta": self.job["beta"], "precompute_ref_log_probs": settings["precompute"]}
        return Dpo(
            **self._fresh(),
            args=DPOConfig(**self._common(rows, len(records) // case["steps"] // rows, **more)),
            train_dataset=Dataset.from_list(records),
        )


if __name__ == "__main__":
    serve(Trl)
