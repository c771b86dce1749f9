"""Seeded conversations in the shape that Claude Code gives them: long junk, reminders, system texts behind the user's own."""

from __future__ import annotations

import random
import string
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks.embedded_model import phrases, vocabulary

Json = dict[str, Any]


@dataclass(frozen=True)
class Language:
    """The words and frames a conversation is drawn from."""

    frames: dict[str, list[str]]
    openers: list[str]
    closers: list[str]
    joints: list[str]
    remarks: list[str]
    words: list[str]
    extensions: list[str]
    programs: list[str]
    deferred: list[str]
    fillers: list[str]


TRAINING = Language(phrases.FRAMES, phrases.OPENERS, phrases.CLOSERS, phrases.JOINTS, phrases.REMARKS, phrases.WORDS, phrases.EXTENSIONS,
                    phrases.PROGRAMS, phrases.DEFERRED, phrases.FILLERS)  # fmt: skip
HELD_OUT = Language(phrases.HELD_OUT_FRAMES, phrases.HELD_OUT_OPENERS, phrases.HELD_OUT_CLOSERS, phrases.HELD_OUT_JOINTS, phrases.HELD_OUT_REMARKS,
                    phrases.HELD_OUT_WORDS, phrases.HELD_OUT_EXTENSIONS, phrases.HELD_OUT_PROGRAMS,
                    phrases.HELD_OUT_DEFERRED, [])  # fmt: skip


@dataclass(frozen=True)
class Call:
    tool: str
    arguments: Json


