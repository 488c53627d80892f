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
import { grammar, passed, prompt, spans } from "./minisift.mjs";

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

// n_predict: the grammar's answers are finite
const complete = (ids, grammar, settings = {}) =>
  ask("/completion", { prompt: ids, grammar, temperature: 0, n_predict: -1, cache_prompt: true, return_tokens: true, ...settings });

async function label(text) {
  const ids = await prompt(kit, text, tokenize);
  let { content: answer, tokens } = await complete(ids, grammar(kit, text));
  // the end's bias is for the empty line alone, and a request's for every line: weigh the end by itself
  const weighed = { logit_bias: [[kit.end, -kit.end_bias]], n_predict: 1 };
  while (kit.end_bias) {
    const at = passed(kit, text, answer);
    ids.push(...tokens.slice(0, tokens.lastIndexOf(kit.end)));
    const next = await complete(ids, grammar(kit, text, `line-${at}`), weighed);
    if (next.tokens[0] === kit.end) break;
    const more = await complete(ids, grammar(kit, text, `" " from-${at}`));
    answer = answer.slice(0, -1) + more.content;
    tokens = more.tokens;
  }
  return { text, spans: spans(kit, text, answer) };
}

const texts = argv.length > 2 ? argv.slice(2) : createInterface({ input: stdin });
for await (const text of texts) console.log(JSON.stringify(await label(text)));
