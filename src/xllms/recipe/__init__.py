"""The recipe: one typed model per stage. It is the YAML, the command line's `--set`, and the Python API.

A field's description is its documentation: `xllms recipe` prints them, and an error quotes them.
"""

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from xllms.recipe.base import ModelSettings, Settings
from xllms.recipe.cleaning import ContaminationSettings, DuplicateSettings
from xllms.recipe.data import (
    ALL_CLDR_KINDS,
    AlpacaSource,
    CldrKind,
    CldrSource,
    FileSource,
    HubSource,
    InstructionsSettings,
    Shares,
    Source,
    TranslationSettings,
)
from xllms.recipe.engines import (
    ApertiumSettings,
    ChatTranslatorSettings,
    EngineSettings,
    GoogleSettings,
    LocalEngineSettings,
    OpenAISettings,
    SequenceModelSettings,
    TranslatorSettings,
    VllmSettings,
)
from xllms.recipe.evaluation import EvaluationSettings
from xllms.recipe.feedback import OWN_ENGINES, FeedbackSettings
from xllms.recipe.gates import GateSettings
from xllms.recipe.training import (
    DpoSettings,
    LanguageMix,
    LoraSettings,
    PreferenceLoss,
    SftSettings,
    TrainingSettings,
)

__all__ = [
    "ALL_CLDR_KINDS",
    "AlpacaSource",
    "ApertiumSettings",
    "ChatTranslatorSettings",
    "CldrKind",
    "CldrSource",
    "ContaminationSettings",
    "DpoSettings",
    "DuplicateSettings",
    "EngineSettings",
    "EvaluationSettings",
    "FeedbackSettings",
    "FileSource",
    "GateSettings",
    "GoogleSettings",
    "HubSource",
    "InstructionsSettings",
    "LanguageMix",
    "LocalEngineSettings",
    "LoraSettings",
    "ModelSettings",
    "OpenAISettings",
    "PreferenceLoss",
    "Recipe",
    "SequenceModelSettings",
    "Settings",
    "SftSettings",
    "Shares",
    "Source",
    "TrainingSettings",
    "TranslationSettings",
    "TranslatorSettings",
    "VllmSettings",
]


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
    engines: dict[str, EngineSettings] = Field({}, description="who writes text, by names of your own")
    translators: dict[str, TranslatorSettings] = Field({}, description="who translates, by names of your own")
    instructions: InstructionsSettings = InstructionsSettings()
    sft: SftSettings = SftSettings()
    feedback: FeedbackSettings = FeedbackSettings()
    dpo: DpoSettings = DpoSettings()
    evaluation: EvaluationSettings = EvaluationSettings()

    @model_validator(mode="after")
    def _own_engines_are_named_so(self) -> "Recipe":
        for name in (*OWN_ENGINES, "dpo"):
            if name in self.engines:
                raise ValueError(f"engines.{name}: this name is the run's own model; take another")
        for name in self.engines:
            if name in self.translators:
                raise ValueError(f"translators.{name}: an engine has this name; take another")
        return self

    @model_validator(mode="after")
    def _four_bits_are_frozen(self) -> "Recipe":
        if self.model.quantization != "none" and self.sft.tuning == "full":
            raise ValueError("sft.tuning: full cannot train 4-bit weights; use tuning: lora or quantization: none")
        return self
