"""Label texts by vLLM on a GPU, with the merged model as a Hugging Face folder.

    minisift export NER NER-MERGED --format hf
    python with_vllm.py NER-MERGED "A text." "Another."

Prompts go in as token ids and each text has a grammar of its own, so that answers are valid and
offsets exact. minisift itself is needed for both, without its extras.
"""

import json
import sys
from pathlib import Path

from vllm import LLM, SamplingParams
from vllm.sampling_params import StructuredOutputsParams

from minisift import Example
from minisift.decoding.gbnf import gbnf
from minisift.models.tokenizer import load_tokenizer
from minisift.prompting.response import LEAD, parse, target_of

KIT = json.loads(Path(__file__).with_name("prompt.json").read_text(encoding="utf-8"))
BY_NAME = {name: label for label, name in KIT["names"].items()}


def main(folder: str, texts: list[str]) -> None:
    llm = LLM(folder, enable_prefix_caching=True)
    tokenizer = load_tokenizer(folder)  # one that takes control tokens in a text for text
    targets = [target_of(Example(text)) for text in texts]
    prompts, settings = [], []
    for target in targets:
        ids = tokenizer.encode(LEAD + target.text)
        prompts.append({"prompt_token_ids": [*KIT["prefix"], *ids, *KIT["turn"]]})
        grammar = StructuredOutputsParams(grammar=gbnf(target, KIT["names"]))
        settings.append(
            SamplingParams(
                temperature=0,
                max_tokens=512,
                structured_outputs=grammar,
                logit_bias={KIT["end"]: -KIT["end_bias"]},
            )
        )
    for target, output in zip(targets, llm.generate(prompts, settings), strict=True):
        spans = parse(output.outputs[0].text, target, BY_NAME)
        found = [{"start": s.start, "end": s.end, "label": s.label, "text": s.text} for s in spans]
        print(json.dumps({"text": target.example.text, "spans": found}, ensure_ascii=False))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
