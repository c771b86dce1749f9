"""What Claude Code's prompts consist of, as data: which kinds of text there are, and from which tier each goes.

An anchor is a heading or a few words (eight at most) by which a kind of text is known in every release measured
(1.0.60 to 2.1.330). A text without an anchor is not the client's as far as we know, and stays: a release nobody has
seen loses less, never the wrong thing. A new section of the client is one row or one anchor here.
"""

from __future__ import annotations

from dataclasses import dataclass

TIERS: tuple[str, ...] = ("off", "minimal", "moderate", "aggressive", "extreme")
OFF, MINIMAL, MODERATE, AGGRESSIVE, EXTREME = range(len(TIERS))
BUDGETS_TOKENS = {"minimal": 12_000, "moderate": 8_000, "aggressive": 4_000, "extreme": 2_000}

ONLY_FOR_BUDGET = len(TIERS)  # goes after everything else, and only where a budget cannot be met without
NEVER = ONLY_FOR_BUDGET + 1


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of text: the first tier it goes at, headings of its sections, and words that only it has."""

    name: str
    goes: int
    headings: tuple[str, ...] = ()
    signs: tuple[str, ...] = ()


IDENTITY = Kind("identity", NEVER, signs=("you are claude code, anthropic's", "you are a claude agent, built on"))
# A protecting sign wins over everything else in the same paragraph or list item.
PROTECTED: tuple[Kind, ...] = (
    IDENTITY,
    Kind(
        "safety",
        NEVER,
        headings=("executing actions with care",),
        signs=(
            "security testing",
            "defensive security",
            "security vulnerabilities",
            "security best practices",
            "malicious",
            "prompt injection",
            "generate or guess urls",
            "untrusted",
            "secrets",
            "credential",
            "hard to reverse",
            "hard-to-reverse",
            "destructive",
            "<pasted_content>",
            "about the user and their project as private",
            "consent or approval",
            "strictly prohibited",
            "read-only mode",
            "read-only operations",
            "never use bash for",
            "can only explore",
            "modify the user's system state",
            "never commit changes",
            "--form-string",
            "recreation of a specific existing game",
        ),
    ),
    Kind(
        "environment",
        NEVER,
        headings=("environment", "currentdate", "scratchpad directory"),
        signs=(
            "working directory:",
            "working directories:",
            "platform:",
            "os version:",
            "is a git repository",
            "is directory a git repo",
            "today's date",
            "current date",
            "following environment",
            "the environment you are running in",
            "current branch:",
            "<total_tokens>",
        ),
    ),
    Kind("memory", NEVER, headings=("memory.md",), signs=("file-based memory", "memory.md is currently")),
    Kind(
        "output format",
        NEVER,
        headings=("required output", "critical files for implementation"),
        signs=(
            "end your response with",
            "in your final response",
            "your final report directly",
            "file paths as absolute paths",
            "findings directly as your final",
            "format your response",
        ),
    ),
)

# What is below these headings was written by the user, by a plugin or by a server, whatever words it uses.
SESSION_HEADINGS: tuple[str, ...] = ("output style:", "language", "mcp server instructions", "claudemd", "gitstatus")
# From here to the end of the system text stands what belongs to the session.
SESSION_FROM_HERE: tuple[str, ...] = (
    "gitstatus:",
    "contents of /",
    "instructions, checked into the codebase",
    "codebase and user instructions are shown",
)

OPENING = Kind(
    "opening",
    EXTREME,
    signs=(
        "you are an interactive cli tool that helps",
        "you are an interactive agent that helps users",
        "you are an agent working with the user",
    ),
)

GENERIC: tuple[Kind, ...] = (
    Kind(
        "product information",
        MINIMAL,
        signs=(
            "/help: get help with using claude code",
            "give feedback, users should report the issue at",
            "wants to give feedback inform them of the",
            "when the user directly asks about claude code",
            "when the user directly asks about any of",
            "get accurate information from the official claude code",
            "the available sub-pages are",
            "example: https://docs.anthropic.com/en/docs/claude-code",
            "the most recent claude model",
            "most recent frontier claude model is",
            "is available as a cli in the terminal",
            "fast mode for claude code",
        ),
    ),
    Kind(
        "examples",
        MINIMAL,
        signs=(
            "marking the first todo as in_progress",
            "to track their usage metrics and export them",
            "all the tasks, including the 10 error fixes",
            "find the files that handle client errors",
            "what is the codebase structure?",
            "in the `connecttoserver` function in",
        ),
    ),
    Kind(
        "small manners",
        MINIMAL,
        ("no time estimates", "planning without timelines"),
        ("never give time estimates or predictions", "implementation steps without time estimates"),
    ),
    Kind(
        "small manners",
        MINIMAL,
        signs=(
            "only use emojis if the user explicitly requests",
            "user the assistant must avoid using emojis",
            "for clear communication, avoid using emojis",
            "avoid giving time estimates or predictions for how",
            "rapidly finding files using glob patterns",
            "searching code and text with powerful regex",
            "reading and analyzing file contents",
            "searching for code, configurations, and patterns across",
            "analyzing multiple files to understand system architecture",
            "complex questions that require exploring many files",
            "performing multi-step research tasks",
        ),
    ),
    Kind("manners", MODERATE, ("professional objectivity",), ("validating the user's beliefs",)),
    Kind("manners", MODERATE, ("proactiveness",), ("allowed to be proactive",)),
    Kind(
        "manners",
        MODERATE,
        ("text output (does not apply to tool calls)",),
        ("users can't see most tool calls", "end-of-turn summary", "never write multi-paragraph docstrings"),
    ),
    Kind(
        "manners",
        MODERATE,
        signs=(
            "you use a pronoun for someone",
            "do not use a colon before tool calls",
            "meant to be a fast agent that returns",
            "avoid unnecessary or excessive self-correction",
            "a follow-up question about your earlier work is",
        ),
    ),
    Kind(
        "task lists", MODERATE, ("task management",), ("todowrite tools to help you manage", "mark todos as completed")
    ),
    Kind("task lists", MODERATE, signs=("always use the todowrite tool to plan",)),
    Kind("context management", MODERATE, ("context management",), ("of the current context is summarized",)),
    Kind(
        "context management",
        MODERATE,
        signs=("when working with tool results, write down any", "when you have enough information to act, act"),
    ),
    Kind("model identity", MODERATE, signs=("you are powered by the model", "assistant knowledge cutoff is")),
    Kind("memory examples", MODERATE, ("types of memory",), ("<when_to_save>", "types of memory that you can store")),
    Kind(
        "memory examples",
        MODERATE,
        ("memory and other forms of persistence",),
        ("one of several persistence mechanisms",),
    ),
    Kind(
        "memory guide",
        AGGRESSIVE,
        ("memory", "auto memory"),
        (
            "link to related memories",
            "one-line pointer in `memory.md`",
            "build up this memory system",
            "convert relative dates to absolute",
            "explicitly asks you to remember",
            "saving a memory is a two-step process",
            "when memories seem relevant",
            "existing file that already covers it",
        ),
    ),
    Kind(
        "ways of working",
        AGGRESSIVE,
        ("doing tasks", "asking questions as you work"),
        (
            "the user will primarily request you",
            "avoid backwards-compatibility hacks",
            "to ask the user questions when",
        ),
    ),
    Kind(
        "tone",
        AGGRESSIVE,
        ("tone and style",),
        (
            "you should be concise, direct",
            "will be displayed on a command line interface",
            "your responses should be short and concise",
        ),
    ),
    Kind(
        "guidelines of an agent",
        AGGRESSIVE,
        signs=(
            "use glob for broad file pattern matching",
            "via bash for broad file pattern matching",
            "for searching file contents with regex",
            "when you know the specific file path you",
            "for file operations like copying, moving, or",
            "based on the thoroughness level specified by",
            "use grep or glob when you need to",
            "search broadly when you don't know where something",
            "start broad and narrow down. use multiple",
            "check multiple locations, consider different naming conventions",
            "never proactively create documentation files (*.md) or",
            "do not re-delegate your entire assignment to",
            "agent threads always have their cwd reset between",
        ),
    ),
    Kind(
        "tool policy in detail",
        AGGRESSIVE,
        ("tool usage policy", "using your tools"),
        (
            "redirect to a different host",
            'run tools "in parallel"',
            "is not a needle query for",
            "break down and manage your work with",
            "proactively use the task tool with specialized",
        ),
    ),
    OPENING,
    Kind(
        "harness",
        EXTREME,
        ("harness", "system"),
        (
            "text you output outside of tool use",
            "user-selected permission mode",
            "bear no direct relation to the specific tool",
            "automatically compress prior messages",
        ),
    ),
    Kind("harness", EXTREME, signs=("users may configure 'hooks', shell commands that execute",)),
    Kind(
        "tool policy",
        EXTREME,
        ("tool usage policy", "using your tools"),
        (
            "make all independent tool calls in parallel",
            "batch your tool calls together",
            "prefer to use the task tool in order",
        ),
    ),
    Kind(
        "session guidance",
        EXTREME,
        ("session-specific guidance",),
        ("skills listed in", "run a shell command themselves", "with subagent_type"),
    ),
    Kind("conventions", EXTREME, ("following conventions",), ("mimic code style",)),
    Kind("conventions", EXTREME, ("code style",), ("do not add ***any*** comments",)),
    Kind("conventions", EXTREME, ("code references",), ("`file_path:line_number` to allow the user to",)),
    Kind("conventions", EXTREME, signs=("write code that reads like the surrounding code",)),
    Kind(
        "process of an agent",
        EXTREME,
        ("your process",),
        ("**understand requirements**", "**detail the plan**"),
    ),
    Kind(
        "process of an agent",
        EXTREME,
        signs=(
            "complete the user's search request efficiently and report",
            "set of requirements and optionally a perspective on",
            "never create files unless they're absolutely necessary for",
        ),
    ),
)

# Whose prompt it is, by words that only its opening has.
FAMILIES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("compaction", ("tasked with summarizing conversations",)),
    (
        "helper",
        (
            "indicates a new conversation topic",
            "process bash commands that an ai",
            "extract any file paths that this command",
            "an expert at analyzing git history",
            "sentence-case title",
            "title that captures",
            "summarize this coding conversation in",
        ),
    ),
    ("explore", ("a file search specialist for",)),
    ("plan", ("software architect and planning specialist",)),
    ("general", ("you are an agent for claude code",)),
    (OPENING.name, OPENING.signs),
)
# Sections that only the long main prompt has.
FULL_HEADINGS: tuple[str, ...] = ("doing tasks", "tool usage policy", "using your tools", "tone and style")
# Lines that lead to a list of agents or skills in a system message.
LISTS: tuple[str, ...] = (
    "available agent types",
    "agent types are now available",
    "skills are available",
    "skills are now available",
)
