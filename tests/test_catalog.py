"""The catalogue: 22 models, honest prices, parameters that are refused before they cost a request."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from journeybatch import catalog
from journeybatch.errors import SpecError, UnknownModel
from journeybatch.records import Price

BUDGET = ("deepseek-chat", "llama-4-scout", "qwen-turbo")


def test_the_22_listed_models_are_known_in_the_pages_order():
    assert len(catalog.MODELS) == 22
    assert next(iter(catalog.MODELS)) == "deepseek-chat"
    assert list(catalog.MODELS)[-1] == "gemini-2.5-ultra"
    assert all(name == model.name for name, model in catalog.MODELS.items())


def test_three_budget_models_cost_one_credit_and_the_others_one_to_five():
    exact = [name for name, model in catalog.MODELS.items() if model.price.least == model.price.most]
    assert sorted(exact) == sorted(BUDGET)
    for name, model in catalog.MODELS.items():
        assert (model.price.least, model.price.most) == ((1, 1) if name in BUDGET else (1, 5))


def test_every_price_says_where_it_is_from():
    assert catalog.price("deepseek-chat", {}).source == "the endpoint's page"
    assert "no figure for this model" in catalog.price("gpt-4o", {}).source
    assert catalog.price("gpt-4o", {"gpt-4o": 3}).source == "the job's credits"
    assert catalog.price("gpt-4o", {}, {"gpt-4o": 3}).source == "your config's credits"


def test_the_jobs_price_wins_over_the_users_and_the_users_over_the_catalogue():
    def interval(price: Price) -> tuple[int, int]:
        return price.least, price.most

    assert interval(catalog.price("gpt-4o", {"gpt-4o": 2}, {"gpt-4o": 3})) == (2, 2)
    assert interval(catalog.price("gpt-4o", {}, {"gpt-4o": (2, 3)})) == (2, 3)
    assert interval(catalog.price("gpt-4o", {"o3": 9}, {"o3": 8})) == (1, 5)
    assert interval(catalog.price("mine", {"mine": 0}, {})) == (0, 0)


@pytest.mark.parametrize(("typed", "meant"), [("gpt4o", "gpt-4o"), ("deepseek_chat", "deepseek-chat"), ("O3", "o3")])
def test_an_unknown_model_is_refused_with_the_nearest_names_and_the_way_out(typed, meant):
    with pytest.raises(UnknownModel) as error:
        catalog.price(typed, {}, {})
    assert typed in str(error.value)
    assert f"credits: {{{typed}: N}}" in str(error.value)
    if typed != "O3":
        assert meant in str(error.value)


def test_a_priced_model_of_the_users_is_among_the_nearest_names():
    with pytest.raises(UnknownModel, match="house-llm"):
        catalog.price("house-lm", {}, {"house-llm": 1})


@pytest.mark.parametrize("model", ["o3", "o4-mini"])
def test_reasoning_models_refuse_temperature(model):
    assert catalog.refused(model, {"max_tokens": 5, "temperature": 1}) == ("temperature",)
    with pytest.raises(SpecError, match=f"{model} does not support temperature"):
        catalog.check_parameters(model, {"temperature": 1})
    catalog.check_parameters(model, {"max_tokens": 5})


def test_other_models_take_temperature():
    for model in set(catalog.MODELS) - {"o3", "o4-mini"} | {"someone-elses"}:
        assert catalog.refused(model, {"temperature": 1}) == ()
        catalog.check_parameters(model, {"temperature": 1})


@settings(deadline=None, max_examples=80)
@given(st.one_of(st.floats(), st.integers(-3, 5), st.booleans(), st.none(), st.text(max_size=3)))
def test_a_temperature_passes_exactly_when_it_is_a_number_from_0_to_2(value):
    fine = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 2
    assert (catalog.problems("gpt-4o", {"temperature": value}) == ()) == fine


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"temperature": 2.1}, "from 0 to 2, not 2.1"),
        ({"temperature": True}, "from 0 to 2"),
        ({"temperature": "1"}, "not '1'"),
        ({"max_tokens": 0}, "max_tokens must be a whole number from 1"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"model": "o3"}, "the job's key 'model'"),
        ({"messages": []}, "the job's key 'prompt'"),
        ({"stream": True}, "the job's key 'stream'"),
        ({"n": 2}, "n must be 1"),
    ],
)
def test_what_cannot_be_sent_is_named(parameters, message):
    with pytest.raises(SpecError, match="parameters") as error:
        catalog.check_parameters("gpt-4o", parameters)
    assert message in str(error.value)


def test_all_wrong_parameters_are_named_at_once():
    with pytest.raises(SpecError) as error:
        catalog.check_parameters("o3", {"temperature": 7, "n": 3})
    assert len(str(error.value).splitlines()) == 3
