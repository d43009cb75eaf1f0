"""What stands behind each model name here: the upstream model's id, and what a request costs on the emulator.

Both columns are the emulator's own. Where the catalogue knows one exact price, that price is charged; where it
knows an interval, the number here is charged, which lies inside the interval: a job must not be able to tell
the emulator from an endpoint whose prices nobody published.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from journeybatch.catalog import MODELS


class Upstream(NamedTuple):
    """The upstream id, and credits per request for models whose published price is an interval."""

    id: str
    credits: int


UPSTREAM: Mapping[str, Upstream] = {
    "deepseek-chat": Upstream("deepseek-chat-v3-0324", 1),
    "deepseek-reasoner": Upstream("deepseek-reasoner-r1-0528", 2),
    "qwen-turbo": Upstream("qwen-turbo-2025-04-28", 1),
    "qwen-plus": Upstream("qwen-plus-2025-04-28", 2),
    "llama-3.3-70b": Upstream("llama-3.3-70b-instruct", 2),
    "llama-4-scout": Upstream("llama-4-scout-17b-16e-instruct", 1),
    "llama-4-maverick": Upstream("llama-4-maverick-17b-128e-instruct", 2),
    "gemma-3-27b": Upstream("gemma-3-27b-it", 2),
    "gpt-4o-mini": Upstream("gpt-4o-mini-2024-07-18", 2),
    "claude-haiku-4-5": Upstream("claude-haiku-4-5-20251001", 2),
    "gemini-2.0-flash": Upstream("gemini-2.0-flash-001", 2),
    "grok-3-mini": Upstream("grok-3-mini-beta", 2),
    "qwen-max": Upstream("qwen-max-2025-01-25", 3),
    "mistral-large": Upstream("mistral-large-2411", 3),
    "gpt-4o": Upstream("gpt-4o-2024-08-06", 3),
    "claude-sonnet-4-5": Upstream("claude-sonnet-4-5-20250929", 4),
    "gemini-2.5-pro": Upstream("gemini-2.5-pro-preview-06-05", 4),
    "grok-3": Upstream("grok-3-beta", 4),
    "o3": Upstream("o3-2025-04-16", 5),
    "o4-mini": Upstream("o4-mini-2025-04-16", 3),
    "claude-opus-4": Upstream("claude-opus-4-20250514", 5),
    "gemini-2.5-ultra": Upstream("gemini-2.5-ultra-preview", 5),
}

REFUSING = frozenset({"claude-sonnet-4-5", "claude-opus-4"})
"""Models that refuse prompts which carry the marker."""

REFUSAL_MARKER = "[unsafe]"
"""A prompt with this text in it is refused by the models in ``REFUSING``; the request is charged all the same."""


def price_list(overrides: Mapping[str, int]) -> dict[str, int]:
    """Credits per request for every model served. ValueError for an override that is no model or no price."""
    prices = {}
    for name, model in MODELS.items():
        exact = model.price.least == model.price.most
        prices[name] = model.price.least if exact else UPSTREAM[name].credits
    for name, credits in overrides.items():
        if name not in prices:
            raise ValueError(f"the emulator serves no model {name!r}")
        if isinstance(credits, bool) or not isinstance(credits, int) or credits < 0:
            raise ValueError(f"the price of {name} must be a whole number of credits, not {credits!r}")
        prices[name] = credits
    return prices
