"""What is wrong with a job that takes more than one key to see."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from journeybatch import catalog, wording
from journeybatch.items import overhead
from journeybatch.spec import JobSpec, variants


def raw(data: Mapping[str, Any], framed: bool) -> Iterator[wording.Problem]:
    """Problems of a job as it was written; ``framed``: its table is a polars frame."""
    model, parameters, table = data.get("model"), data.get("parameters"), data.get("input")
    if isinstance(parameters, Mapping):
        shared = not isinstance(model, str) or "eval" in data  # what one of several models refuses is left out for it
        for name, message in catalog.problems("" if shared else str(model), parameters):
            yield ("parameters", name), message, True
        for name in parameters:
            if wording.is_secret(str(name)):
                yield ("parameters", name), wording.NO_KEY.format(name), True
    if (
        isinstance(table, Mapping)
        and not framed
        and not {"path", "database"} & {name for name in table if table[name] is not None}
    ):
        yield ("input", "path"), "expected a path", False
    for name in table if isinstance(table, Mapping) and framed else ():
        yield ("input", name), "a table given from Python takes no other keys", True
    if isinstance(table, Mapping) and not framed:
        yield from _table(table)


def _table(given: Mapping[str, Any]) -> Iterator[wording.Problem]:
    """Problems between the keys of an input."""
    if "database" not in given:
        if given.get("query") is not None:
            yield ("input", "query"), "a query goes with a 'database'", True
        return
    if given.get("query") is None:
        yield ("input", "query"), "expected what to ask the database: select … from … order by …", False
    for name in {"path", "format", "sheet"} & {name for name in given if given[name] is not None}:
        yield ("input", name), "a database takes 'query', 'columns' and 'where'", True


def checked(spec: JobSpec) -> Iterator[wording.Problem]:
    """Problems between the keys of a job whose every key is right by itself."""
    if spec.prompt.file is not None and spec.eval is None and len(spec.models) == 1:
        for name, message in catalog.problems(spec.models[0], spec.parameters):
            yield ("parameters", name), message, True
    cascade = any(len(job.models) > 1 for job in variants(spec).values())
    packs = spec.pack.rows != 1
    if packs and spec.stream:
        yield ("stream",), "a packed request is not streamed; leave out 'stream', or 'pack'", True
    if packs and (need := overhead(spec.answer.contract.instructions)) > spec.pack.characters:
        room = f"{spec.pack.characters} characters are too few: what is said about the answer's form takes {need}"
        yield ("pack", "characters"), room, False
    if packs and spec.priority is not None:
        yield ("priority",), "packs are filled in the order of the rows; leave out 'priority', or 'pack'", True
    if cascade and spec.samples > 1:
        yield ("samples",), "a cascade asks each row once; name one model, or leave out 'samples'", True
    if not cascade and spec.escalate is not None:
        yield ("escalate",), "there is no model to go up to; give 'model' a list, cheapest first", False
    if not cascade and spec.answer.on_invalid == "escalate":
        told = "there is no model to go up to; give 'model' a list, cheapest first, or choose 'ask_again'"
        yield ("answer", "on_invalid"), told, False
    yield from _guaranteed(spec)
    yield from _compared(spec)
    numbers = [field.name for field in spec.answer.contract.fields if field.kind in ("number", "integer")]
    for name in [*(name for name, _ in spec.rules.below), *filter(None, [spec.rules.score])]:
        if name not in numbers:
            known = f"known: {', '.join(numbers)}" if numbers else "there is none in 'answer.fields'"
            yield (
                ("escalate",),
                f"expected the name of a number among the answer's fields, found {name!r}; {known}",
                False,
            )


def _guaranteed(spec: JobSpec) -> Iterator[wording.Problem]:
    """Problems of a cascade whose bound is to be found on labels, and of a pack whose size is."""
    contract, rules = spec.answer.contract, spec.rules
    names = [field.name for field in contract.fields]
    unknown = [name for name in spec.pack.compare or () if name not in names]
    if unknown:
        yield ("pack", "compare"), f"expected fields of the answer, found {unknown[0]!r}", False
    if spec.guarantee is None:
        if rules.score:
            told = f"expected {{field: {rules.score}, below: NUMBER}}; without 'below' it takes a 'guarantee'"
            yield ("escalate",), told, False
        if spec.target is not None:
            yield ("target",), "a target goes with a 'guarantee'", True
        return
    if spec.target is None:
        yield ("guarantee",), "a guarantee needs labels: name the column that holds them with 'target'", False
    if len(spec.models) != 2:
        yield ("guarantee",), "a guarantee is about two models: give 'model' the cheap and the strong one", False
    elif not rules.score:
        yield ("guarantee",), "a guarantee needs a score to go by: add {field: NAME} to 'escalate'", False
    elif spec.labelled is None:
        yield ("guarantee",), "which field of the answer does the target label? Say {agreement: …, field: NAME}", False
    if spec.samples > 1 or rules.disagree > 1:
        yield ("guarantee",), "a guarantee goes with one answer a row: leave out 'samples' and 'disagree'", False


def _compared(spec: JobSpec) -> Iterator[wording.Problem]:
    """Problems of an evaluation."""
    if spec.eval is None:
        return

    for name, job in variants(spec).items():
        for parameter, message in catalog.problems("", job.parameters):
            yield ("eval", "variants", name, "parameters", parameter), message, True
    if spec.pack.rows == "auto":
        yield ("pack",), "an evaluation packs a fixed number of rows: give a number, or leave out 'pack'", False
    if spec.guarantee is not None:
        yield ("guarantee",), "a guarantee is of a run; an evaluation's target stands in 'eval'", True
