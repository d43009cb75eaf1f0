"""What a model gets wrong in a reply that is whole and paid for: items left out, doubled, invented, values that do not
fit, JSON that is none, prose around it.

However many befall one reply, whoever takes only what is whole and unambiguous takes nothing wrong: what stands twice
is spared by other slips, and the true answer comes first, so that a cut cannot leave the false one alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from random import Random

from journeybatch.emulator.faults import Slips
from journeybatch.emulator.forms import Form, spoil
from journeybatch.emulator.packs import Answer, Entries, write_entries
from journeybatch.emulator.shapes import Json

Made = tuple[str, ...]

_LETTERS = "0123456789abcdefghijklmnopqrstuvwxyz"


def slip_form(form: Form, filled: Json, slips: Slips) -> tuple[Json, Made]:
    """A filled form after the slips that befall it, and which those are."""
    wrong = spoil(form, filled) if "invalid_field" in slips.kinds else filled
    return wrong, ("invalid_field",) * (wrong != filled)


def slip_pack(entries: Entries, forms: Sequence[Form | None], structured: bool, slips: Slips) -> tuple[list[str], Made]:
    """The entries of a reply to a pack after the slips that befall it, and which those are."""
    made: list[str] = []
    if "invalid_field" in slips.kinds:
        entries, spoilt = _spoil_one(entries, forms, slips)
        made += spoilt
    for kind, slip in _SLIPS.items():
        if kind in slips.kinds:
            before, entries = entries, slip(list(entries), slips.rng)
            made += [kind] * (entries != before)
    lines = write_entries(entries, structured=structured)
    if "pack_garble" in slips.kinds and (once := _once(entries)):
        at = slips.rng.choice(once)
        lines[at] = lines[at].replace('"answer": ', '"answer": "so to say"', 1)
        made.append("pack_garble")
    return lines, tuple(made)


def slip_text(text: str, slips: Slips) -> tuple[str, Made]:
    """A JSON reply after the slips that befall its text, and which those are."""
    made: list[str] = []
    if "bad_json" in slips.kinds:
        text = _break(text, slips.rng)
        made.append("bad_json")
    if "prose" in slips.kinds:
        text = f"Of course! Here is the JSON you asked for:\n\n```json\n{text}\n```\n\nTell me if you need more."
        made.append("prose")
    return text, tuple(made)


def _break(text: str, rng: Random) -> str:
    """A trailing comma, or a cut in the second half."""
    if rng.random() < 0.5:
        return f"{text[:-1]},{text[-1:]}"
    return text[: rng.randrange(len(text) // 2, len(text))]


def _spoil_one(entries: Entries, forms: Sequence[Form | None], slips: Slips) -> tuple[Entries, Made]:
    """The entries with one value that its field cannot take, where there is one that can be told."""
    at = slips.rng.randrange(len(entries))
    (name, answer), form = entries[at], forms[at]
    if not isinstance(answer, dict) or form is None:
        return entries, ()
    wrong, made = slip_form(form, answer, slips)
    return [*entries[:at], (name, wrong), *entries[at + 1 :]], made


def _drop(entries: Entries, rng: Random) -> Entries:
    del entries[rng.randrange(len(entries))]
    return entries


def _double(entries: Entries, rng: Random) -> Entries:
    if entries:
        at = rng.randrange(len(entries))
        name, answer = entries[at]
        other: Answer = next((said for _, said in entries if said != answer), _otherwise(answer))
        entries.insert(rng.randrange(at, len(entries)) + 1, (name, other))
    return entries


def _otherwise(answer: Answer) -> Answer:
    return f"{answer} Or so it seems." if isinstance(answer, str) else {**answer, "note": "on second thoughts"}


def _invent(entries: Entries, rng: Random) -> Entries:
    """One or two items that nobody asked for, with somebody's answers."""
    known = {name for name, _ in entries}
    for _ in range(rng.choice((1, 2)) if entries else 0):
        like, answer = rng.choice(entries)
        name = "".join(rng.choice(_LETTERS) for _ in like) or "0"
        entries.insert(rng.randrange(len(entries) + 1), (name if name not in known else f"{name}0", answer))
    return entries


def _swap_id(entries: Entries, rng: Random) -> Entries:
    """One id with two neighbouring letters swapped, or doubled where all are alike; never another item's id."""
    if once := _once(entries):
        at = rng.choice(once)
        name, answer = entries[at]
        swapped = (f"{name[:n]}{name[n + 1]}{name[n]}{name[n + 2 :]}" for n in range(len(name) - 1))
        known = {name for name, _ in entries}
        entries[at] = (next((other for other in swapped if other not in known), name * 2 or "0"), answer)
    return entries


def _once(entries: Entries) -> list[int]:
    """Where the entries stand whose ids stand only once."""
    counted = Counter(name for name, _ in entries)
    return [at for at, (name, _) in enumerate(entries) if counted[name] == 1]


def _reorder(entries: Entries, rng: Random) -> Entries:
    shuffled = rng.sample(entries, len(entries))
    return shuffled if shuffled != entries else entries[::-1]


_SLIPS = {
    "pack_drop": _drop,
    "pack_reorder": _reorder,
    "pack_double": _double,
    "pack_invent": _invent,
    "pack_swap_id": _swap_id,
}
