"""The words of the bundled sessions: our own prompts and tool descriptions, under the names that clients use."""

from __future__ import annotations

from anyclaude_lab.wire.events import JsonObject

SYSTEM = """You repair and extend small programs for the person at the keyboard. You see their project through tools alone, so look before you claim anything about it.

# Tone and style
Write plainly and briefly. One or two sentences are enough for most answers; a list only where there really are several things to tell. No praise, no apologies, no emoji.
Name files by their full path, so that the person can open them. Quote an error message as it stands instead of describing it.

# Doing tasks
Find out how the project does things before you add to it: read the file you are about to change, and one of its neighbours.
Change as little as the task needs. Leave formatting, names and comments of others alone unless the task is about them.
After a change run the tests that cover it. If there are none, say so instead of inventing a result.
IMPORTANT: Never delete or overwrite what you have not read.

# Tool usage policy
When making function calls, give every required parameter as valid JSON, and nothing that the schema does not name.
Independent calls belong into one answer, so that they run side by side; a call that needs the result of another one waits for it.
Prefer the file tools to shell commands for reading and editing. Paths are absolute.

# Task management
For work of more than three steps, keep a short list of what is left, and cross off what is done as soon as it is done.

# Git workflow
Look at the status and the difference before a commit. Write the message in the imperative, one line, and why rather than what. Never push unless asked to.

# Asking questions
Ask only where two readings of the task lead to different work. Offer the readings as choices.

# Examples
<example>
person: which port does the service listen on?
you: 8473, set in /srv/mill/settings.py.
</example>
<example>
person: is there a test for parse_date?
you: Two, in /srv/mill/tests/test_dates.py: one for the usual form and one for an empty text.
</example>
"""  # noqa: E501 - a prompt is one text, line ends are part of it

PLACE = "# Environment\nWorking folder: {folder}\nOperating system: linux\nToday: {today}\n"
SCOUT = """You search a project for the one who sent you and report what you found, nothing else. You may read and search but change nothing.
# Report
Give paths with line numbers, and quote at most three lines of each place. If there is nothing to be found, say where you looked."""  # noqa: E501 - a prompt is one text, line ends are part of it
TITLE = "Give a title of at most five words to the conversation that follows. Answer with the title alone."


def tool(name: str, about: str, required: tuple[str, ...] | None = None, /, **properties: object) -> JsonObject:
    """A definition; a property is a description (then it is a string) or a schema."""
    schemas = {
        key: {"type": "string", "description": said} if isinstance(said, str) else said
        for key, said in properties.items()
    }
    return {
        "name": name,
        "description": about,
        "input_schema": {
            "type": "object",
            "properties": schemas,
            "required": list(properties if required is None else required),
            "additionalProperties": False,
        },
    }


