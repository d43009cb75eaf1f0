// The official Node SDK asks a server: whole, streamed, for its models, and for a model that is not there.
// Takes the base URL, the model and the question; prints one JSON object.
import OpenAI from "openai";

const [baseURL, model, question] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey: "unused", maxRetries: 0 });
const messages = [{ role: "user", content: question }];

const whole = await client.chat.completions.create({ model, messages });
const stream = await client.chat.completions.create({
  model,
  messages,
  stream: true,
  stream_options: { include_usage: true },
});
const pieces = [];
let usage;
for await (const chunk of stream) {
  if (chunk.choices[0]?.delta?.content) pieces.push(chunk.choices[0].delta.content);
  usage = chunk.usage ?? usage;
}
const models = [];
for await (const each of client.models.list()) models.push(each.id);
const refused = await client.chat.completions.create({ model: "nobody", messages }).catch((error) => error);

console.log(
  JSON.stringify({
    whole: whole.choices[0].message.content,
    finish: whole.choices[0].finish_reason,
    tokens: [whole.usage.total_tokens, usage.total_tokens],
    streamed: pieces.join(""),
    pieces: pieces.length,
    models,
    refused: `${refused.constructor.name}: ${refused.message}`,
  }),
);
