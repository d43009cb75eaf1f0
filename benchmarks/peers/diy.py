"""The script people write today: the official SDK, a semaphore and gather.

With ``aiohttp`` as the last argument: the same over aiohttp, the extra that the SDK's documentation has for many
requests at once.
"""

from __future__ import annotations

import asyncio
import sys

import openai
from openai import AsyncOpenAI
from rows import MODEL, arguments, prompts, write


async def ask_all(texts: list[str], client: AsyncOpenAI, concurrency: int) -> list[str | None]:
    gate = asyncio.Semaphore(concurrency)
    async with client:

        async def ask(text: str) -> str | None:
            async with gate:
                completion = await client.chat.completions.create(
                    model=MODEL, messages=[{"role": "user", "content": text}]
                )
            return completion.choices[0].message.content

        return await asyncio.gather(*(ask(text) for text in texts))


async def run(aiohttp: bool) -> None:
    table, target, base_url, concurrency = arguments()
    transport = openai.DefaultAioHttpClient() if aiohttp else None
    client = AsyncOpenAI(base_url=base_url, api_key="none", http_client=transport)
    write(target, await ask_all(prompts(table), client, concurrency))


if __name__ == "__main__":
    over_aiohttp = sys.argv[-1] == "aiohttp"
    if over_aiohttp:
        sys.argv.pop()
    asyncio.run(run(over_aiohttp))
