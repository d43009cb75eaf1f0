"""The emulator's own OpenAPI page: what it takes, what it answers, and what it refuses.

It says what is checked, and no more: fields that it does not name are let through, as the endpoint does.
"""

from __future__ import annotations

from journeybatch.catalog import MODELS
from journeybatch.emulator.question import ROLES
from journeybatch.emulator.shapes import Json

_TEXT: Json = {"type": "string"}
_COUNT: Json = {"type": "integer", "minimum": 0}
_REFUSALS = {
    "400": "The request makes no sense, or the model refuses one of its parameters.",
    "401": "There is no key, or another one is wanted.",
    "402": "The account holds less than this model costs.",
    "404": "There is no such model.",
    "405": "The method is not allowed here.",
    "413": "The body is over 16 MiB.",
    "421": "The Host header names another host.",
    "429": "Too many requests; `Retry-After` says for how long.",
}


def openapi(server: str) -> Json:
    """The page, for a service whose paths begin with ``server``."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "JourneyAPI, emulated",
            "version": "1",
            "description": "A local stand-in: no model, no real credits. Any failure may be injected besides.",
        },
        "servers": [{"url": server}],
        "security": [{"key": []}],
        "paths": {
            "/chat/completions": {"post": _chat()},
            "/account": {"get": _lookup("The account and its balance", "Account")},
            "/models": {"get": _lookup("The models that can be asked", "Models")},
        },
        "components": {
            "securitySchemes": {
                "key": {"type": "apiKey", "in": "header", "name": "Authorization", "description": "KEY or Bearer KEY."}
            },
            "schemas": _schemas(),
        },
    }


def _chat() -> Json:
    event = {**_object({"data": _TEXT}), "description": "An event: a `chat.completion.chunk`, or `[DONE]` at the end."}
    return {
        "summary": "Ask a model",
        "operationId": "ask",
        "requestBody": {"required": True, "content": _json("Question")},
        "responses": {
            "200": {
                "description": "The answer.",
                "content": {**_json("Completion"), "text/event-stream": {"schema": event}},
            },
            **_refusals(*_REFUSALS),
        },
    }


def _lookup(summary: str, schema: str) -> Json:
    answer = {"200": {"description": f"{summary}.", "content": _json(schema)}}
    return {"summary": summary, "operationId": schema.lower(), "responses": {**answer, **_refusals("401", "421")}}


def _json(schema: str) -> Json:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}


def _refusals(*statuses: str) -> Json:
    return {status: {"description": _REFUSALS[status], "content": _json("Error")} for status in statuses}


def _object(properties: Json, *optional: str) -> Json:
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": required}


def _or_null(part: Json) -> Json:
    return {"anyOf": [part, {"type": "null"}]}


def _schemas() -> Json:
    usage = _object(dict.fromkeys(("prompt_tokens", "completion_tokens", "total_tokens"), _COUNT))
    said = _object(
        {"role": {"const": "assistant"}, "content": {"type": ["string", "null"]}, "refusal": _TEXT}, "refusal"
    )
    choice = _object({"index": _COUNT, "message": said, "finish_reason": {"enum": ["stop", "length"]}})
    completion = {"id": _TEXT, "object": {"const": "chat.completion"}, "created": _COUNT, "model": _TEXT}
    model = {"id": {"enum": list(MODELS)}, "object": {"const": "model"}, "created": _COUNT, "owned_by": _TEXT}
    error = {name: {"type": ["string", "null"]} for name in ("message", "type", "param", "code")}
    account = {"email": _TEXT, "credits": {"type": "integer"}, "total_images": _COUNT, "plan": _TEXT}
    return {
        "Question": {"oneOf": list(_questions())},
        "Message": _object(
            {"role": {"enum": list(ROLES)}, "content": {"anyOf": [_TEXT, {"type": "array", "items": _part()}]}}
        ),
        "ResponseFormat": {"oneOf": [_format("text"), _format("json_object"), _format("json_schema")]},
        "Completion": _object({**completion, "choices": {"type": "array", "items": choice}, "usage": usage}),
        "Account": _object(account),
        "Models": _object({"object": {"const": "list"}, "data": {"type": "array", "items": _object(model)}}),
        "Error": _object({"error": _object(error)}),
    }


def _questions() -> list[Json]:
    """One kind of question for each set of parameters that models refuse."""
    kinds: dict[frozenset[str], list[str]] = {}
    for name, model in MODELS.items():
        kinds.setdefault(frozenset(model.refuses), []).append(name)
    most = _or_null({"type": "integer", "minimum": 1})
    asked: Json = {
        "messages": {"type": "array", "minItems": 1, "items": {"$ref": "#/components/schemas/Message"}},
        "stream": {"type": ["boolean", "null"]},
        "stream_options": _or_null({"type": "object", "properties": {"include_usage": {"type": "boolean"}}}),
        "temperature": _or_null({"type": "number", "minimum": 0, "maximum": 2}),
        "max_tokens": most,
        "max_completion_tokens": most,
        "response_format": _or_null({"$ref": "#/components/schemas/ResponseFormat"}),
    }
    optional = [name for name in asked if name != "messages"]
    return [
        _object({"model": {"enum": models}, **asked, **{name: {"type": "null"} for name in refused}}, *optional)
        for refused, models in kinds.items()
    ]


def _part() -> Json:
    return _object({"type": {"const": "text"}, "text": _TEXT})


def _format(kind: str) -> Json:
    described = {"json_schema": _object({"name": _TEXT, "schema": {"type": "object"}}, "name")}
    return _object({"type": {"const": kind}, **(described if kind == "json_schema" else {})})