class Speaker:
    """Draws spans, orders and junk from one language."""

    def __init__(self, language: Language, rng: random.Random) -> None:
        self.language = language
        self.rng = rng

    def word(self) -> str:
        if self.rng.random() < 0.6:
            return self.rng.choice(self.language.words)
        return "".join(self.rng.choice(string.ascii_lowercase) for _ in range(self.rng.randint(2, 8)))

    def segment(self) -> str:
        text = self.word()
        if self.rng.random() < 0.3:
            text += self.rng.choice("_-.") + self.word()
        if self.rng.random() < 0.2:
            text += str(self.rng.randint(0, 999))
        return text.capitalize() if self.rng.random() < 0.1 else text

    def folder(self) -> str:
        return "/" + "/".join(self.segment() for _ in range(self.rng.randint(1, 5)))

    def file(self) -> str:
        return f"{self.folder()}.{self.rng.choice(self.language.extensions)}"

    def command(self) -> str:
        program = self.rng.choice(self.language.programs)
        shapes: list[Callable[[], str]] = [
            lambda: program,
            lambda: f"{program} {self.folder()}",
            lambda: f"{program} {self.file()}",
            lambda: f"{program} {self.word()} {self.word()}",
            lambda: f"{program} {self.file()} | {self.rng.choice(self.language.programs)}",
            lambda: f'{program} "{self.word()} {self.word()}" {self.file()}',
            lambda: f"cd {self.folder()} && {program} {self.word()}",
            lambda: f"{program} '{self.word()}' > {self.file()}",
            lambda: f"if {program} {self.file()}; then {self.word()}; fi",
        ]
        return self.rng.choice(shapes)()

    def snippet(self) -> str:
        shapes: list[Callable[[], str]] = [
            lambda: " ".join(self.word() for _ in range(self.rng.randint(1, 5))),
            lambda: f"{self.word()} = {self.rng.randint(0, 9999)}",
            lambda: f"return {self.word()}",
            lambda: f"def {self.segment()}({self.word()}, {self.word()}):",
            lambda: f'print("{self.word()} {self.word()}")',
            lambda: f"{self.word()}.{self.word()}({self.rng.randint(0, 99)})",
            lambda: f"{self.word()}: {self.word()}",
            lambda: f"# {self.word()} {self.word()}",
            self.folder,
            lambda: f"{self.word()}({self.word()}[{self.rng.randint(0, 9)}]) {{ {self.word()}; }}",
        ]
        return self.rng.choice(shapes)()

    def similar(self, text: str) -> str:
        """`text` with one word changed: the usual edit, and the one in which a copy most easily slips."""
        parts = text.split(" ")
        place = self.rng.randrange(len(parts))
        parts[place] = (
            self.word() if self.rng.random() < 0.5 else parts[place] + self.rng.choice("_2x)]:;") + self.word()
        )
        return " ".join(parts)

    def order(self, tool: str | None = None) -> tuple[str, Call]:
        """One instruction and the call that carries it out."""
        tool = tool or self.rng.choice(
            ["Edit", "Edit", "Bash", "Read", "Write", "Grep", "Glob", "ToolSearch", "WebFetch"]
        )
        old = self.snippet()
        new = self.similar(old) if self.rng.random() < 0.5 else self.snippet()
        spans = {
            "path": self.folder() if tool == "Grep" else self.file(),
            "command": self.command(),
            "old": old,
            "new": new if new != old else new + "s",
            "content": self.snippet(),
            "pattern": self.word(),
            "glob": self.rng.choice(["**/*.", "src/**/*.", "*.", f"{self.word()}/*."])
            + self.rng.choice(self.language.extensions),
            "name": self.rng.choice(self.language.deferred),
            "url": f"http://{self.word()}.{self.word()}{self.folder()}",
            "prompt": " ".join(self.word() for _ in range(self.rng.randint(2, 6))),
        }
        bare = {"path", "name"} if self.rng.random() < 0.5 else set()
        shown = {slot: text if slot in bare else f"`{text}`" for slot, text in spans.items()}
        slots = {
            "file_path": "path",
            "old_string": "old",
            "new_string": "new",
            "query": "name",
            "pattern": "glob" if tool == "Glob" else "pattern",
        }
        arguments: Json = {key: spans[slots.get(key, key)] for key in vocabulary.ARGUMENTS[tool]}
        if tool == "ToolSearch":
            arguments = {"query": vocabulary.SELECT + spans["name"], "max_results": 5}
        frame = self.filled(self.rng.choice(self.language.frames[tool]))
        return frame.format(**shown), Call(tool, arguments)

    def filled(self, frame: str) -> str:
        """Words that mean nothing here, strewn into the frame: what is learnt must not lean on them."""
        parts = frame.split(" ")
        if self.language.fillers and self.rng.random() < 0.7:
            for _ in range(self.rng.randint(1, 5)):
                word = self.rng.choice(self.language.fillers) if self.rng.random() < 0.8 else self.word()
                parts.insert(self.rng.randint(0, len(parts)), word)
        return " ".join(parts)

    def orders(self, count: int, tool: str | None = None) -> tuple[str, list[Call]]:
        """One user text of `count` instructions, one after the other; `tool` is the first one's."""
        text, calls = "", []
        for n in range(count):
            order, call = self.order(None if n else tool)
            joint = self.rng.choice(self.language.joints) if n else self.rng.choice(self.language.openers)
            if n and text.endswith("?"):
                joint = " Then "
            text += joint + order
            calls.append(call)
        closer = self.rng.choice(self.language.closers)
        text += closer if not text.endswith("?") else ""
        return (text[0].upper() + text[1:] if self.rng.random() < 0.7 else text), calls

    def junk(self, characters: int) -> str:
        """Prose, code and markup without meaning, full of the things that must not distract: backticks, quotes, orders."""
        parts: list[str] = []
        size = 0
        while size < characters:
            shapes: list[Callable[[], str]] = [
                lambda: " ".join(self.word() for _ in range(self.rng.randint(3, 14))).capitalize() + ".",
                lambda: f"- `{self.segment()}`: {self.order()[0]}.",
                lambda: f'"{self.word()}": "{self.word()}", "file_path": "{self.file()}"',
                lambda: f"# {self.word().capitalize()}",
                self.snippet,
                lambda: f"Use `{self.command()}` then {self.word()} `{self.snippet()}`.",
            ]
            parts.append(self.rng.choice(shapes)())
            size += len(parts[-1]) + 1
        return "\n".join(parts)[:characters]

    def reminder(self) -> str:
        return f"<system-reminder>\n{self.junk(self.rng.randint(0, 90))}\n</system-reminder>\n"

    def result(self, call: Call) -> str:
        """A tool result in the client's manner."""
        lines = [self.snippet() for _ in range(self.rng.randint(1, 5))]
        mark = self.rng.choice(["\t", "\u2192"])
        numbered = "\n".join(f"{n + 1:>{1 if mark == chr(9) else 6}}{mark}{line}" for n, line in enumerate(lines))
        path = call.arguments.get("file_path", "")
        results = {
            "Read": numbered,
            "Bash": self.rng.choice(["\n".join(lines), "", f"Exit code 1\n{self.word()}: not found"]),
            "Edit": self.rng.choice([f"{path} was changed.", f"{path} was changed, here it is:\n{numbered}"]),
            "Write": f"{path} was made.",
            "Grep": f"{self.rng.randint(1, 9)} files\n{self.file()}",
            "Glob": "\n".join(self.file() for _ in range(self.rng.randint(0, 3))),
            "ToolSearch": "loaded",
            "WebFetch": self.junk(80),
        }
        text = results[call.tool]
        return f"{text}\n\n{self.reminder()}" if self.rng.random() < 0.2 else text

    def tools(self, count: int, size: int) -> list[Json]:
        """The eight known tools, shuffled among `count` unknown ones, with descriptions of about `size` characters."""
        known = dict(vocabulary.ARGUMENTS)
        other = {
            self.word().capitalize() + self.word().capitalize(): [self.word() for _ in range(self.rng.randint(1, 6))]
            for _ in range(count)
        }
        listed = [*known.items(), *other.items()]
        self.rng.shuffle(listed)
        return [self._tool(name, keys, size) for name, keys in listed]

    def _tool(self, name: str, keys: list[str], size: int) -> Json:
        properties = {key: {"type": "string", "description": self.junk(size // 8)} for key in keys}
        parameters = {"type": "object", "properties": properties, "required": keys[:1], "additionalProperties": False}
        return {
            "type": "function",
            "function": {"name": name, "description": self.junk(size), "parameters": parameters},
        }


def call_message(call: Call) -> Json:
    return {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"function": {"name": call.tool, "arguments": call.arguments}}],
    }


def asked(speaker: Speaker, text: str, behind: int) -> list[Json]:
    """The user's text as the client sends it: reminders around it, `behind` characters of system text after it."""
    rng = speaker.rng
    before = speaker.reminder() if rng.random() < 0.3 else ""
    after = "\n" + speaker.reminder() if rng.random() < 0.1 else ""
    messages: list[Json] = [{"role": "user", "content": before + text + after}]
    if behind:
        messages.append({"role": "system", "content": speaker.junk(behind)})
    return messages


def training_conversation(speaker: Speaker) -> tuple[list[Json], list[Json] | None]:
    """Messages and tools; every assistant message is a target. Short: length is the wiring's business, not training's."""
    rng = speaker.rng
    messages: list[Json] = [{"role": "system", "content": speaker.junk(rng.choice([0, 0, 40]))}]
    tools: list[Json] | None = [{}] if rng.random() < 0.9 else None
    for _ in range(rng.choice([1, 1, 1, 1, 2])):
        behind = rng.choice([0, 0, 0, 60])
        if rng.random() < 0.12 or tools is None:
            remark = rng.choice(speaker.language.remarks)
            if rng.random() < 0.5:
                words = [*speaker.language.fillers, speaker.word()]
                remark = " ".join(rng.choice(words) for _ in range(rng.randint(1, 12)))
            if tools is None and rng.random() < 0.5:
                remark = speaker.orders(1)[0]
            messages += asked(speaker, remark.capitalize() if rng.random() < 0.5 else remark, behind)
            messages.append({"role": "assistant", "content": phrases.GREETING})
            continue
        text, calls = speaker.orders(rng.choice([1, 1, 1, 2, 2, 3, 3]))
        messages += asked(speaker, text, behind)
        for call in calls:
            result = speaker.result(call) if rng.random() < 0.2 else speaker.word()
            messages += [call_message(call), {"role": "tool", "content": result}]
        messages.append({"role": "assistant", "content": phrases.DONE})
    return messages, tools
