"""Equivalents: mutants that no test notices, each with the reason why nobody else could notice them either.

``docs/mutants.md`` shows them; tests hold it, and that each is still a change that can be made.
"""

from __future__ import annotations

from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "mutants.md"
FROZEN = "Nobody changes such a value; that it is frozen keeps it so."
CHOSEN = "A figure that was chosen: one more does as well."

SAME: dict[tuple[str, str, str], str] = {
    (
        "journal",
        "open_journal",
        "history.size > history.end → history.size >= history.end",
    ): "A file that is cut where it ends stays as it is.",
    ("journal", "SYNC_EVERY", "512 → 513"): CHOSEN,
    (
        "journal",
        "Journal.append",
        "False → True",
    ): "An event that is set already is set again, which takes time and does nothing.",
    ("journal", "Journal.close", "1 → 2"): "Any number below 0 says that it is closed.",
    ("journal", "Journal.close", "self.fd < 0 → self.fd <= 0"): "Descriptor 0 is taken, by standard input as a rule.",
    ("ledger", "Ledger._admitted_on", "0 → 1"): "Without a cap of the day nobody asks which day it is.",
    ("accounted", "accounted.settle", "0 → 1"): "A verdict that the error's kind tells is written down a second time.",
    (
        "retry",
        "_failure",
        "raise TypeError(f'asked to wait after {error!r}') → pass",
    ): "It is for the type checker: no other error gets there.",
    ("retry", "retrying.patient", "raise → pass"): "Tenacity, once asked, says the same; it takes 60 µs.",
    ("dispatch", "Dispatch.run.work", "True → False"): "A reader gives one verdict for each prompt.",
    (
        "dispatch",
        "_late",
        "break → continue",
    ): "Attempts stand in the order of time: those before are older.",
    ("dispatch", "Dispatch.__init__", "False → True"): "Every round of a run begins by setting it anew.",
    ("dispatch", "Dispatch.__init__", "0 → 1"): "Every round of a run begins by setting it anew.",
    (
        "dispatch",
        "Dispatch.run",
        "(left_s := (self.until - time.time())) > 0 → (left_s := (self.until - time.time())) >= 0",
    ): "Of a clock that stands at the very deadline it makes no difference who looks at it.",
    ("dispatch", "_late", "a.at[i] < since → a.at[i] <= since"): "Nothing begins at exactly that moment.",
    ("dispatch", "Terms", "True → False"): FROZEN,
    ("dispatch", "Terms", "False → True"): "Every job says whether it asks again.",
    ("dispatch", "_asked", "0 → 1 (2)"): "A status is 0, where there is none, or has three digits.",
    ("packing", "Limit", "True → False"): FROZEN,
    ("packing", "Piece", "True → False"): FROZEN,
    ("packing", "Piece", "0 → 1"): "What goes alone is not measured; everything else says how long it is.",
    ("packing", "Piece", "0 → 1 (2)"): "What goes alone is not measured; everything else says what it shares.",
    ("packing", "Sizing", "True → False"): FROZEN,
    ("packing", "Wording", "True → False"): FROZEN,
    ("packing", "OPEN_PACKS", "8 → 9"): CHOSEN,
    ("packing", "CHARACTERS", "100000 → 100001"): CHOSEN,
    ("packing", "Sizing", "0 → 1"): "Every job says how much it is.",
    (
        "packing",
        "group",
        "piece.base + piece.characters >= characters → piece.base + piece.characters > characters",
    ): "Beside a prompt that fills a pack there is room for none, but one of no characters.",
    (
        "packing",
        "Sizing.packs",
        "self.limit.rows <= 1 or not self._packs(step) → self.limit.rows <= 1 and (not self._packs(step))",
    ): "It saves time: what goes alone goes alone in `group`, too.",
    (
        "packing",
        "Sizing.packs",
        "self.limit.rows <= 1 → self.limit.rows < 1",
    ): "It saves time: of pieces that are one to a pack, each goes alone in `group`.",
    (
        "packing",
        "Sizing.piece",
        "self.limit.rows <= 1 → self.limit.rows < 1",
    ): "It saves time: of pieces that are one to a pack, each goes alone in `group`.",
    ("packing", "Wording.write", "0 → 1 (2)"): "The heads of a pack's prompts are all the same.",
    ("answers", "READING", "2 → 3"): "A number for this way of reading: another one names it as well.",
    ("answers", "Contract", "True → False"): FROZEN,
    ("answers", "_objects", "break → continue"): "It saves time: what is JSON stays as it is when it is mended.",
    ("answers", "Contract.identity", "True → False (2)"): "The names come in one order as it is.",
}
"""By module, place and change."""


def table() -> list[str]:
    """What the page shows: the module, the place, the change, the reason."""
    head = ["| module | where | change | why it makes no difference |", "| --- | --- | --- | --- |"]
    rows = [
        f"| `{module}` | `{where}` | `{change}` | {why} |".replace("||", "\\|\\|")
        for (module, where, change), why in SAME.items()
    ]
    return head + rows


if __name__ == "__main__":
    text = PAGE.read_text("utf-8")
    above = text[: text.index("| module | where")]
    PAGE.write_text(above + "\n".join(table()) + "\n", "utf-8")
