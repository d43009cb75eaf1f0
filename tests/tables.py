"""A table that is asked without a network: rows on their way through the steps of a job, and the history of it."""

from __future__ import annotations

from hashlib import blake2b
from itertools import islice

import polars as pl

from journeybatch.asking import Step
from journeybatch.costs import Cost
from journeybatch.entries import Began, Intent, Received, Settled
from journeybatch.escalation import Rules
from journeybatch.history import History
from journeybatch.packing import Limit, Sizing
from journeybatch.planning import plan
from journeybatch.records import Price
from journeybatch.standing import stand
from journeybatch.states import Policy
from journeybatch.survey import Survey
from journeybatch.verdict import ANSWERED, WEAK

PRICES = (Price(1, 1), Price(1, 5), Price(2, 7))


class Table:
    """Texts to ask, the steps of their way, and a history that grows as they are asked."""

    def __init__(self, texts, *, tiers=1, repeats=1, samples=1, pack=1):
        self.steps = [
            Step(tier, sample) for tier in range(tiers) for sample in range(repeats if tier < tiers - 1 else 1)
        ]
        keys = [
            [self.key(text, step.tier, step.sample + n) for text in texts for n in range(samples)]
            for step in self.steps
        ]
        extents = [(10 + len(text), ord(text[0]) % 3, 4) for text in texts]
        schema = {"characters": pl.UInt32, "head": pl.UInt64, "head_characters": pl.UInt32}
        self.surveyed = Survey(
            [pl.Series(column, dtype=pl.Binary) for column in keys],
            [],
            [],
            [],
            samples,
            samples,
            pl.DataFrame(extents, schema=schema, orient="row"),
        )
        self.repeats, self.pack = repeats, pack
        self.asks = [(step, f"m{step.tier}", PRICES[step.tier]) for step in self.steps]
        self.history = History()
        self.history.fold(Began(1, "job", "{}", False, False, 1.0), 0)

    @staticmethod
    def key(text, tier, sample):
        return blake2b(f"{text}/{tier}/{sample}".encode(), digest_size=16).digest()

    @property
    def sizing(self):
        return Sizing(Limit(self.pack, 120), 20, self.history.rooms)

    def stand(self, *, on_unknown="retry"):
        rules = Rules(frozenset(), (), self.repeats)
        return stand(self.history, self.surveyed, self.steps, Policy(rules, 1, on_unknown))

    def plan(self, **policy):
        return plan(self.surveyed, self.stand(**policy), [self.asks], self.sizing, concurrency=4, history=self.history)

    def requests(self, standing):
        """The requests of one round, as (step, keys)."""
        for step, wanted in enumerate(standing.wanted):
            keys = self.surveyed.steps[step]
            things = ((at, keys[at]) for at in wanted.arg_true().to_list())
            for pack in self.sizing.packs(self.surveyed, step, things):
                yield step, pack

    def ask(self, climbs, most=None):
        """Ask round by round until nothing is left, or ``most`` requests; ``climbs`` says of a key's text whether it
        goes up, at the last ask of its model. Returns the bill."""
        bill = Cost()
        while True:
            round_ = list(islice(self.requests(self.stand()), None if most is None else most - bill.requests))
            if not round_:
                return bill
            for step, keys in round_:
                price = self.asks[step][2]
                self.answer(step, keys, price, climbs)
                bill += Cost(1, price.least, price.most)

    def begin(self, requests, pack):
        """Some requests, in packs of another size: rows then stand at different steps."""
        self.pack, later = pack, self.pack
        self.ask(sometimes, requests)
        self.pack = later

    def answer(self, step, keys, price, climbs):
        """Keep a reply with an answer for each of ``keys``."""
        number, joined = self.history.next_request, b"".join(keys)
        last = self.steps[step].sample == self.repeats - 1
        up = [climbs(key) and last for key in keys]
        codes = bytes(WEAK if goes and self.repeats == 1 else ANSWERED for goes in up)
        senses = b"".join((2 if goes else 1).to_bytes(8, "big") for goes in up) if self.repeats > 1 else b""
        model = self.asks[step][1]
        self.history.fold(Intent(number, 1, joined, model, price.least, price.most, 2.0), 0)
        self.history.fold(Received(number, 1, joined, 200, {}, b"", 0.5, 3.0), 100 + number)
        settled = Settled(
            number, 1, "settled", price.least, price.most, None, None, 200, 0.5, codes=codes, senses=senses
        )
        self.history.fold(settled, 0)


def never(_):
    return False


def always(_):
    return True


def sometimes(key):
    return key[0] % 3 == 0
