"""The model's tokens: a byte-level BPE learnt from the standard library's docstrings, and the tokens that are placed by hand.

Two kinds of hand-placed tokens: *markers* that the chat template writes (turns, steps, segments), and the fixed
*scaffolding* of a tool call, one token each, so that a call is the scaffolding plus text copied from the request.
"""

from __future__ import annotations

import ast
import itertools
import json
import pathlib
import re
import string
import sysconfig
from collections.abc import Iterator
from typing import TYPE_CHECKING

from benchmarks.embedded_model import phrases

if TYPE_CHECKING:
    from tokenizers import Tokenizer

VOCABULARY = 2144
TURN_BASE, STEPS = 5, 6  # turns are numbered with two digits of this base

SEPARATORS = ["then", "finally"]  # between the orders of one text
# With its full stop such a word is one token: a bare path before it ends there.
SENTENCE_ENDS = [f". {word.capitalize()}" for word in SEPARATORS]
TURN_MARKERS = [f"<|turn{n}|>" for n in range(TURN_BASE**2)]
STEP_MARKERS = [f"<|step{n}|>" for n in range(STEPS + 1)]  # the last one: six calls or more
SPECIAL = ["<|endoftext|>", "<|begin|>", "<|im_start|>", "<|im_end|>", "<|ask|>", "<|no_tools|>"]
MARKUP = [
    "<tool_call>",
    "</tool_call>",
    "<tool_response>",
    "</tool_response>",
    "<system-reminder>",
    "</system-reminder>",
]

CALL = '\n{"name": "'
CLOSE = '"'
END = "}}\n"
ESCAPES = {'"': '\\"', "\\": "\\\\"}

# Tool -> the tokens that open its arguments, in order: the tool's name rides on the first.
ARGUMENTS: dict[str, list[str]] = {
    "Bash": ["command"],
    "Read": ["file_path"],
    "Edit": ["file_path", "old_string", "new_string"],
    "Write": ["file_path", "content"],
    "Grep": ["pattern", "path"],
    "Glob": ["pattern"],
    "ToolSearch": ["query"],
    "WebFetch": ["url", "prompt"],
}
SELECT = "select:"
SELECT_END = ', "max_results": 5' + END


def opening(tool: str, index: int) -> str:
    """The token that opens argument `index` of `tool`, up to and with the value's quote."""
    key = f'"{ARGUMENTS[tool][index]}": "'
    if index:
        return f", {key}"
    return f'{tool}", "arguments": {{{key}' + (SELECT if tool == "ToolSearch" else "")


OPENINGS = {tool: [opening(tool, i) for i in range(len(keys))] for tool, keys in ARGUMENTS.items()}
KEYS = [token for tokens in OPENINGS.values() for token in tokens]
PATHS = [OPENINGS["Read"][0], OPENINGS["Edit"][0], OPENINGS["Write"][0], OPENINGS["Grep"][1]]
SCHEMA = [
    '{"type": "function", "function": {"name": "',
    '", "description": "',
    '", "parameters": {"type": "object", "properties": {"',
    '": {"type": "string", "description": "',
    '": {"type": "',
    '", "enum": ["',
    '"}, "',
    '}, "required": ["',
    ', "additionalProperties": false',
]  # JSON Schema's own spelling, as a tools list repeats it

# Quotes stand alone, a space before CamelCase stands alone, punctuation merges only with its like: a span reads the same
# in a sentence and inside a JSON string. Doubled signs are one token: the copying heads know tokens by the two before them.
DOUBLES = ["&&", "||", "**", "==", "//", "..", "##", "<<", ">>", "--", "::", "__", "{{", "}}", "((", "))"]
SPLIT = (
    r'[ ](?=\p{Lu}\p{Ll}+\p{Lu})|"| ?\p{L}+| ?\p{N}{1,2}| ?(?:'
    + "|".join(re.escape(double) for double in DOUBLES)
    + r')| ?[^\s\p{L}\p{N}"]|\s+(?=[ ]\S)|\s+'
)


# What always follows what: the fixed parts of a call, and of the two things that the model says.
_SAID = [phrases.DONE_PARTS, phrases.GREETING_PARTS]
FOLLOWS = {"<tool_call>": CALL, END: "</tool_call>", SELECT_END: "</tool_call>", "</tool_call>": "<|im_end|>"}
FOLLOWS |= {part: after for parts in _SAID for part, after in itertools.pairwise([*parts, "<|im_end|>"])}


def after_values() -> dict[str, str]:
    """What follows a value's closing quote, by the token that opened the value."""
    pairs = itertools.chain(*(itertools.pairwise([*tokens, END]) for tokens in OPENINGS.values()))
    return dict(pairs) | {OPENINGS["ToolSearch"][0]: SELECT_END}


def scaffolding() -> list[str]:
    return list(dict.fromkeys([*MARKUP, CALL, END, SELECT_END, *KEYS, *ESCAPES.values(), *itertools.chain(*_SAID)]))


def _docstrings() -> Iterator[str]:
    for path in sorted(pathlib.Path(sysconfig.get_paths()["stdlib"]).glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef):
                yield ast.get_docstring(node) or ""
    pairs = [*DOUBLES, *(f" {double}" for double in DOUBLES), *(2 * letter for letter in string.ascii_lowercase)]
    pairs += [f"{n:02d}" for n in range(100)]
    said = re.findall(
        "[A-Za-z]+", " ".join([*SEPARATORS, *(frame for frames in phrases.FRAMES.values() for frame in frames)])
    )
    pairs += [
        form for word in sorted(set(said)) for form in (word, f" {word}", f" {word.capitalize()}", word.capitalize())
    ]
    yield from ("\n".join(pairs) for _ in range(3000))


def learn() -> Tokenizer:
    """A fresh tokenizer. Depends on the Python release whose docstrings it reads, so the result is committed."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    special = [*SPECIAL, *TURN_MARKERS, *STEP_MARKERS]
    plain = [*scaffolding(), *SENTENCE_ENDS, *SCHEMA]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - len(special) - len(plain), initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(_docstrings(), trainer)
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    tokenizer.add_tokens([AddedToken(token, special=False, normalized=False) for token in plain])
    return tokenizer


def save(tokenizer: Tokenizer, folder: pathlib.Path) -> None:
    """Write tokenizer.json and tokenizer_config.json (with the chat template) into `folder`."""
    tokenizer.save(str(folder / "tokenizer.json"))
    template = (pathlib.Path(__file__).parent / "chat_template.jinja").read_text(encoding="utf-8")
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
        "clean_up_tokenization_spaces": False,
        "model_max_length": 65536,
        "tool_parser_type": "json_tools",
        "chat_template": template,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
