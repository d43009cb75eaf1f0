"""litellm's ``acompletion``, a semaphore and gather; its table of prices is the one it ships, not one it fetches."""

from __future__ import annotations

import asyncio
import os

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # before it is imported
import litellm
from rows import MODEL, arguments, prompts, write

litellm.telemetry = False
litellm.suppress_debug_info = True


async def main() -> None:
    table, target, base_url, concurrency = arguments()
    gate = asyncio.Semaphore(concurrency)

    async def ask(text: str) -> str | None:
        async with gate:
            completion = await litellm.acompletion(
                model=f"openai/{MODEL}",
                messages=[{"role": "user", "content": text}],
                api_base=base_url,
                api_key="none",
            )
        return completion.choices[0].message.content

    write(target, await asyncio.gather(*(ask(text) for text in prompts(table))))


if __name__ == "__main__":
    asyncio.run(main())
