"""Ways of asking: which models, cheapest first, with which parameters, at which price."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from journeybatch import catalog
from journeybatch.records import Price
from journeybatch.spec import JobSpec


class Tier(msgspec.Struct, frozen=True):
    """A model of a job: what is sent to it besides messages, what a request costs, and what it was spared."""

    model: str
    parameters: Mapping[str, Any]
    left_out: tuple[str, ...]
    price: Price


class Way(msgspec.Struct, frozen=True):
    """One way in which a job asks: its models, cheapest first. It has the ``name`` of a variant where several are
    compared."""

    name: str
    tiers: tuple[Tier, ...]


def named(way: Way, tier: int) -> tuple[str, Price]:
    """The model of a tier, the strongest where there are fewer, and what a request to it costs."""
    found = way.tiers[min(tier, len(way.tiers) - 1)]
    return found.model, found.price


def parameters_of(spec: JobSpec, model: str, several: bool) -> tuple[dict[str, Any], tuple[str, ...]]:
    """What is sent to ``model``, and what it refuses and is spared, where it shares its parameters with others."""
    shared = several or len(spec.models) > 1
    refused = {name for name, _ in catalog.problems(model, spec.parameters)} if shared else set()
    kept = {name: value for name, value in spec.parameters.items() if name not in refused}
    return kept, tuple(sorted(refused))
