// The Vercel AI SDK asks a server, through its OpenAI provider and through its provider for compatible servers: whole,
// streamed, for an object of a schema, and for a model that is not there.
// Takes the base URL, the model and the question; prints one JSON object.
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText, jsonSchema, Output, streamText } from "ai";

const [baseURL, model, prompt] = process.argv.slice(2);
const apiKey = "unused";
const openai = createOpenAI({ baseURL, apiKey }).chat; // without .chat it would ask /responses
const compatible = createOpenAICompatible({ name: "ours", baseURL, apiKey, includeUsage: true, supportsStructuredOutputs: true });
const schema = jsonSchema({
  type: "object",
  properties: { mood: { type: "string", enum: ["positive", "negative"] } },
  required: ["mood"],
  additionalProperties: false,
});

async function ask(provider) {
  const asked = { model: provider(model), instructions: "Be brief.", prompt, maxRetries: 0 };
  const whole = await generateText(asked);
  const stream = streamText(asked);
  const pieces = [];
  for await (const piece of stream.textStream) pieces.push(piece);
  const formed = await generateText({ ...asked, output: Output.object({ schema }) });
  const refused = await generateText({ ...asked, model: provider("nobody") }).catch((error) => error);
  return {
    whole: whole.text,
    finish: whole.finishReason,
    tokens: [whole.usage.totalTokens, (await stream.usage).totalTokens],
    streamed: pieces.join(""),
    pieces: pieces.length,
    formed: formed.output,
    refused: `${refused.name}: ${refused.message}`,
  };
}

console.log(JSON.stringify({ openai: await ask(openai), compatible: await ask(compatible) }));
