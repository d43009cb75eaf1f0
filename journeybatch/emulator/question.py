"""A request's body, checked as the endpoint checks it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from journeybatch.catalog import MODELS
from journeybatch.emulator.shapes import Json, Reply, error_reply

if TYPE_CHECKING:
    from hashlib import _Hash

ROLES = ("system", "developer", "user", "assistant")  # `developer` is what newer SDKs call `system`
_ANY_OBJECT: Json = {"type": "object", "properties": {"answer": {"type": "string"}}, "required": ["answer"]}
_FORM = ("stream", "stream_options", "max_tokens", "max_completion_tokens")  # how an answer comes, not what it says


class Rejected(Exception):
    """The request cannot be served; ``reply`` says why, ``model`` is the model asked for, where there is one."""

    def __init__(self, reply: Reply, model: str | None = None) -> None:
        super().__init__(reply.body.decode(errors="replace"))
        self.reply = reply
        self.model = model


@dataclass(frozen=True, slots=True)
class Question:
    """A request that can be answered: the messages' ``texts``, a ``root`` for digests of its last text, and the JSON
    Schema of the object that ``response_format`` wants, if any."""

    model: str
    texts: list[str]
    root: _Hash
    max_tokens: int | None
    stream: bool
    with_usage: bool
    schema: Json | None = None

    def digest(self, last: str) -> bytes:
        """32 bytes that depend on the model, the messages with ``last`` as the last one's text, and the parameters;
        not on ``max_tokens``, which only says how much of an answer is heard."""
        hashed = self.root.copy()
        hashed.update(last.encode("utf-8", "surrogatepass"))
        return hashed.digest()


def read_question(body: bytes) -> Question:
    """The question a body asks. Raises Rejected with a 400, or a 404 for a model that is not listed."""
    try:
        asked = json.loads(body)
    except (ValueError, RecursionError):
        raise _bad("We could not parse the JSON body of your request.") from None
    if not isinstance(asked, dict):
        raise _bad("The body of your request must be a JSON object.")
    texts = _texts(asked.get("messages"))
    model = asked.get("model")
    if not isinstance(model, str):
        raise _bad("You must provide a model parameter.", "model")
    if model not in MODELS:
        missing = f"The model `{model}` does not exist or you do not have access to it."
        raise Rejected(error_reply(404, missing, "model_not_found"), model)
    _check_parameters(asked, model)
    *before, last = asked["messages"]
    telling = {name: value for name, value in asked.items() if name not in _FORM}
    telling["messages"] = [*before, {name: value for name, value in last.items() if name != "content"}]
    options = asked.get("stream_options")
    return Question(
        model=model,
        texts=texts,
        root=hashlib.sha256(json.dumps(telling, sort_keys=True).encode()),
        max_tokens=asked.get("max_completion_tokens") or asked.get("max_tokens"),
        stream=bool(asked.get("stream")),
        with_usage=isinstance(options, dict) and options.get("include_usage") is True,
        schema=_read_format(asked.get("response_format"), model),
    )


def _texts(messages: object) -> list[str]:
    if not isinstance(messages, list) or not messages:
        raise _bad("'messages' must be a non-empty array of message objects.", "messages")
    texts = []
    for number, message in enumerate(messages):
        place = f"messages.[{number}]"
        if not isinstance(message, dict):
            raise _bad(f"'{place}' must be an object.", place)
        if message.get("role") not in ROLES:
            said = json.dumps(message.get("role"))[:80]
            raise _bad(f"Invalid value: {said}. Supported values are: {', '.join(ROLES)}.", f"{place}.role")
        texts.append(_text(message.get("content"), f"{place}.content"))
    return texts


def _text(content: object, place: str) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, dict) and part.get("type") == "text"]
        if len(parts) == len(content) and all(isinstance(part, str) for part in parts):
            return "\n".join(map(str, parts))
    raise _bad("Invalid value: 'content' must be a string or an array of text parts.", place)


def _check_parameters(asked: Json, model: str) -> None:
    for name in MODELS[model].refuses:
        if asked.get(name) is not None:
            reply = error_reply(
                400, f"Unsupported parameter: '{name}' is not supported with this model.", "unsupported_parameter", name
            )
            raise Rejected(reply, model)
    temperature = asked.get("temperature")
    if temperature is not None and not (_is_number(temperature) and 0 <= temperature <= 2):
        raise _bad("Invalid 'temperature': a number between 0 and 2 is expected.", "temperature", model)
    for name in ("max_tokens", "max_completion_tokens"):
        most = asked.get(name)
        if most is not None and not (_is_number(most) and most >= 1 and most % 1 == 0):  # 5.0 is an integer in JSON
            raise _bad(f"Invalid '{name}': an integer of at least 1 is expected.", name, model)
    if not isinstance(asked.get("stream"), bool | None):
        raise _bad("Invalid 'stream': a boolean is expected.", "stream", model)
    options = asked.get("stream_options")
    if options is not None and not (
        isinstance(options, dict) and isinstance(options.get("include_usage", False), bool)
    ):
        expected = "an object with a boolean 'include_usage' is expected"
        raise _bad(f"Invalid 'stream_options': {expected}.", "stream_options", model)


def _read_format(told: object, model: str) -> Json | None:
    """The JSON Schema of the object that a reply is to be; None for a text."""
    kind = told.get("type") if isinstance(told, dict) else None
    if told is None or kind == "text":
        return None
    if kind == "json_object":
        return _ANY_OBJECT
    found = told.get("json_schema") if isinstance(told, dict) and kind == "json_schema" else None
    described = found if isinstance(found, dict) else {}
    schema = described.get("schema")
    if not isinstance(schema, dict) or not isinstance(described.get("name", ""), str):
        expected = "text, json_object, or json_schema with a 'json_schema.schema' and a name is expected"
        raise _bad(f"Invalid 'response_format': {expected}.", "response_format", model)
    from jsonschema_rs import ValidationError, meta  # few ask for it

    try:
        meta.validate(schema)
    except (ValidationError, ValueError, RecursionError) as error:
        said = getattr(error, "message", type(error).__name__)
        raise _bad(f"Invalid schema for 'response_format': {said}", "response_format", model) from None
    return schema


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _bad(message: str, param: str | None = None, model: str | None = None) -> Rejected:
    return Rejected(error_reply(400, message, param=param), model)
