// promptfoo's own `evaluate`: no assertions, no cache, nothing shared or sent home.
// node with_promptfoo.mjs INPUT.csv OUTPUT.json BASE_URL C
import { writeFileSync } from "node:fs";
import path from "node:path";

const [table, target, apiBaseUrl, concurrency] = process.argv.slice(2);
Object.assign(process.env, {
  PROMPTFOO_CONFIG_DIR: path.join(path.dirname(target), "promptfoo"),
  PROMPTFOO_DISABLE_TELEMETRY: "1",
  PROMPTFOO_DISABLE_UPDATE: "1",
  PROMPTFOO_DISABLE_REMOTE_GENERATION: "1",
  PROMPTFOO_DISABLE_SHARING: "1",
  PROMPTFOO_CACHE_ENABLED: "false",
  PROMPTFOO_FETCH_CONNECTIONS: concurrency, // else four connections, whatever maxConcurrency says
  LOG_LEVEL: "error",
});
const { default: promptfoo } = await import("promptfoo");

const evaluation = await promptfoo.evaluate(
  {
    prompts: ["Classify this customer message: {{ text }}"],
    providers: [{ id: "openai:chat:deepseek-chat", config: { apiBaseUrl, apiKey: "none" } }],
    tests: `file://${table}`,
    writeLatestResults: false,
    sharing: false,
  },
  { maxConcurrency: Number(concurrency), cache: false, showProgressBar: false },
);
const { results } = await evaluation.toEvaluateSummary();
const answers = [];
for (const result of results) answers[result.testIdx] = result.response?.output ?? null;
writeFileSync(target, JSON.stringify(answers));
process.exit(0);
