"""What the demonstration model scores: `python -m benchmarks.embedded_model.evaluate`.

Greedy decoding, free or (`--grammar`) kept to calls that fit their schemas. A task counts when every answer in it does: tool and arguments right, character for
character, and nothing else said; behind the last result, the closing text. Sentence frames, tool lists, file names and
words are the held-out ones (`phrases.py`). The last line scores the same weights, shuffled within each tensor: chance.
"""

from __future__ import annotations

import argparse
import itertools
import json
import pathlib
import random
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from anyclaude_lab.engine import embedded
from anyclaude_lab.engine.serve.call_forms import HERMES
from benchmarks.embedded_model import phrases
from benchmarks.embedded_model.conversations import HELD_OUT, Call, Json, Speaker, asked, call_message

if TYPE_CHECKING:
    from anyclaude_lab.engine.serve.grammar import CallGrammar

TOOLS = ["Bash", "Read", "Edit", "Write", "Grep", "Glob", "ToolSearch", "WebFetch"]


@dataclass(frozen=True)
class Shape:
    """How a prompt looks around the order: sizes in characters."""

    name: str
    system: int
    tool_text: int  # per tool description
    other_tools: int
    behind: int  # system text between the user's text and the answer
    turns: int = 1
    orders: int = 1


SHAPES = [
    Shape("bare", 60, 0, 0, 0),
    Shape("2.5K", 1500, 100, 4, 400),
    Shape("8K", 4000, 500, 8, 2000),
    Shape("20K", 8000, 1000, 12, 9000),
    Shape("turn 3", 1500, 100, 4, 400, turns=3),
    Shape("3 steps", 1500, 100, 4, 400, orders=3),
]


@dataclass
class Answer:
    text: str
    prompt_tokens: int

    def calls(self) -> list[Call]:
        """The tool calls, as mlx-lm's json_tools parser reads them."""
        found = []
        for block in self.text.split("<tool_call>")[1:]:
            try:
                call = json.loads(block.split("</tool_call>")[0])
                found.append(Call(call["name"], call["arguments"]))
            except (ValueError, KeyError, TypeError):
                found.append(Call("(malformed)", {}))
        return found

    def only(self, call: Call) -> bool:
        return self.calls() == [call] and self.text.startswith("<tool_call>") and self.text.endswith("</tool_call>")


class Model:
    """A model folder, asked by greedy decoding; what a prompt shares with the one before is not computed again.

    With `shuffle_seed` every weight tensor is permuted first; `grammar` lets only calls through that fit.
    """

    def __init__(self, folder: pathlib.Path, shuffle_seed: int | None = None, *, grammar: bool = False) -> None:
        from mlx_lm import load
        from mlx_lm.models.cache import make_prompt_cache

        self.model, self.tokenizer = load(str(folder))[:2]
        if shuffle_seed is not None:
            self._shuffle(shuffle_seed)
        self.grammar = self._call_grammar() if grammar else None
        self.cache = make_prompt_cache(self.model)
        self.cached: list[int] = []

    def _shuffle(self, seed: int) -> None:
        import mlx.core as mx
        from mlx.utils import tree_flatten

        mx.random.seed(seed)
        self.model.load_weights(
            [
                (name, mx.random.permutation(value.reshape(-1)).reshape(value.shape))
                for name, value in tree_flatten(self.model.parameters())
            ]
        )

    def _call_grammar(self) -> CallGrammar | None:
        from anyclaude_lab.engine.serve.grammar import call_grammar

        return call_grammar(self.tokenizer._tokenizer, HERMES, self.tokenizer.eos_token_id)

    def _processors(self, tools: list[Json] | None) -> list[Any]:
        """What stands between the model's scores and the choice of a token."""
        if self.grammar is None or not tools:
            return []
        guide, seen = self.grammar.guide({t["function"]["name"]: t["function"]["parameters"] for t in tools}), 0

        def allowed(tokens: Any, scores: Any) -> Any:
            nonlocal seen
            if seen:
                guide.took(tokens[-1].item())
            seen += 1
            return guide.allowed(scores)

        return [allowed]

    def answer(self, messages: list[Json], tools: list[Json] | None, max_tokens: int = 200) -> Answer:
        from mlx_lm import stream_generate
        from mlx_lm.models.cache import trim_prompt_cache

        prompt = list(self.tokenizer.apply_chat_template(messages, tools=tools, add_generation_prompt=True))
        pairs = zip(prompt[:-1], self.cached, strict=False)
        shared = len(list(itertools.takewhile(lambda pair: pair[0] == pair[1], pairs)))
        trim_prompt_cache(self.cache, self.cache[0].offset - shared)
        text, said = "", []
        kept = {"prompt_cache": self.cache, "logits_processors": self._processors(tools)}
        for part in stream_generate(self.model, self.tokenizer, prompt[shared:], max_tokens=max_tokens, **kept):
            text += part.text
            said.append(part.token)
        self.cached = [*prompt, *said][: self.cache[0].offset]
        return Answer(text, len(prompt))


@dataclass
class Task:
    """A conversation whose next answers are known: `calls` one after the other, then the closing text."""

    messages: list[Json]
    tools: list[Json]
    calls: list[Call]


