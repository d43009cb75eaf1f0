"""Curator's ``LLM`` over a list of prompts: its cache in a fresh folder, no telemetry, no display, and limits per
minute so high that only the requests in flight bound it."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

from rows import arguments, prompts, write

os.environ |= {
    "TELEMETRY_ENABLED": "False",
    "CURATOR_DISABLE_RICH_DISPLAY": "1",
    "CURATOR_DISABLE_CACHE": "true",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
}
# It counts tokens with a vocabulary that it would fetch; litellm, which comes with it, has the file.
(litellm,) = find_spec("litellm").submodule_search_locations
os.environ["TIKTOKEN_CACHE_DIR"] = str(Path(litellm) / "litellm_core_utils" / "tokenizers")
from bespokelabs import curator  # noqa: E402


def main() -> None:
    table, target, base_url, concurrency = arguments()
    llm = curator.LLM(
        model_name="unpriced",  # of a model that it knows, it would work out a price for each answer
        backend="openai",
        backend_params={
            "base_url": base_url,
            "api_key": "none",
            "max_requests_per_minute": 100_000_000,
            "max_tokens_per_minute": 100_000_000_000,
            "max_concurrent_requests": concurrency,
        },
    )
    found = llm(prompts(table), working_dir=str(Path(target).parent / "curator"))
    write(target, list(found.dataset["response"]))


if __name__ == "__main__":
    main()
