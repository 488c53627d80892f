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
from minisift.prompting.response import END, LEAD, parse, target_of

KIT = json.loads(Path(__file__).with_name("prompt.json").read_text(encoding="utf-8"))
BY_NAME = {name: label for label, name in KIT["names"].items()}


def main(folder: str, texts: list[str]) -> None:
    llm = LLM(folder, enable_prefix_caching=True)
    tokenizer = load_tokenizer(folder)  # one that takes control tokens in a text for text
    answers = [Answer(target_of(Example(text)), tokenizer) for text in texts]
    under_way = answers
    for answer, output in zip(answers, ask(llm, answers, lambda a: "line-0"), strict=True):
        answer.take(output)
    # the end's bias is for the empty line alone, and a request's for every line: weigh the end by itself
    while KIT["end_bias"] and under_way:
        bias = {KIT["end"]: -KIT["end_bias"]}
        ends = ask(llm, under_way, lambda a: f"line-{a.passed}", logit_bias=bias, max_tokens=1)
        more = zip(under_way, ends, strict=True)
        under_way = [answer for answer, end in more if end.token_ids[0] != KIT["end"]]
        lines = ask(llm, under_way, lambda a: f'" " from-{a.passed}')
        for answer, output in zip(under_way, lines, strict=True):
            answer.take(output)
    for answer in answers:
        found = [
            {"start": s.start, "end": s.end, "label": s.label, "text": s.text} for s in answer.spans
        ]
        print(json.dumps({"text": answer.target.example.text, "spans": found}, ensure_ascii=False))


class Answer:
    """A prompt and the whole lines of its answer so far."""

    def __init__(self, target, tokenizer):
        self.target = target
        self.ids = [*KIT["prefix"], *tokenizer.encode(LEAD + target.text), *KIT["turn"]]
        self.lines = ""

    def take(self, output):
        """Go on with what vLLM wrote, which ends in an empty line."""
        ids = list(output.token_ids)
        self.ids += ids[: len(ids) - 1 - ids[::-1].index(KIT["end"])]
        self.lines += output.text.removesuffix(END)

    @property
    def spans(self):
        return parse(self.lines + END, self.target, BY_NAME)

    @property
    def passed(self):
        """How many words of the text the lines have passed."""
        end = max((span.end for span in self.spans), default=0)
        return sum(stop <= end for _, stop in self.target.example.words)


def ask(llm, answers, root, **settings):
    prompts = [{"prompt_token_ids": answer.ids} for answer in answers]
    grammars = [gbnf(answer.target, KIT["names"], root(answer)) for answer in answers]
    asked = [
        SamplingParams(
            structured_outputs=StructuredOutputsParams(grammar=grammar),
            **{"temperature": 0, "max_tokens": 512, **settings},
        )
        for grammar in grammars
    ]
    return [output.outputs[0] for output in llm.generate(prompts, asked)]


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
