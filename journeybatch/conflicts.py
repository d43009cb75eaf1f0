"""What is wrong with a job that takes more than one key to see."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from journeybatch import catalog, wording
from journeybatch.items import overhead
from journeybatch.spec import JobSpec


def raw(data: Mapping[str, Any], framed: bool) -> Iterator[wording.Problem]:
    """Problems of a job as it was written; ``framed``: its table is a polars frame."""
    model, parameters, table = data.get("model"), data.get("parameters"), data.get("input")
    if isinstance(parameters, Mapping):
        for name, message in catalog.problems(model if isinstance(model, str) else "", parameters):
            yield ("parameters", name), message, True
        for name in parameters:
            if wording.is_secret(str(name)):
                yield ("parameters", name), wording.NO_KEY.format(name), True
    if isinstance(table, Mapping) and not framed and not {"path", "database"} & set(table):
        yield ("input", "path"), "expected a path", False
    for name in table if isinstance(table, Mapping) and framed else ():
        yield ("input", name), "a table given from Python takes no other keys", True


def checked(spec: JobSpec) -> Iterator[wording.Problem]:
    """Problems between the keys of a job whose every key is right by itself."""
    packs, cascade = spec.pack.rows != 1, len(spec.models) > 1
    if spec.pack.rows == "auto":
        yield ("pack",), "not yet: a pack's size by measurement is to come; give a number of rows", False
    if packs and spec.stream:
        yield ("stream",), "a packed request is not streamed; leave out 'stream', or 'pack'", True
    if packs and (need := overhead(spec.answer.contract.instructions)) > spec.pack.characters:
        room = f"{spec.pack.characters} characters are too few: what is said about the answer's form takes {need}"
        yield ("pack", "characters"), room, False
    if cascade and spec.samples > 1:
        yield ("samples",), "a cascade asks each row once; name one model, or leave out 'samples'", True
    if not cascade and spec.escalate is not None:
        yield ("escalate",), "there is no model to go up to; give 'model' a list, cheapest first", False
    if not cascade and spec.answer.on_invalid == "escalate":
        told = "there is no model to go up to; give 'model' a list, cheapest first, or choose 'ask_again'"
        yield ("answer", "on_invalid"), told, False
    numbers = [field.name for field in spec.answer.contract.fields if field.kind in ("number", "integer")]
    for name, _ in spec.rules.below:
        if name not in numbers:
            known = f"known: {', '.join(numbers)}" if numbers else "there is none in 'answer.fields'"
            yield (
                ("escalate",),
                f"expected the name of a number among the answer's fields, found {name!r}; {known}",
                False,
            )
