/**
 * Label texts in this process, by node-llama-cpp (npm install; see package.json):
 *
 *   node node-llama-cpp.mjs MODEL.gguf "A text." "Another."
 *   node node-llama-cpp.mjs MODEL.gguf < texts.txt > labels.jsonl
 *
 * A JSON object a text, in order.
 */
import { readFile } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { createInterface } from "node:readline";
import { argv, stdin } from "node:process";
import { getLlama, LlamaGrammar, LlamaGrammarEvaluationState, LlamaLogLevel, TokenBias } from "node-llama-cpp";
import { grammar, prompt, spans } from "./minisift.mjs";

const kit = JSON.parse(await readFile(new URL("prompt.json", import.meta.url), "utf-8"));
const llama = await getLlama({ build: "never", logLevel: LlamaLogLevel.error });
const model = await llama.loadModel({ modelPath: argv[2] });
const context = await model.createContext({
  contextSize: Math.min(8192, model.trainContextSize),
  threads: availableParallelism(), // more than there are cores would wait for each other
});
const sequence = context.getSequence();
const within = new TokenBias(model.tokenizer);
const atLine = new TokenBias(model.tokenizer).set(kit.end, { logit: -kit.end_bias });
const tokenize = async (text) => model.tokenize(text, false);

async function label(text) {
  const ids = await prompt(kit, text, tokenize);
  // keep what is computed of the demonstrations
  await sequence.adaptStateToTokens(ids.slice(0, -1), false);
  const rules = new LlamaGrammar(llama, { grammar: grammar(kit, text) });
  const grammarEvaluationState = new LlamaGrammarEvaluationState({ model, grammar: rules });
  const tokens = [];
  let answer = "";
  const tokenBias = () => (answer === "" || answer.endsWith("\n") ? atLine : within);
  const settings = { temperature: 0, tokenBias, grammarEvaluationState };
  for await (const token of sequence.evaluate(ids.slice(sequence.nextTokenIndex), settings)) {
    tokens.push(token);
    answer = model.detokenize(tokens);
    if (answer === "\n" || answer.endsWith("\n\n")) break;
  }
  return { text, spans: spans(kit, text, answer) };
}

const texts = argv.length > 3 ? argv.slice(3) : createInterface({ input: stdin });
for await (const text of texts) console.log(JSON.stringify(await label(text)));
await llama.dispose();
