"""What the emulated models say: deterministic in the prompt, readable, and one of the labels where some are offered.

No model runs here. A small lexicon decides about sentiment; everything else is a choice by the request's digest.
"""

from __future__ import annotations

import re

_WORD = r"[\"'“‘`]?[\w-]{1,30}[\"'”’`]?"
_LIST = rf"{_WORD}(?:(?:,? or |, ?| ?/ ?| ?\| ?){_WORD}){{1,24}}"  # bounded: a long table of numbers must not cost much
_LEADS = r"one of|either|as|labels?|categor(?:y|ies)|options?|choose(?: from)?|answer(?: only)?(?: with)?|with"
_OFFERS = re.compile(
    rf"\((?P<inside>{_LIST})\)"
    rf"|\b(?:{_LEADS})(?: (?:these|the|following|labels|categories|options))*:? (?P<led>{_LIST})"
    rf"|(?P<free>{_WORD}(?:, ?{_WORD}){{1,24}},? or {_WORD})",
    re.IGNORECASE,
)
_BETWEEN = re.compile(r",? or |, ?| ?/ ?| ?\| ?", re.IGNORECASE)
_QUOTES = "\"'“”‘’`"
_LOOKED_AT = 4_000  # characters of a message that are searched for labels: instructions stand at the beginning
_QUANTITY = re.compile(r"\bhow (?:many|much|old|far|long|tall)\b|\bwhat (?:is|was) the (?:total|sum|number)\b", re.I)
_PIECES = re.compile(r"\w+|[^\w\s]")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


POSITIVE = _words(
    "amazing awesome beautiful best brilliant charming cheerful clean comfortable crisp delicious delighted "
    "delightful easy enjoy enjoyed excellent fabulous fantastic fast favourite favorite flawless friendly fresh "
    "generous glad good gorgeous great happy helpful honest impressed impressive kind lovely love loved loves "
    "magnificent neat nice outstanding patient perfect perfectly pleasant pleased polite prompt quick quiet "
    "recommend recommended reliable smooth solid spotless sturdy superb tasty terrific thoughtful useful warm well "
    "wonderful works worth"
)
NEGATIVE = _words(
    "annoying awful bad blurry boring broke broken cheap cold cracked crashed damaged defective dirty disappointed "
    "disappointing dreadful faded failed fails faulty filthy flimsy frustrating garbage greasy hate hated horrible "
    "ignored lacking late leaked leaks loose lost mediocre mess missing mistake never noisy overpriced poor poorly "
    "refund returned rude ruined scratched slow smelled soggy stale stained stopped terrible torn tough unhelpful "
    "useless waste wasted weak worse worst wrong"
)
_NEGATIONS = _words("no not never isn't wasn't don't didn't doesn't hardly barely without cannot can't")
_POLES = {"positive": 1, "pos": 1, "good": 1, "happy": 1, "negative": -1, "neg": -1, "bad": -1, "unhappy": -1}
_MIDDLE = ("neutral", "mixed", "unclear", "other", "unknown")

_SENTENCES = (
    "Briefly: “{quote}” is the heart of the matter.",
    "The point here is “{quote}”, and the rest follows from it.",
    "I would start from “{quote}” and keep the details for later.",
    "What matters most is “{quote}”; everything else is colour.",
    "Seen plainly, it comes down to “{quote}”.",
)


def compose_reply(texts: list[str], digest: bytes) -> str:
    """The answer to a conversation, given its messages' texts in order and the request's digest."""
    prompt = texts[-1]
    labels, rest = offered_labels(texts)
    if labels:
        return choose_label(labels, rest, digest)
    if _QUANTITY.search(prompt):
        numbers = [int(number) for number in re.findall(r"\b\d{1,6}\b", prompt)] or [digest[0]]
        return f"Going by the figures given, the answer is {numbers[digest[1] % len(numbers)] + digest[2] % 10}."
    words = prompt.split()
    length = 3 + digest[3] % 4
    start = digest[4] % max(1, len(words) - length)
    quote = " ".join(words[start : start + length]).strip(".,;:!?") or "nothing at all"
    return _SENTENCES[digest[5] % len(_SENTENCES)].format(quote=quote)


def offered_labels(texts: list[str]) -> tuple[list[str], str]:
    """The labels to choose from, also where only a sentiment is asked for, and the last text without their list."""
    labels, rest = find_labels(texts)
    if not labels and "sentiment" in " ".join(text[:_LOOKED_AT] for text in texts).lower():
        labels = ["positive", "negative", "neutral"]
    return labels, rest


def find_labels(texts: list[str]) -> tuple[list[str], str]:
    """The first list of labels offered in the texts (empty if none), and the last text without that list."""
    for text in texts:
        for found in _OFFERS.finditer(text[:_LOOKED_AT]):
            offer = found["inside"] or found["led"] or found["free"]
            labels = [label.strip(_QUOTES) for label in _BETWEEN.split(offer)]
            if len(labels) > 2 or re.search(r" or |/|\|", offer, re.IGNORECASE):
                rest = texts[-1].replace(offer, " ", 1)
                return labels, rest
    return [], texts[-1]


def choose_label(labels: list[str], text: str, digest: bytes) -> str:
    """One of the labels: by sentiment where they are poles of it, by mention in the text, else by the digest."""
    poles = {_POLES[label.lower()]: label for label in reversed(labels) if label.lower() in _POLES}
    if len(poles) == 2:
        score = score_sentiment(text)
        if score:
            return poles[1 if score > 0 else -1]
        middles = [label for label in labels if label.lower() in _MIDDLE]
        return middles[0] if middles else poles[1 if digest[0] % 2 else -1]
    words = set(re.findall(r"[\w-]+", text.lower()))
    mentioned = [label for label in labels if label.lower() in words]
    return mentioned[0] if mentioned else labels[digest[0] % len(labels)]


def score_sentiment(text: str) -> int:
    """Pleasant words less unpleasant ones; a negation turns the word after the next one at most."""
    score, negated = 0, 0
    for word in re.findall(r"[\w']+", text.lower()):
        value = (word in POSITIVE) - (word in NEGATIVE)
        score += -value if negated else value
        negated = 2 if word in _NEGATIONS else max(0, negated - 1)
    return score


def count_tokens(text: str) -> int:
    """Words and marks: what the emulator calls tokens."""
    return sum(1 for _ in _PIECES.finditer(text))


def cut_tokens(text: str, most: int) -> tuple[str, bool]:
    """The text within ``most`` tokens, and whether something had to go."""
    for number, piece in enumerate(_PIECES.finditer(text)):
        if number == most:
            return text[: piece.start()].rstrip(), True
    return text, False
