"""The recipe: one typed model per stage. It is the YAML, the command line's `--set`, and the Python API.

A field's description is its documentation: `xllms recipe` prints them, and an error quotes them.
"""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

CldrKind = Literal["territory", "language", "currency", "month", "weekday", "date", "number", "list"]
ALL_CLDR_KINDS: tuple[CldrKind, ...] = (
    "territory", "language", "currency", "month", "weekday", "date", "number", "list",
)  # fmt: skip


class Settings(BaseModel):
    """Base of all settings: immutable, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class ModelSettings(Settings):
    """Which model to start from and how to hold it."""

    name: str = Field("gemma3-270m", description="`gemma3-270m` (from PyPI), a hub id, or a local folder")
    dtype: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="auto: bfloat16 where the device multiplies it natively, else float32"
    )
    device: Literal["auto", "cpu", "cuda"] = "auto"
    batching: Literal["auto", "trie", "padded"] = Field(
        "auto",
        description="auto: token tries, or padded batches where the architecture cannot take a tree mask",
    )
    quantization: Literal["none", "nf4"] = Field(
        "none", description="nf4: the base model in 4 bits; with sft.tuning: lora that is QLoRA (CUDA only)"
    )


class CldrSource(Settings):
    """Facts from Babel's CLDR: names, dates, numbers and lists, asked in English, answered in each language."""

    type: Literal["cldr"] = "cldr"
    kinds: tuple[CldrKind, ...] = ALL_CLDR_KINDS
    train: int = Field(40, ge=1, description="facts per language to train on")
    validation: int = Field(4, ge=0, description="facts per language to follow the loss on")
    feedback: int = Field(8, ge=0, description="facts per language kept for cross-lingual feedback")
    evaluation: int = Field(12, ge=0, description="held-out facts per language: never trained on in any language")


class AlpacaSource(Settings):
    """Your own data in Alpaca form: JSON or JSONL with `instruction`, `input`, `output`."""

    type: Literal["alpaca"] = "alpaca"
    path: Path
    language: str = Field("English", description="language of the outputs")
    instruction_language: str = Field("English", description="language of the instructions")
    validation_share: float = Field(0.02, ge=0, lt=1)
    feedback_share: float = Field(0.05, ge=0, lt=1)
    evaluation_share: float = Field(0.05, ge=0, lt=1, description="held out by prompt, and asked in the evaluation")

    @model_validator(mode="after")
    def _something_to_train_on(self) -> "AlpacaSource":
        if self.validation_share + self.feedback_share + self.evaluation_share >= 1:
            raise ValueError("the shares of validation, feedback and evaluation leave nothing to train on")
        return self


Source = Annotated[CldrSource | AlpacaSource, Field(discriminator="type")]


class InstructionsSettings(Settings):
    """Stage 1: instruction data in every language."""

    sources: tuple[Source, ...] = Field((CldrSource(),), min_length=1)


class LoraSettings(Settings):
    """Low-rank adapters."""

    r: int = Field(16, ge=1)
    alpha: float = Field(32, gt=0)
    dropout: float = Field(0.0, ge=0, lt=1, description="above 0 a shared prefix has one mask for all who share it")
    targets: Literal["attention", "all-linear"] | tuple[str, ...] = Field(
        "all-linear", description="found for the architecture; or the ends of module names"
    )


class LanguageMix(Settings):
    """How often each language is drawn."""

    kind: Literal["natural", "temperature", "unimax"] = Field(
        "natural", description="natural: as the data are; temperature: counts to the power alpha; unimax: alike, capped"
    )
    alpha: float = Field(0.3, ge=0, le=1, description="temperature: 1 is natural, 0 is uniform")
    cap: float = Field(4.0, gt=0, description="unimax: passes over one language's examples at most")


class TrainingSettings(Settings):
    """What supervised fine-tuning and preference training share."""

    epochs: float = Field(1.0, gt=0)
    max_steps: int | None = Field(None, ge=1, description="stop after so many optimiser steps")
    batch_size: int = Field(32, ge=1, description="examples (or pairs) in one optimiser step, over all processes")
    token_budget: int | None = Field(
        None,
        ge=16,
        description="trie nodes in one forward pass of one process: what decides memory, not the result; "
        "none: 512 on a CPU, 8,192 elsewhere",
    )
    sampling: LanguageMix = LanguageMix()
    learning_rate: float = Field(1e-4, gt=0)
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    warmup_steps: int = Field(10, ge=0)
    weight_decay: float = Field(0.0, ge=0)
    max_grad_norm: float = Field(1.0, gt=0)
    max_length: int = Field(1024, ge=8, description="tokens of prompt and completion")
    too_long: Literal["drop", "truncate"] = Field(
        "drop", description="what is over max_length: left out, or its completion cut off (and its end not learnt)"
    )
    gradient_checkpointing: bool = Field(
        False, description="keep one activation per layer and run each layer twice: about a third more compute"
    )
    parallel: Literal["ddp", "fsdp"] = Field(
        "ddp", description="under torchrun: every process holds the whole model, or a shard of it (FSDP2)"
    )
    log_every: int = Field(10, ge=1)
    save_every: int = Field(50, ge=1, description="optimiser steps between checkpoints")
    validate_every: int | None = Field(None, ge=1, description="steps between validations; none: at the end only")


class SftSettings(TrainingSettings):
    """Stage 2: supervised fine-tuning."""

    tuning: Literal["lora", "full"] = Field("lora", description="an adapter, or all weights; dpo goes on with the same")
    loss_on: Literal["completion", "all"] = Field("completion", description="all: the prompt's tokens are learnt too")
    lora: LoraSettings = LoraSettings()


