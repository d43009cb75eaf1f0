"""The models JourneyAPI lists: credits per request, what each refuses, and where a price is from.

Nothing is invented. The endpoint's page gives 1 credit for three budget models and 1–5 for the endpoint as a
whole, so every other model costs the interval [1, 5] until the job, the user's config or a measurement says
better. The page announces 24 models and lists 22; these are the 22, in its order.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from journeybatch.errors import SpecError, UnknownModel
from journeybatch.records import Price

Credits = int | tuple[int, int]
"""What a user says a request costs: N credits, or at least and at most."""

BUDGET = Price(1, 1, "the endpoint's page")
LISTED = Price(1, 5, "the endpoint's page: 1–5 credits a request, no figure for this model")
REASONING = frozenset({"temperature"})
RESERVED = {"model": "'model'", "messages": "'prompt'", "stream": "'stream'"}
"""Fields of a request that the job has its own keys for."""


@dataclass(frozen=True, slots=True)
class Model:
    """One listed model; ``refuses`` names the parameters it answers with an error."""

    name: str
    price: Price
    refuses: frozenset[str] = frozenset()


_LISTING = (
    Model("deepseek-chat", BUDGET),
    Model("deepseek-reasoner", LISTED),
    Model("qwen-turbo", BUDGET),
    Model("qwen-plus", LISTED),
    Model("llama-3.3-70b", LISTED),
    Model("llama-4-scout", BUDGET),
    Model("llama-4-maverick", LISTED),
    Model("gemma-3-27b", LISTED),
    Model("gpt-4o-mini", LISTED),
    Model("claude-haiku-4-5", LISTED),
    Model("gemini-2.0-flash", LISTED),
    Model("grok-3-mini", LISTED),
    Model("qwen-max", LISTED),
    Model("mistral-large", LISTED),
    Model("gpt-4o", LISTED),
    Model("claude-sonnet-4-5", LISTED),
    Model("gemini-2.5-pro", LISTED),
    Model("grok-3", LISTED),
    Model("o3", LISTED, REASONING),
    Model("o4-mini", LISTED, REASONING),
    Model("claude-opus-4", LISTED),
    Model("gemini-2.5-ultra", LISTED),
)

MODELS: Mapping[str, Model] = MappingProxyType({model.name: model for model in _LISTING})


def price(model: str, credits: Mapping[str, Credits], known: Mapping[str, Credits] | None = None) -> Price:
    """What one request to ``model`` costs: by the job's ``credits``, the user's ``known`` or the list.

    Raises UnknownModel for a model that none of the three prices.
    """
    if model in credits:
        return Price(*_interval(credits[model]), "the job's credits")
    if known and model in known:
        return Price(*_interval(known[model]), "your config's credits")
    if model in MODELS:
        return MODELS[model].price
    raise UnknownModel(_unknown(model, {*MODELS, *credits, *(known or ())}))


def refused(model: str, parameters: Mapping[str, object]) -> tuple[str, ...]:
    """The names among ``parameters`` that ``model`` answers with an error, in their order."""
    refuses = MODELS[model].refuses if model in MODELS else frozenset()
    return tuple(name for name in parameters if name in refuses)


def problems(model: str, parameters: Mapping[str, object]) -> tuple[tuple[str, str], ...]:
    """Pairs of a parameter's name and what is wrong with it for ``model``; empty when all is well."""
    found = [
        (name, f"{model} does not support {name}; leave it out of 'parameters'") for name in refused(model, parameters)
    ]
    found += [(name, f"this is the job's key {RESERVED[name]}") for name in parameters if name in RESERVED]
    if "n" in parameters and not (_whole(parameters["n"]) and parameters["n"] == 1):
        found.append(("n", "n must be 1: one answer per request"))
    if "temperature" in parameters and not _between(parameters["temperature"], 0, 2):
        found.append(
            (
                "temperature",
                f"temperature must be a number from 0 to 2, not {_shown(parameters, 'temperature')}",
            )
        )
    if "max_tokens" in parameters and not _whole(parameters["max_tokens"]):
        found.append(
            (
                "max_tokens",
                f"max_tokens must be a whole number from 1, not {_shown(parameters, 'max_tokens')}",
            )
        )
    return tuple(found)


def check_parameters(model: str, parameters: Mapping[str, object]) -> None:
    """Raises SpecError, naming every parameter that cannot be sent to ``model``."""
    if found := problems(model, parameters):
        raise SpecError("\n".join(f"parameters.{name}: {message}" for name, message in found))


def _interval(credits: Credits) -> tuple[int, int]:
    return (credits, credits) if isinstance(credits, int) else credits


def _between(value: object, low: float, high: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _shown(parameters: Mapping[str, object], name: str) -> str:
    value = parameters[name]
    return repr(value) if isinstance(value, str) else str(value)


def _unknown(model: str, names: set[str]) -> str:
    near = difflib.get_close_matches(model, sorted(names), n=3, cutoff=0.6)
    meant = f" (did you mean {' or '.join(near)}?)" if near else ""
    return (
        f"unknown model {model!r}{meant}. If it exists all the same, say what a request costs: "
        f"credits: {{{model}: N}} in the job"
    )
