"""The default of stage 3 in one place: language first, then the reference; paired with the same fact elsewhere."""

from collections.abc import Sequence

from xllms.feedback import pairing
from xllms.feedback.candidates import Candidate, judge, rank
from xllms.feedback.rejects import in_wrong_language, wrong_language
from xllms.languages import get
from xllms.recipe.feedback import PairingSettings
from xllms.records import Instruction, Preference, Ranking

GOOD = 100.0 - pairing.LEAD  # chrF++ from which a sample may be chosen in the reference's place
GAP = PairingSettings().min_margin  # chrF++ that the chosen answer must be ahead of a rejected sample

__all__ = ["GAP", "GOOD", "Candidate", "judge", "pair", "rank", "ranking", "wrong_language"]


def pair(record: Instruction, ranked: Sequence[Candidate], constructed: tuple[str, str] | None) -> list[Preference]:
    """Preference records of one prompt: against the constructed wrong-language answer, and against the worst sample.

    Args:
        record: the prompt, with its reference as output.
        ranked: samples, as `rank` orders them.
        constructed: text and language that `wrong_language` found.
    """
    rejects = [in_wrong_language(*constructed)] if constructed else []
    return pairing.preferences(record, ranked, _reference(record), rejects, PairingSettings())


def ranking(record: Instruction, ranked: Sequence[Candidate], constructed: tuple[str, str] | None) -> list[Ranking]:
    """All answers of one prompt, if there are two: right, right in another language, wrong, wrong in another language.

    Args: as of `pair`.
    """
    rejects = [in_wrong_language(*constructed)] if constructed else []
    return pairing.rankings(record, ranked, _reference(record), rejects, PairingSettings())


def _reference(record: Instruction) -> Candidate:
    return judge(record.output, record, get(record.language), "reference")
