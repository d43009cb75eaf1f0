"""The script people write today: the official SDK, a semaphore and gather. What journeybatch is compared with.

``python diy.py INPUT.csv OUTPUT.parquet BASE_URL``
"""

from __future__ import annotations

import asyncio
import sys

import polars as pl
from openai import AsyncOpenAI

CONCURRENCY = 256


async def ask_all(texts: list[str], base_url: str) -> list[str | None]:
    gate = asyncio.Semaphore(CONCURRENCY)
    async with AsyncOpenAI(base_url=base_url, api_key="none", max_retries=0) as client:

        async def ask(text: str) -> str | None:
            async with gate:
                completion = await client.chat.completions.create(
                    model="deepseek-chat",
                    messages=[{"role": "user", "content": f"Classify this customer message: {text}"}],
                )
            return completion.choices[0].message.content

        return await asyncio.gather(*(ask(text) for text in texts))


def main() -> None:
    source, target, base_url = sys.argv[1:]
    rows = pl.read_csv(source)
    answers = asyncio.run(ask_all(rows["text"].to_list(), base_url))
    rows.with_columns(pl.Series("response", answers)).write_parquet(target)


if __name__ == "__main__":
    main()