@dataclass
class Head:
    """What several tasks have in common: the system text and the tools."""

    system: str
    tools: list[Json]


def task(speaker: Speaker, shape: Shape, head: Head, tool: str) -> Task:
    messages: list[Json] = [{"role": "system", "content": head.system}]
    for _ in range(shape.turns - 1):
        text, earlier = speaker.orders(1)
        messages += asked(speaker, text, 0)
        messages += [call_message(earlier[0]), {"role": "tool", "content": speaker.result(earlier[0])}]
        messages.append({"role": "assistant", "content": phrases.DONE})
    text, calls = speaker.orders(shape.orders, tool)
    messages += asked(speaker, text, shape.behind)
    return Task(messages, head.tools, calls)


def carried_out(model: Model, speaker: Speaker, given: Task, misses: list[str]) -> tuple[bool, list[Answer]]:
    """Whether every call came, in order and exactly, and the closing text behind the last result."""
    messages, answers = list(given.messages), []
    for call in given.calls:
        answers.append(model.answer(messages, given.tools))
        if not answers[-1].only(call):
            misses.append(
                f"{[m['content'] for m in given.messages if m['role'] == 'user'][-1]!r}: wanted {call}, got {answers[-1].text[:200]!r}"
            )
            return False, answers
        messages += [call_message(call), {"role": "tool", "content": speaker.result(call)}]
    answers.append(model.answer(messages, given.tools))
    if answers[-1].text != phrases.DONE:
        misses.append(f"closing text: {answers[-1].text[:200]!r}")
    return answers[-1].text == phrases.DONE, answers


def score(model: Model, shape: Shape, per_tool: int, seed: int, misses: list[str]) -> tuple[Counter[str], list[Answer]]:
    """Right tasks by the first order's tool, `per_tool` of each, and every answer given."""
    speaker = Speaker(HELD_OUT, random.Random(f"{seed}/{shape.name}"))
    right: Counter[str] = Counter()
    answers: list[Answer] = []
    for _ in range(per_tool):
        head = Head(speaker.junk(shape.system), speaker.tools(shape.other_tools, shape.tool_text))
        if model.grammar is not None:
            _declare_max_results(head.tools)
        for tool in TOOLS:
            ok, given = carried_out(model, speaker, task(speaker, shape, head, tool), misses)
            right[tool] += ok
            answers += given
    return right, answers


def _declare_max_results(tools: list[Json]) -> None:
    """The client's ToolSearch has it, and the model always writes it; in training its schema was left out."""
    (search,) = (tool["function"] for tool in tools if tool["function"]["name"] == "ToolSearch")
    search["parameters"]["properties"]["max_results"] = {"type": "number"}


def remarks(model: Model) -> tuple[int, int]:
    """Held-out remarks that name nothing to do, answered with the greeting; and how many there are."""
    tools = Speaker(HELD_OUT, random.Random(5)).tools(2, 40)
    right = sum(
        model.answer([{"role": "system", "content": "Be brief."}, {"role": "user", "content": text}], tools).text
        == phrases.GREETING
        for text in phrases.HELD_OUT_REMARKS
    )
    return right, len(phrases.HELD_OUT_REMARKS)


def report(model: Model, label: str, shape: Shape, per_tool: int, seed: int, show: int) -> None:
    misses: list[str] = []
    right, answers = score(model, shape, per_tool, seed, misses)
    n = per_tool * len(TOOLS)
    tokens = sorted(answer.prompt_tokens for answer in answers)
    by_tool = " ".join(f"{tool} {right[tool]}/{per_tool}" for tool in TOOLS)
    print(
        f"{label} | {shape.name:7} | {tokens[0]}-{tokens[-1]} prompt tokens"
        f" | exact {right.total()}/{n} = {right.total() / n:.0%} | {by_tool}",
        flush=True,
    )
    for miss in misses[:show]:
        print(f"    {miss}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--model", type=pathlib.Path, default=embedded.folder(), help="folder; the packaged model by default"
    )
    parser.add_argument("--per-tool", type=int, default=10, help="tasks per tool and shape; a fifth of it at 20K")
    parser.add_argument(
        "--shape", action="append", choices=[shape.name for shape in SHAPES], help="only this shape (repeatable)"
    )
    parser.add_argument("--grammar", action="store_true", help="let only calls through that fit their schemas")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--misses", type=int, default=0, help="print so many wrong answers per shape")
    options = parser.parse_args()
    shapes = [shape for shape in SHAPES if not options.shape or shape.name in options.shape]
    model = Model(options.model, grammar=options.grammar)
    label = "grammar " if options.grammar else "trained "
    for shape in shapes:
        per_tool = options.per_tool if shape.system < 8000 else max(1, options.per_tool // 5)
        report(model, label, shape, per_tool, options.seed, options.misses)
    right, n = remarks(model)
    print(f"{label} | remarks | {right}/{n} answered as a demonstration model, without a call")
    shuffled = Model(options.model, shuffle_seed=1)
    report(shuffled, "shuffled", SHAPES[0], max(1, options.per_tool // 5), options.seed, options.misses)


if __name__ == "__main__":
    main()
