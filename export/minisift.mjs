/**
 * What a labeler's prompts and answers are made of, for any runtime of llama.cpp: the words of a
 * text, the prompt's tokens, a grammar of the text's valid answers, and the spans of an answer.
 * No dependencies; Node.js 20 or a browser of 2024.
 *
 * `kit` is the content of a kit's prompt.json. Offsets count UTF-16 units, as JavaScript's strings
 * do: text.slice(span.start, span.end) === span.text.
 */

const SPACE = String.raw`[\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]`;
// Scripts that are written without spaces between words: every character is a word.
const UNSPACED = ["Han", "Hiragana", "Katakana", "Bopomofo", "Thai", "Lao", "Khmer", "Myanmar", "Tibetan"]
  .map((script) => String.raw`\p{Script=${script}}`)
  .join("");
const WORD = new RegExp(
  String.raw`(?:[\p{L}--[${UNSPACED}]]\p{M}*)+|(?:\p{N}\p{M}*)+|[${UNSPACED}]\p{M}*`,
  "vy",
);
const graphemes = new Intl.Segmenter(undefined, { granularity: "grapheme" });

/** Runs of what is no white space, as [start, text]. */
function* chunks(text) {
  let start = 0;
  for (const chunk of text.split(new RegExp(`(${SPACE}+)`, "u"))) {
    if (chunk && !new RegExp(`^${SPACE}`, "u").test(chunk)) yield [start, chunk];
    start += chunk.length;
  }
}

/** [start, end] of each word: runs of letters, runs of digits, other characters one by one. */
export function words(text) {
  const found = [];
  for (const [start, chunk] of chunks(text)) {
    for (let at = 0; at < chunk.length; ) {
      WORD.lastIndex = at;
      const word = WORD.exec(chunk)?.[0] ?? graphemes.segment(chunk.slice(at))[Symbol.iterator]().next().value.segment;
      found.push([start + at, start + at + word.length]);
      at += word.length;
    }
  }
  return found;
}

/**
 * The text as the prompt shows it (white space folded to single spaces), with its words, and the
 * offset in the given text of each of its characters.
 */
function target(given) {
  let text = "";
  const offsets = [];
  for (const [start, chunk] of chunks(given)) {
    if (text) {
      text += " ";
      offsets.push(start - 1);
    }
    text += chunk;
    for (let at = 0; at < chunk.length; at++) offsets.push(start + at);
  }
  const folded = new Map(offsets.map((offset, at) => [offset, at]));
  const ranges = words(given).map(([start, end]) => [folded.get(start), folded.get(end - 1) + 1]);
  const starts = new Set(ranges.map(([start]) => start));
  const ends = new Set(ranges.map(([, end]) => end));
  return { text: text.toWellFormed(), offsets, ranges, starts, ends };
}

/** Where words stand in a target as whole words. */
function occurrences({ text, starts, ends }, sought) {
  const found = [];
  for (let at = sought ? text.indexOf(sought) : -1; at >= 0; at = text.indexOf(sought, at + 1)) {
    if (starts.has(at) && ends.has(at + sought.length)) found.push(at);
  }
  return found;
}

/**
 * The prompt's token ids. `tokenize` gives a promise of the ids of a string in which no control
 * tokens are looked for, and to which nothing is added.
 */
export async function prompt(kit, given, tokenize) {
  const ids = await encode(kit, ` ${target(given).text}`, tokenize);
  return [...kit.prefix, ...ids, ...kit.turn];
}

async function encode(kit, text, tokenize) {
  if (kit.low_line.length && text.includes("\u2581")) {
    // SentencePiece takes this character for a space: spelled in bytes
    const parts = await Promise.all(text.split("\u2581").map((part) => encode(kit, part, tokenize)));
    return parts.reduce((left, right) => [...left, ...kit.low_line, ...right]);
  }
  if (!text) return [];
  if (!kit.adds_space) return tokenize(text);
  // give it something else than the text to put its space before
  const [ids, before] = await Promise.all([tokenize(`\n${text}`), tokenize("\n")]);
  return ids.slice(before.length);
}

