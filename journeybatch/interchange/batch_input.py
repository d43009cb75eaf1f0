"""A job's requests as an input file of OpenAI's Batch API: one line per row, with the body that a run would send.

Rows go alone, whatever the job says of packs: a line of the Batch API has one id. Of a cascade it is the first model
that is asked, and with samples and variants a line's id ends in `/` and their name, as in the output files.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from itertools import count

from journeybatch.errors import TableError
from journeybatch.history import History
from journeybatch.interchange.batch import ID, URL
from journeybatch.job import Job

MOST_LINES = 50_000
"""What OpenAI takes in one file."""


def input_lines(job: Job, column: str | None) -> Iterator[str]:
    """The lines of ``job``; ``column`` holds each row's id (None: `custom_id` where there is one, else its number).

    Raises:
        JobError: prompts that cannot be rendered, a column that is not there, or ids that are none.
    """
    import polars as pl

    surveyed = job.survey()
    surveyed.check_problems()
    numbers, unsent = count(), History()
    wanted = pl.repeat(True, len(surveyed.steps[0]), dtype=pl.Boolean, eager=True)
    names = list(ids(job, column, len(wanted)))
    for place, prompt in job.prompts(surveyed, 0, wanted):
        way = place // job.spec.samples % len(job.ways)
        (request,) = job.compose([[prompt]], 0, unsent, numbers, way)
        told = json.dumps({ID: names[place], "method": "POST", "url": URL}, ensure_ascii=False)
        yield f'{told[:-1]}, "body": {request.body.decode()}}}\n'


def ids(job: Job, column: str | None, places: int) -> Iterator[str]:
    """The ids of so many places: rows, by variant and sample. Raises TableError (see ``input_lines``)."""
    names = _names(job, column)
    for place in range(places):
        asked, sample = divmod(place, job.spec.samples)
        row, way = divmod(asked, len(job.ways))
        suffix = [job.ways[way].name] if job.variants else []
        suffix += [str(sample)] if job.spec.samples > 1 else []
        yield "/".join([names[row] if names else f"row-{row}", *suffix])


def _names(job: Job, column: str | None) -> list[str] | None:
    """Each row's own id; None where their numbers have to do."""
    import polars as pl

    named = column or (ID if ID in job.schema else None)
    if named is None:
        return None
    if named not in job.schema:
        raise TableError(f"--id: no column is called {named!r} (columns: {', '.join(job.schema)})")
    found = pl.concat([frame[named].cast(pl.String) for frame in job.frames()]).to_list()
    if None in found:
        raise TableError(f"--id {named}: row {found.index(None)} is empty, and every request needs an id")
    name, times = Counter(found).most_common(1)[0] if found else ("", 0)
    if times > 1:
        raise TableError(f"--id {named}: {name!r} comes {times} times, and every request needs an id of its own")
    return [str(name) for name in found]