class FeedbackSettings(Settings):
    """Stage 3: answers of the tuned model, ranked, with a constructed wrong-language one."""

    languages: tuple[str, ...] = Field(("thirty",), min_length=1)
    prompts: int = Field(8, ge=1, description="prompts per language, from the feedback split")
    samples: int = Field(4, ge=1, description="answers sampled per prompt")
    temperature: float = Field(0.9, gt=0)
    top_p: float = Field(0.95, gt=0, le=1, description="nucleus to draw from, of the 256 likeliest tokens")
    max_new_tokens: int = Field(32, ge=1, description="an answer that is cut off here is not ranked")


class PreferenceLoss(StrEnum):
    """A preference loss, with what it needs; the formulas are in `training/preference_losses.py`."""

    DPO = "dpo"
    DPO_NORM = "dpo_norm"
    IPO = "ipo"
    SIMPO = "simpo"
    ORPO = "orpo"
    CPO = "cpo"
    RANKING = "ranking"

    @property
    def needs_reference(self) -> bool:
        """Whether it compares with the model before the first step."""
        return self not in (PreferenceLoss.SIMPO, PreferenceLoss.ORPO, PreferenceLoss.CPO)

    @property
    def length_normalised(self) -> bool:
        """Whether it works with log-probabilities per token: the same sentence costs Amharic three times the tokens."""
        return self in (PreferenceLoss.DPO_NORM, PreferenceLoss.IPO, PreferenceLoss.SIMPO, PreferenceLoss.ORPO)

    @property
    def takes_ranking(self) -> bool:
        """Whether it takes all ranked answers of a prompt instead of two."""
        return self is PreferenceLoss.RANKING

    @property
    def nll_weight(self) -> float:
        """Weight of the chosen answer's cross-entropy in the loss as published."""
        return 1.0 if self in (PreferenceLoss.ORPO, PreferenceLoss.CPO) else 0.0


class DpoSettings(TrainingSettings):
    """Stage 4: preference training; direct preference optimisation (Rafailov et al. 2023) if nothing else is said."""

    loss: PreferenceLoss = Field(
        PreferenceLoss.DPO,
        description="dpo, dpo_norm (per token), ipo, simpo, orpo, cpo; ranking: all answers of a prompt, LambdaLoss",
    )
    beta: float = Field(0.1, gt=0, description="how far from the reference; per-token losses want 2 and more")
    label_smoothing: float = Field(0.0, ge=0, lt=0.5, description="share of pairs taken to be labelled the wrong way")
    simpo_margin: float = Field(0.5, ge=0, description="simpo: reward by which the chosen must lead (gamma)")
    nll_weight: float | None = Field(
        None,
        ge=0,
        description="of the chosen answer's cross-entropy per token; none: the loss's own (orpo, cpo 1; else 0)",
    )
    learning_rate: float = Field(2e-5, gt=0)
    validation_share: float = Field(0.1, ge=0, le=0.5, description="of the pairs, held back by whole facts")

    @model_validator(mode="after")
    def _smoothing_has_a_pair(self) -> "DpoSettings":
        if self.label_smoothing and self.loss in (PreferenceLoss.IPO, PreferenceLoss.ORPO, PreferenceLoss.RANKING):
            raise ValueError(f"label_smoothing is not defined for loss: {self.loss}; set it to 0")
        return self


class EvaluationSettings(Settings):
    """Stage 5: base, SFT and DPO model, every language."""

    languages: tuple[str, ...] = Field(("hundred",), min_length=1, description="groups, codes or names")
    benchmarks: tuple[Literal["facts", "xcopa"], ...] = Field(("facts",), min_length=1)
    data: Path | None = Field(None, description="folder with the files of benchmarks that ship none, such as xcopa/")
    xcopa_languages: tuple[str, ...] = Field(
        ("en", "et", "ht", "id", "it", "qu", "sw", "ta", "th", "tr", "vi", "zh"),
        min_length=1,
        description="folders of XCOPA; each must have its file",
    )
    xcopa_split: Literal["validation", "test"] = "validation"
    batch_languages: int = Field(8, ge=1, description="languages whose items are answered together: one unit of work")
    max_new_tokens: int = Field(32, ge=1)
    limit: int | None = Field(None, ge=1, description="items per language at most")

    @model_validator(mode="after")
    def _needs_data(self) -> "EvaluationSettings":
        if "xcopa" in self.benchmarks and self.data is None:
            raise ValueError("xcopa needs its files: set evaluation.data (or --data) to the folder that holds xcopa/")
        return self


class Recipe(Settings):
    """A whole run: model, languages, and one group of settings per stage."""

    output: Path = Field(Path("runs/default"), description="the run's folder")
    seed: int = Field(0, ge=0)
    languages: tuple[str, ...] = Field(("hundred",), min_length=1, description="groups, codes or names")
    template: Literal["alpaca", "chat"] = Field("alpaca", description="one prompt template for every stage")
    threads: int | None = Field(None, ge=1, description="CPU threads; none: what torch chooses")
    tracking: tuple[Literal["tensorboard", "trackio", "wandb", "mlflow"], ...] = Field(
        (), description="trackers beside metrics.jsonl, each with its package installed"
    )
    model: ModelSettings = ModelSettings()
    instructions: InstructionsSettings = InstructionsSettings()
    sft: SftSettings = SftSettings()
    feedback: FeedbackSettings = FeedbackSettings()
    dpo: DpoSettings = DpoSettings()
    evaluation: EvaluationSettings = EvaluationSettings()

    @model_validator(mode="after")
    def _four_bits_are_frozen(self) -> "Recipe":
        if self.model.quantization != "none" and self.sft.tuning == "full":
            raise ValueError("sft.tuning: full cannot train 4-bit weights; use tuning: lora or quantization: none")
        return self
