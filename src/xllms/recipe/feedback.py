"""Settings of stage 3, feedback."""

from pydantic import Field

from xllms.recipe.base import Settings


class FeedbackSettings(Settings):
    """Stage 3: answers of the tuned model, ranked, with a constructed wrong-language one."""

    languages: tuple[str, ...] = Field(("thirty",), min_length=1)
    prompts: int = Field(8, ge=1, description="prompts per language, from the feedback split")
    samples: int = Field(4, ge=1, description="answers sampled per prompt")
    temperature: float = Field(0.9, gt=0)
    top_p: float = Field(0.95, gt=0, le=1, description="nucleus to draw from, of the 256 likeliest tokens")
    max_new_tokens: int = Field(32, ge=1, description="an answer that is cut off here is not ranked")
