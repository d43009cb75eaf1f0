"""An evaluation with Inspect that only generates: no scorer, no display, no samples in the log beyond what it keeps."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from rows import MODEL, arguments, prompts, write

table, target, base_url, concurrency = arguments()
# as many connections kept alive as are in flight, which is not so by default
os.environ["INSPECT_HTTP_POOL_KEEPALIVE_CONNECTIONS"] = str(concurrency)

from inspect_ai import Task, eval, task  # noqa: E402
from inspect_ai.dataset import MemoryDataset, Sample  # noqa: E402
from inspect_ai.model import get_model  # noqa: E402
from inspect_ai.solver import generate  # noqa: E402


@task
def classify() -> Task:
    samples = [Sample(input=text, id=number) for number, text in enumerate(prompts(table))]
    return Task(dataset=MemoryDataset(samples), solver=generate(), scorer=None)


def main() -> None:
    (log,) = eval(
        classify(),
        model=get_model(f"openai-api/here/{MODEL}", base_url=base_url, api_key="none"),
        max_connections=concurrency,
        max_samples=concurrency,
        cache=False,
        display="none",
        log_level="error",
        log_dir=str(Path(target).parent / "logs"),
        log_realtime=False,
        log_model_api=False,
        log_buffer=10_000,
        ctl_server=False,
    )
    if log.status != "success" or log.samples is None:
        sys.exit(f"Inspect ended with {log.status}: {log.error}")
    ordered = sorted(log.samples, key=lambda sample: int(sample.id))
    write(target, [sample.output.completion for sample in ordered])


if __name__ == "__main__":
    main()
