"""How a CLDR fact is asked for, in English.

The fact comes before the language's name and the wording depends on the fact alone, so the prompts of one
fact in all languages differ in their last word only, and a token trie runs the rest of them once.
"""

from hashlib import sha256

WORDINGS = {
    "territory": (
        'What is the country or territory "{fact}" called in {language}?',
        'Write the name of the country or territory "{fact}" in {language}.',
        'How is the place name "{fact}" written in {language}?',
    ),
    "language": (
        'What is the language "{fact}" called in {language}?',
        'Write the name of the language "{fact}" in {language}.',
    ),
    "currency": (
        'What is the currency "{fact}" called in {language}?',
        'Write the name of the currency "{fact}" in {language}.',
    ),
    "month": (
        'What is the month "{fact}" called in {language}?',
        'Write the name of the month "{fact}" in {language}.',
    ),
    "weekday": (
        'What is the day of the week "{fact}" called in {language}?',
        'Write the name of the day of the week "{fact}" in {language}.',
    ),
    "date": (
        'Write the date "{fact}" in full in {language}.',
        'How is the date "{fact}" written out in {language}?',
    ),
    "decimal": (
        'Write the number "{fact}" in digits, with separators, as is usual in {language}.',
        'How is the number "{fact}" written in digits in {language}?',
    ),
    "percent": (
        'Write the percentage "{fact}" in digits, as is usual in {language}.',
        'How is the percentage "{fact}" written in digits in {language}?',
    ),
    "amount": (
        'Write the amount of money "{fact}" in {language}.',
        'How is the amount of money "{fact}" written in {language}?',
    ),
    "list": (
        'Write the list "{fact}" in {language}.',
        'Translate the list "{fact}" into {language}.',
    ),
}


def instruction(form: str, entity_id: str, fact: str, language: str) -> str:
    """The English instruction that asks for one fact.

    Args:
        form: a key of `WORDINGS`.
        entity_id: decides the wording, so that it is one and the same in all languages.
        fact: the fact's English text.
        language: English name of the language of the answer.
    """
    wordings = WORDINGS[form]
    wording = wordings[sha256(entity_id.encode()).digest()[0] % len(wordings)]
    return wording.format(fact=fact, language=language)