READ = tool(
    "Read",
    """Gives the text of one file, every line with its number in front.

Use it before every change, and whenever the person names a file. Pictures and PDF files are shown as what they are.
- Long files come in parts: ask for the next one with offset and limit, counted in lines from 1.
- A file that is empty answers with a remark to that effect, not with an error.
- Reading several files at once is fine and saves time: put the calls into one answer.""",
    ("file_path",),
    file_path="The absolute path of the file.",
    offset={"type": "integer", "description": "The first line wanted; leave it out for the beginning."},
    limit={"type": "integer", "description": "How many lines are wanted; leave it out for all of them."},
)
EDIT = tool(
    "Edit",
    """Replaces one passage of a file by another.

The passage has to stand in the file exactly as given, white space included, and only once; give more of its surroundings if it stands there twice, or set replace_all to change every occurrence, for instance to rename something.
- Take the passage from what Read showed, without the line numbers in front.
- A file that was not read in this conversation is refused.""",  # noqa: E501 - a prompt is one text, line ends are part of it
    ("file_path", "old_string", "new_string"),
    file_path="The absolute path of the file.",
    old_string="The passage as it stands in the file.",
    new_string="What takes its place; empty to remove the passage.",
    replace_all={
        "type": "boolean",
        "default": False,
        "description": "Change every occurrence instead of the only one.",
    },
)
WRITE = tool(
    "Write",
    """Writes a whole file, new or in place of an old one.

Prefer Edit for files that exist. A file that exists has to be read first. Do not write notes, summaries or documentation that nobody asked for.""",  # noqa: E501 - a prompt is one text, line ends are part of it
    file_path="The absolute path of the file.",
    content="Everything the file is to hold.",
)
BASH = tool(
    "Bash",
    """Runs one command line in a shell that stays open, and gives what it printed and its exit code.

- Quote paths with spaces. Join commands that need each other with &&.
- Commands that wait for input hang until their time is up: pass flags that make them go on by themselves.
- Output beyond 30,000 characters is cut in the middle.
- Not for reading, searching or editing files: there are tools for these, which show the person what happens.
- For a commit look at the status first, add files by name, and pass the message with -m.""",
    ("command",),
    command="The command line.",
    timeout={
        "type": "integer",
        "minimum": 1,
        "maximum": 600000,
        "description": "How long it may take, in milliseconds.",
    },
    description="What it does, in five to ten words, for the person.",
)
GREP = tool(
    "Grep",
    """Searches the text of files for a regular expression and lists the places.

Fast in large projects, and leaves out what version control ignores. Narrow the search with a folder or a pattern of names. With output_mode "content" the lines are shown, with "files" only the paths.""",  # noqa: E501 - a prompt is one text, line ends are part of it
    ("pattern",),
    pattern="The regular expression.",
    path="The folder or file to search; the working folder if left out.",
    glob="Only files whose names fit this pattern, such as *.py.",
    output_mode={"type": "string", "enum": ["content", "files", "count"], "description": "What to show."},
)
GLOB = tool(
    "Glob",
    "Lists the files whose paths fit a pattern such as src/**/*.py, the one changed last first. For looking around.",
    ("pattern",),
    pattern="The pattern.",
    path="The folder to start from.",
)
AGENT = tool(
    "Agent",
    """Sends a helper with a task of its own and gives back its report.

The helper starts without this conversation: tell it everything it needs, and say what its report has to hold. Several helpers can be sent at once, one call each. Its report is for you; tell the person what matters in it.""",  # noqa: E501 - a prompt is one text, line ends are part of it
    description="Three to five words about the task.",
    prompt="The task, complete in itself.",
    subagent_type={"type": "string", "enum": ["scout", "general"], "description": "Which kind of helper."},
)
TOOL_SEARCH = tool(
    "ToolSearch",
    """Finds tools that are not loaded yet and loads them. Known by name only, they cannot be called before.

Ask with words that say what is to be done, or with select: and names divided by commas.""",
    ("query",),
    query="Words, or select: and names.",
    max_results={"type": "integer", "description": "How many at most; 5 if left out."},
)
TASKS = tool(
    "TodoWrite",
    "Keeps the list of what is left to do where the person sees it. Give the whole list every time, one entry in work.",
    todos={
        "type": "array",
        "description": "The whole list.",
        "items": {
            "type": "object",
            "properties": {
                "content": {"type": "string", "description": "What is to be done."},
                "status": {"type": "string", "enum": ["pending", "in_progress", "completed"]},
            },
            "required": ["content", "status"],
        },
    },
)
FETCH = tool(
    "WebFetch",
    "Fetches a page and answers a question about it from what it says. Pages behind a login cannot be read.",
    url={"type": "string", "format": "uri", "description": "The address of the page."},
    prompt="The question.",
)
BASICS = [AGENT, BASH, EDIT, GLOB, GREP, READ, TASKS, FETCH, WRITE]
SEARCHERS = [GLOB, GREP, READ]
TICKETS = [
    tool(
        f"mcp__tickets__{name}",
        f"{does} Answers with JSON; dates are in UTC, people are named by their handle, and a page has 50 entries.",
        ("project",),
        project="The key of the project, such as MILL.",
        text="Words to look for, or the text to write.",
        number={"type": "integer", "description": "The number of a ticket."},
    )
    for name, does in {
        "find": "Finds tickets by their words and state.",
        "show": "Shows one ticket with its history and everything said about it.",
        "comment": "Adds a remark to a ticket in the name of the person.",
        "close": "Closes a ticket, with a reason that all watchers are sent.",
        "people": "Lists who works on a project and who watches which tickets.",
    }.items()
]
