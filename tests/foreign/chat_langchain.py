"""langchain-openai asks a server: whole, streamed, for an object of a schema, and for a model that is not there.

Takes the base URL, the model and the question; prints one JSON object.
"""

import json
import sys

import openai
from langchain_openai import ChatOpenAI

base_url, model, question = sys.argv[1:]
SCHEMA = {
    "title": "Review",
    "type": "object",
    "properties": {"mood": {"type": "string", "enum": ["positive", "negative"]}},
    "required": ["mood"],
    "additionalProperties": False,
}


def chat(name):
    return ChatOpenAI(base_url=base_url, api_key="unused", model=name, max_retries=0, stream_usage=True)


whole = chat(model).invoke(question)
chunks = list(chat(model).stream(question))
total = chunks[0]
for chunk in chunks[1:]:
    total += chunk
formed = chat(model).with_structured_output(SCHEMA, method="json_schema").invoke(question)
try:
    chat("nobody").invoke(question)
    refused = "not at all"
except openai.NotFoundError as error:
    refused = f"{type(error).__name__}: {error}"
print(
    json.dumps(
        {
            "whole": whole.content,
            "finish": whole.response_metadata["finish_reason"],
            "tokens": [whole.usage_metadata["total_tokens"], total.usage_metadata["total_tokens"]],
            "streamed": total.content,
            "pieces": sum(bool(chunk.content) for chunk in chunks),
            "formed": formed,
            "refused": refused,
        }
    )
)
