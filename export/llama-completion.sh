#!/usr/bin/env bash
# Label a text by llama.cpp's llama-completion; prints the answer, a span a line:
#
#   ./llama-completion.sh MODEL.gguf "Angela Merkel visited Paris."
#
# The grammar is labels.gbnf: lines and labels are valid, words are the model's own. The prompt is
# tokenized in one piece, not as in training, so answers may differ a little.
set -euo pipefail
here=$(dirname "$0")
text=$(tr -s '[:space:]' ' ' <<<"$2" | sed 's/^ //; s/ $//')
prompt=$(mktemp)
trap 'rm -f "$prompt"' EXIT
{ cat "$here/prefix.txt"; printf ' %s' "$text"; jq -j .tail "$here/prompt.json"; } >"$prompt"
llama-completion -m "$1" --binary-file "$prompt" --grammar-file "$here/labels.gbnf" --temp 0 -n 512 \
    --no-conversation --no-display-prompt </dev/null 2>/dev/null | sed 's/ \[end of text\]//'
