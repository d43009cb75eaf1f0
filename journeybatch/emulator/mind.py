"""What a model makes of a question: packs taken apart, forms filled in, the answer key looked up, and what a model gets
wrong on its own.

An item of a pack is answered as it would be alone, unless it is to drift.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256

from journeybatch.emulator.answer_key import AnswerKey, Told
from journeybatch.emulator.faults import Faults, Slips
from journeybatch.emulator.forms import CONFIDENCE, Form, differ, fill, form_of, read_form
from journeybatch.emulator.packs import Answer, Pack, as_text, join_entries, read_pack, write_entries
from journeybatch.emulator.question import Question
from journeybatch.emulator.replies import compose_reply, offered_labels
from journeybatch.emulator.schemas import Voice
from journeybatch.emulator.shapes import Json
from journeybatch.emulator.slips import slip_form, slip_pack, slip_text
from journeybatch.emulator.upstream import REFUSAL_MARKER, REFUSING

REFUSAL = "I can't help with that request."


@dataclass(frozen=True, slots=True)
class Said:
    """What was said, whether it is a refusal, and the faults in it that were made on purpose."""

    text: str
    refused: bool = False
    faults: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Thought:
    """The answer to one task, with the form it fills in, if any, and the voice it was found in."""

    answer: Answer
    form: Form | None
    voice: Voice

    def otherwise(self) -> Answer:
        """Another answer of the same kind."""
        voice = self.voice.about("otherwise")
        if self.form and isinstance(self.answer, dict):
            return differ(self.form, self.answer, voice)
        labels = offered_labels(voice.texts)[0]
        if self.answer in labels and len(set(labels)) > 1:
            return next(label for label in labels if label != self.answer)
        other = compose_reply(voice.texts, voice.digest)
        return other if other != self.answer else f"{other} Or so it seems."


@dataclass(frozen=True, slots=True)
class Mind:
    """Answers questions, from the answer ``key`` where it has them."""

    key: AnswerKey | None
    faults: Faults

    def say(self, question: Question, attempt: int) -> Said:
        """The reply to a question; what goes wrong in it depends on the attempt's number."""
        if question.model in REFUSING and any(REFUSAL_MARKER in text for text in question.texts):
            return Said(REFUSAL, refused=True)
        pack = read_pack(question.texts[-1])
        slips = self.faults.slips(attempt)
        if pack:
            return self._say_pack(question, pack, slips)
        thought = self._think(question, question.texts[-1], question.schema)
        if not slips or not isinstance(thought.answer, dict) or not thought.form:
            return Said(as_text(thought.answer))
        answer, made = slip_form(thought.form, thought.answer, slips)
        text, more = slip_text(as_text(answer), slips)
        return Said(text, faults=made + more)

    def _say_pack(self, question: Question, pack: Pack, slips: Slips | None) -> Said:
        thoughts = [self._think(question, task.text) for task in pack.tasks]
        drifting = [self._drifts(thought, len(thoughts)) for thought in thoughts]
        answers = [
            thought.otherwise() if drifts else thought.answer
            for thought, drifts in zip(thoughts, drifting, strict=True)
        ]
        entries = list(zip((task.id for task in pack.tasks), answers, strict=True))
        drifted = ("pack_drift",) * any(drifting)
        if not slips:
            return Said(join_entries(write_entries(entries, structured=pack.structured)), faults=drifted)
        lines, made = slip_pack(entries, [thought.form for thought in thoughts], pack.structured, slips)
        text, more = slip_text(join_entries(lines), slips)
        return Said(text, faults=drifted + made + more)

    def _think(self, question: Question, text: str, schema: Json | None = None) -> _Thought:
        """The answer to a text that is the whole last message; ``schema`` is that of the object wanted, where the text
        does not ask for one itself."""
        task, form = read_form(text)
        if form is None and schema is not None:
            form = form_of(schema)
        voice = Voice([*question.texts[:-1], task], question.digest(text))
        told = self.key.look_up(task, question.model) if self.key else None
        if form:
            return _Thought(_fill_in(form, voice, told), form, voice)
        known = told.answer if told else None
        return _Thought(compose_reply(voice.texts, voice.digest) if known is None else known, None, voice)

    def _drifts(self, thought: _Thought, rows: int) -> bool:
        """Whether an item differs from what it is alone. Who drifts in a pack does so in every larger one."""
        if not self.faults.pack_drift:
            return False
        drawn = sha256(f"drift {self.faults.seed} ".encode() + thought.voice.digest).digest()
        return int.from_bytes(drawn[:6], "big") / 2**48 < self.faults.pack_drift * (rows - 1)


def _fill_in(form: Form, voice: Voice, told: Told | None) -> Json:
    """The form filled in with what the answer key tells: an object as it stands, or else the first field."""
    if told is None:
        return fill(form, voice)
    known = _object(told.answer)
    filled = dict(known) if known is not None else fill(form, voice)
    if known is None and told.answer is not None:
        name, part = next(form.parts(), (CONFIDENCE, {}))
        filled[name] = _value(told.answer, part)
    asked = CONFIDENCE in form.schema["properties"] and CONFIDENCE not in (known or {})
    if told.confidence is not None and asked:
        filled[CONFIDENCE] = told.confidence
    return filled


def _object(text: str | None) -> Json | None:
    if text is None or not text.lstrip().startswith("{"):
        return None
    with suppress(ValueError, RecursionError):
        found = json.loads(text)
        return found if isinstance(found, dict) else None
    return None


def _value(text: str, part: Json) -> object:
    """A cell as a field takes it: a text, or the JSON value it spells where the field is of another kind."""
    texts = part.get("type") in ("string", None) and text in part.get("enum", [text])
    if not texts:
        with suppress(ValueError, RecursionError):
            return json.loads(text)
    return text
