"""Letters with company: a model that repeats the choices, or names two of them, has not answered."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xllms.evaluation.letters import LETTERS, read_letter

TWO = ("the dog", "the cat")
FOUR = ("the dog", "the cat", "Paris", "Vitamin C")


@pytest.mark.parametrize(
    "answer",
    [
        "-A: the dog, -B: the cat.",
        "(A) the dog (B) the cat (C) Paris (D) Vitamin C",
        "[A] the dog [B] the cat",
        "**A** the dog **B** the cat",
        "A - the dog, B - the cat",
        "A. the dog B. the cat",
        "A. the dog. B. the cat.",
        "a) the dog b) the cat",
        "A) the dog\nB) the cat",
        "Answer: (A) the dog (B) the cat",
        "Answer:\n(A) the dog\n(B) the cat",
        "What is the cause? Help me pick the more plausible option: -A: the dog, -B: the cat.",
        "The answer is A or B",
        "Answer: A and B are both right",
        "Answer: **A** or **B**",
        "Answer: A/B",
        "The answer is A或B",
        "a) или b)",
        "B) or a)",
        "a) or b",
        "A. or B.",
        "A o B",
    ],
)
def test_what_names_several_letters_is_no_answer(answer: str) -> None:
    assert read_letter(answer, FOUR) is None
    assert read_letter(answer, ("left", "right", "up", "down")) is None


def test_a_full_stop_is_a_letters_own_where_its_choice_follows() -> None:
    assert read_letter("Answer: A. the dog B. the cat", TWO) is None
    assert read_letter("The answer is A. Option (B) is the cat", TWO) == "A"


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ("A. Paris, not B", "A"),
        ("A. Paris, not (B).", "A"),
        ("The answer is: B, not A", "B"),
        ("Answer: B, a cat", "B"),
        ("(B), a dog", "B"),
        ("B) and a half", "B"),
        ("The answer is B because A is wrong", "B"),
        ("The correct answer is (B). Option (A) is wrong.", "B"),
        ("B. the cat, as A is wrong", "B"),
        ("D. Vitamin C: it is a vitamin", "D"),
        ("D. Vitamin C. It is a vitamin", "D"),
        ("-A: the dog, -B: the cat. The answer is B.", "B"),
        ("-A: the dog, -B: the cat.\nAnswer: B", "B"),
        ("A. the dog\n\nThe dog barks.", "A"),
    ],
)
def test_a_letter_in_passing_is_no_company(answer: str, found: str) -> None:
    assert read_letter(answer, FOUR) == found


@given(
    st.lists(st.text("xyzклм猫", min_size=2, max_size=9), min_size=2, max_size=4, unique=True),
    st.sampled_from(["-{}: ", "({}) ", "{}) ", "{}. ", "**{}** ", "{} - "]),
    st.sampled_from([" ", ", ", "; ", ". ", "\n", " / "]),
    st.sampled_from(["", "Answer: ", "Options: ", "\n"]),
)
def test_choices_repeated_in_any_form_are_no_answer(choices: list[str], mark: str, apart: str, ahead: str) -> None:
    named = [mark.format(letter) + choice for letter, choice in zip(LETTERS, choices, strict=False)]
    assert read_letter(ahead + apart.join(named), choices) is None
    for first, second in pairwise(named):
        assert read_letter(f"{ahead}{first}{apart}{second}.", choices) is None
