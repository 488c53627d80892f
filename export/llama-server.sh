#!/usr/bin/env bash
# Label a text by a running llama-server with curl and jq; prints the answer, a span a line:
#
#   llama-server -m MODEL.gguf --port 8080 &
#   ./llama-server.sh "Angela Merkel visited Paris."
#
# The grammar is labels.gbnf: lines and labels are valid, words are the model's own.
set -euo pipefail
here=$(dirname "$0")
server=${SERVER:-http://127.0.0.1:8080}
text=$(tr -s '[:space:]' ' ' <<<"$1" | sed 's/^ //; s/ $//')

# ids, because llama-server would look for control tokens in a string
ids=$(jq -n --arg text " $text" '{content: $text, add_special: false, parse_special: false}' |
    curl -sSf "$server/tokenize" -d @- | jq -c .tokens)
jq -n --slurpfile kit "$here/prompt.json" --rawfile grammar "$here/labels.gbnf" --argjson ids "$ids" '{
    prompt: ($kit[0].prefix + $ids + $kit[0].turn),
    grammar: $grammar, temperature: 0, n_predict: 512, cache_prompt: true
}' | curl -sSf "$server/completion" -d @- | jq -r .content
