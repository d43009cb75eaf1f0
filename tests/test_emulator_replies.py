import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from journeybatch.emulator.replies import compose_reply, count_tokens, cut_tokens, find_labels, score_sentiment

DIGEST = bytes(range(32))
LABELS = "Is this review positive, negative or neutral? Answer with one word. Review: "


@pytest.mark.parametrize(
    ("prompt", "labels"),
    [
        ("Classify as spam, ham or unsure: WIN NOW", ["spam", "ham", "unsure"]),
        ("Answer with one of: billing, delivery, other.\n\nMy parcel is late", ["billing", "delivery", "other"]),
        ("Pick one (yes/no): is water wet?", ["yes", "no"]),
        ("Choose from 'red' | 'green'", ["red", "green"]),
        ("Is the tone formal, friendly, or rude?", ["formal", "friendly", "rude"]),
    ],
)
def test_labels_are_found_where_a_prompt_offers_them(prompt, labels):
    assert find_labels([prompt])[0] == labels
    assert compose_reply([prompt], DIGEST) in labels


def test_labels_may_stand_in_the_system_message():
    assert compose_reply(["Answer only with yes, no or maybe.", "Is it raining?"], DIGEST) in ("yes", "no", "maybe")


@pytest.mark.parametrize(
    ("review", "label"),
    [
        ("The soup was delicious and the staff friendly.", "positive"),
        ("Rude waiter, cold food, never again.", "negative"),
        ("The food was not good.", "negative"),
        ("It is a hotel near the station.", "neutral"),
    ],
)
def test_sentiment_follows_the_words(review, label):
    assert compose_reply([LABELS + review], DIGEST) == label


def test_the_offered_labels_do_not_count_as_the_review():
    assert score_sentiment(find_labels([LABELS + "good"])[1]) == 1


def test_a_label_that_the_text_mentions_is_chosen():
    prompt = "Answer with one of: billing, delivery, other. Ticket: the delivery came to my neighbour"
    assert compose_reply([prompt], DIGEST) == "delivery"


def test_a_question_about_a_quantity_gets_a_number():
    reply = compose_reply(["Ann has 16 eggs and eats 3. How many are left?"], DIGEST)
    assert any(character.isdigit() for character in reply)


def test_anything_else_is_a_sentence_with_the_users_own_words():
    reply = compose_reply(["Explain how rivers find their way to the sea."], DIGEST)
    quote = reply.split("“")[1].split("”")[0]
    assert quote in "Explain how rivers find their way to the sea."


@settings(deadline=None, max_examples=60)
@given(st.lists(st.text(max_size=200), min_size=1, max_size=3), st.binary(min_size=32, max_size=32))
def test_any_text_gets_a_reply_and_always_the_same(texts, digest):
    reply = compose_reply(texts, digest)
    assert reply
    assert reply == compose_reply(list(texts), digest)


@pytest.mark.parametrize("piece", ["a,", "a or ", "as ", "(a,", "a, b, ", "aaaa", "1.5,2 | "])
def test_long_tables_of_data_do_not_slow_it_down(piece):
    began = time.process_time()
    compose_reply([piece * (200_000 // len(piece))], DIGEST)
    assert time.process_time() - began < 0.5


@settings(deadline=None, max_examples=60)
@given(st.text(max_size=200), st.integers(1, 20))
def test_a_cut_keeps_within_the_tokens_asked_for(text, most):
    kept, cut = cut_tokens(text, most)
    assert count_tokens(kept) == min(most, count_tokens(text))
    assert text.startswith(kept)
    assert cut == (count_tokens(text) > most)
