"""What a model must be told of Claude Code's own tools, in our words: today's names and those of earlier releases.

One line for a tool, at most twelve tokens (Qwen's), and a few words for a parameter whose name and type do not say it
all; "" says that they do. A parameter that is not listed keeps a shortened text of its own. The names of the parameters
also tell the tool itself from another client's tool of the same name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ToolText:
    """`line` for the tool, `parameters` by name at whatever depth; with `lists` the names its text enumerates stay.

    Without any parameter the row stands for every tool of that name.
    """

    line: str
    parameters: Mapping[str, str] = field(default_factory=dict, hash=False)
    lists: bool = False


def _named(names: str, **texts: str) -> dict[str, str]:
    """Parameters that speak for themselves, then those that need a word."""
    return dict.fromkeys(names.split(), "") | texts


_SHELL = _named("command timeout description run_in_background dangerouslyDisableSandbox", timeout="ms")
_SUBAGENT = ToolText(
    "Hands a task to a subagent, which reports back.",
    _named("description prompt subagent_type model resume run_in_background isolation effort", description="3-5 words"),
    lists=True,
)
_KILL_SHELL = ToolText("Ends a background shell.", _named("shell_id"))

TEXTS: dict[str, ToolText] = {
    # files
    "Read": ToolText(
        "Reads a file, image, PDF or notebook.",
        _named("file_path offset limit pages allow_large", file_path="absolute", offset="first line", pages="of a PDF"),
    ),
    "Write": ToolText("Writes a whole file; Read an existing one first.", _named("file_path content")),
    "Edit": ToolText(
        "Replaces exact, unique text in a file after Read.",
        _named("file_path old_string new_string replace_all"),
    ),
    "MultiEdit": ToolText(
        "Replaces several exact texts in a file after Read.",
        _named("file_path edits old_string new_string replace_all"),
    ),
    "NotebookRead": ToolText("Reads a Jupyter notebook with its outputs.", _named("notebook_path cell_id")),
    "NotebookEdit": ToolText(
        "Replaces, inserts or deletes a cell of a notebook.",
        _named("notebook_path cell_id cell_number new_source cell_type edit_mode", cell_id="insert goes behind it"),
    ),
    "LS": ToolText("Lists a directory.", _named("path ignore")),
    "Glob": ToolText("Finds files by glob pattern, newest first.", _named("pattern path")),
    "Grep": ToolText(
        "Searches file contents with ripgrep.",
        _named(
            "pattern path glob output_mode -A -B -C -n -i type head_limit multiline offset context", pattern="regex"
        ),
    ),
    "LSP": ToolText(
        "Asks a language server about code.",
        _named("operation filePath line character query", line="from 1", character="from 1"),
    ),
    # shells
    "Bash": ToolText("Runs a shell command; the directory persists.", _SHELL),
    "PowerShell": ToolText("Runs a PowerShell command.", _SHELL),
    "BashOutput": ToolText("Reads new output of a background shell.", _named("bash_id filter", filter="regex")),
    "KillBash": _KILL_SHELL,
    "KillShell": _KILL_SHELL,
    "Monitor": ToolText(
        "Watches a command; each printed line is an event.",
        _named("command description timeout_ms persistent ws url protocols"),
    ),
    # subagents and their messages
    "Task": _SUBAGENT,
    "Agent": _SUBAGENT,
    "AgentOutputTool": ToolText("Reads what a background agent reports."),
    "ListAgents": ToolText("Lists the agents SendMessage can reach.", _named("channel q cursor")),
    "SendMessage": ToolText(
        "Sends a message to another agent.", _named("to summary message notify_when_idle", to="name")
    ),
    "TeamCreate": ToolText("Creates a team of agents."),
    "TeamDelete": ToolText("Dissolves the team of agents."),
    "Workflow": ToolText(
        "Runs a script that directs subagents, if asked to.",
        _named(
            "script name description title args scriptPath resumeFromRunId",
            script="JavaScript: export const meta = {name, description, phases}, then agent(), parallel()",
        ),
    ),
    # tasks and plans
    "TodoRead": ToolText("Shows the todo list."),
    "TodoWrite": ToolText(
        "Replaces the todo list; one is in progress.", _named("todos content status activeForm id priority")
    ),
    "TaskCreate": ToolText("Adds a task to the task list.", _named("subject description activeForm metadata")),
    "TaskGet": ToolText("Shows a task of the list.", _named("taskId")),
    "TaskList": ToolText("Lists the tasks and their state."),
    "TaskUpdate": ToolText(
        "Changes a task of the list.",
        _named("taskId subject description activeForm status addBlocks addBlockedBy owner metadata"),
    ),
    "TaskOutput": ToolText("Reads a background task's output.", _named("task_id block timeout", timeout="ms")),
    "TaskStop": ToolText("Stops a background task.", _named("task_id shell_id", shell_id="old name of task_id")),
    "EnterPlanMode": ToolText("Starts planning before a larger change."),
    "ExitPlanMode": ToolText(
        "Presents the finished plan for approval.", _named("plan allowedPrompts tool prompt", plan="Markdown")
    ),
    "exit_plan_mode": ToolText("Presents the finished plan for approval.", _named("plan")),
    "ReportFindings": ToolText(
        "Reports a code review's findings, if asked to.",
        _named(
            "level findings file line summary failure_scenario verdict outcome short_summary category severity",
            outcome="after fixes",
        ),
    ),
    # time and place
    "CronCreate": ToolText("Schedules a prompt.", _named("cron prompt recurring durable", cron="5 fields, local time")),
    "CronDelete": ToolText("Cancels a scheduled prompt.", _named("id")),
    "CronList": ToolText("Lists scheduled prompts."),
    "ScheduleWakeup": ToolText(
        "Sets when a /loop goes on.",
        _named("delaySeconds reason prompt stop noop", prompt="the /loop input", noop="nothing changed"),
    ),
    "EnterWorktree": ToolText(
        "Moves into a git worktree, if asked to.", _named("name path", path="of an existing one")
    ),
    "ExitWorktree": ToolText("Leaves the git worktree.", _named("action discard_changes")),
    "RemoteTrigger": ToolText("Manages agents that run remotely on a schedule."),
    # the user
    "AskUserQuestion": ToolText(
        "Asks the user to choose.",
        _named(
            "questions question header options label description preview multiSelect answers annotations metadata"
            " source",
            header="12 characters",
        ),
    ),
    "PushNotification": ToolText("Notifies the user outside the terminal."),
    "SendUserFile": ToolText("Hands files to the user."),
    "ShareOnboardingGuide": ToolText("Shares the onboarding guide."),
    "Artifact": ToolText("Publishes a page the user can open."),
    "ArtifactCheck": ToolText("Checks a published page."),
    "ArtifactComments": ToolText("Reads the comments on a published page."),
    "ArtifactData": ToolText("Reads or writes the data of a published page."),
    "EndConversation": ToolText("Ends the conversation, as a last resort."),
    # the web and other tools
    "WebFetch": ToolText("Fetches a URL and answers a prompt on it.", _named("url prompt offset")),
    "WebSearch": ToolText("Searches the web.", _named("query allowed_domains blocked_domains")),
    "ToolSearch": ToolText(
        "Loads deferred tools so that they can be called.",
        _named("query max_results", query="select:NAME,NAME or keywords"),
    ),
    "Skill": ToolText("Runs a skill of the list.", _named("skill command args"), lists=True),
    "SlashCommand": ToolText("Runs a custom slash command.", _named("command", command="/name arguments"), lists=True),
    "ListMcpResourcesTool": ToolText("Lists resources of MCP servers.", _named("server")),
    "ReadMcpResourceTool": ToolText("Reads a resource of an MCP server.", _named("server uri")),
    "WaitForMcpServers": ToolText("Waits until MCP servers are connected."),
}