/**
 * A GBNF grammar of the valid answers to a text; each of them is finite. `root`: where it begins.
 * Behind i words of the text, "line-i" is the end or another line, and '" " from-i' another line.
 */
export function grammar(kit, given, root = "line-0") {
  const found = target(given);
  const { text, ranges } = found;
  const count = ranges.length;
  const labels = Object.values(kit.names).map((name) => literal(`: ${name}`));
  const rules = [`root ::= ${root}`, `label ::= ${labels.join(" | ")}`];
  const follow = (end, occurrence, longer) => {
    const closing = occurrence > 1 ? ` #${occurrence}\n` : "\n";
    const label = `label ${literal(closing)} line-${end}`;
    if (end === count) return label;
    return `${label} | ${literal(text.slice(ranges[end - 1][1], ranges[end][1]))} ${longer}`;
  };
  for (let end = 1; end <= count; end++) rules.push(`to-${end} ::= ${follow(end, 1, `to-${end + 1}`)}`);
  for (let first = 0; first < count; first++) {
    const [begun, last] = ranges[first];
    rules.push(`line-${first} ::= "\\x0A" | " " from-${first}`);
    // ends up to which the words stand further left too
    let repeated = first;
    while (repeated < count && text.indexOf(text.slice(begun, ranges[repeated][1])) < begun) repeated++;
    const rest = (end) => (end <= repeated ? `again-${first}-${end}` : `to-${end}`);
    const later = first + 1 < count ? ` | from-${first + 1}` : "";
    rules.push(`from-${first} ::= ${literal(text.slice(begun, last))} ${rest(first + 1)}${later}`);
    for (let end = first + 1; end <= repeated; end++) {
      const sought = text.slice(begun, ranges[end - 1][1]);
      const occurrence = occurrences(found, sought).indexOf(begun) + 1;
      rules.push(`${rest(end)} ::= ${follow(end, occurrence, rest(end + 1))}`);
    }
  }
  rules.push(`line-${count} ::= "\\x0A"`);
  return `${rules.join("\n")}\n`;
}

function literal(text) {
  const escaped = Array.from(text, (char) => {
    if (char === '"' || char === "\\") return `\\${char}`;
    if (char >= " " && char <= "~") return char;
    const code = char.codePointAt(0).toString(16).toUpperCase();
    return char.codePointAt(0) < 256 ? `\\x${code.padStart(2, "0")}` : `\\U${code.padStart(8, "0")}`;
  });
  return `"${escaped.join("")}"`;
}

/** How many words of the text an answer has passed: what comes next is `line-${passed(...)}`. */
export function passed(kit, given, answer) {
  const last = spans(kit, given, answer).at(-1)?.end ?? 0;
  return words(given).filter(([, end]) => end <= last).length;
}

/** The spans of an answer. Throws for one that the text's grammar does not allow. */
export function spans(kit, given, answer) {
  const found = target(given);
  const labels = new Map(Object.entries(kit.names).map(([label, name]) => [name, label]));
  const lines = answer.split("\n");
  if (lines.length < 2 || lines.pop() !== "" || lines.pop() !== "") throw new Error(`no empty line ends ${JSON.stringify(answer)}`);
  const spans = [];
  let cursor = 0;
  for (const line of lines) {
    const colon = line.lastIndexOf(": ");
    let name = line.slice(colon + 2);
    let number = 1;
    const counted = labels.has(name) ? null : /^(.*) #([1-9][0-9]*)$/su.exec(name);
    if (counted) [name, number] = [counted[1], Number(counted[2])];
    const at = occurrences(found, line.slice(1, Math.max(1, colon)))[number - 1];
    const valid = line.startsWith(" ") && colon > 1 && labels.has(name) && !(counted && number === 1);
    if (!valid || at === undefined || at < cursor) throw new Error(`not an answer to this text: ${JSON.stringify(line)}`);
    cursor = at + colon - 1;
    const [start, end] = [found.offsets[at], found.offsets[cursor - 1] + 1];
    spans.push({ start, end, label: labels.get(name), text: given.slice(start, end) });
  }
  return spans;
}
