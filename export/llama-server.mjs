/**
 * Label texts by a running llama-server (llama-server -m MODEL.gguf --port 8080):
 *
 *   node llama-server.mjs "A text." "Another."
 *   node llama-server.mjs < texts.txt > labels.jsonl
 *
 * A JSON object a text, in order. $SERVER is the server's address.
 */
import { readFile } from "node:fs/promises";
import { createInterface } from "node:readline";
import { argv, env, stdin } from "node:process";
import { grammar, prompt, spans } from "./minisift.mjs";

const SERVER = env.SERVER ?? "http://127.0.0.1:8080";
const kit = JSON.parse(await readFile(new URL("prompt.json", import.meta.url), "utf-8"));

async function ask(path, body) {
  const response = await fetch(SERVER + path, { method: "POST", body: JSON.stringify(body) });
  if (!response.ok) throw new Error(`${SERVER}${path}: ${response.status} ${await response.text()}`);
  return response.json();
}

// strings in a prompt would have control tokens looked for: texts go in as ids
const tokenize = async (content) =>
  (await ask("/tokenize", { content, add_special: false, parse_special: false })).tokens;

async function label(text) {
  const { content } = await ask("/completion", {
    prompt: await prompt(kit, text, tokenize),
    grammar: grammar(kit, text),
    temperature: 0,
    logit_bias: [[kit.end, -kit.end_bias]],
    n_predict: -1, // the grammar's answers are finite
    cache_prompt: true,
  });
  return { text, spans: spans(kit, text, content) };
}

const texts = argv.length > 2 ? argv.slice(2) : createInterface({ input: stdin });
for await (const text of texts) console.log(JSON.stringify(await label(text)));
