"""Words and sentence frames. What is held out is used by the evaluation alone and never seen in training."""

from __future__ import annotations

# {path} may stand bare or in backticks; every other slot stands in backticks, {name} either way.
FRAMES: dict[str, list[str]] = {
    "Bash": [
        "run {command}",
        "run the command {command}",
        "run the shell command {command}",
        "execute {command}",
        "execute the command {command} in the shell",
        "run {command} and show me the output",
        "use Bash to run {command}",
        "in the terminal, run {command}",
        "execute the shell line {command}",
        "start {command} in the terminal",
        "run the program {command}",
        "run this: {command}",
        "execute the program {command}",
        "run the shell line {command} here",
        "launch {command}",
        "in the shell, execute {command}",
        "with Bash, run {command}",
        "run {command} in the folder of the project",
        "let the shell run {command}",
    ],
    "Read": [
        "read {path}",
        "read the file {path}",
        "open {path}",
        "open {path} and tell me what it does",
        "look at {path}",
        "show me {path}",
        "show me the file {path}",
        "read {path} and sum it up",
        "use Read on {path}",
        "what is in {path}?",
        "view the file {path}",
        "read me {path}",
        "open the document {path}",
        "look into {path}",
        "view {path}",
        "have the file {path} shown to me",
        "read the whole file {path}",
        "show the content of {path}",
        "print the file {path}",
        "tell me what {path} says",
        "take a look at the file {path}",
        "read from {path}",
    ],
    "Edit": [
        "in {path} replace {old} with {new}",
        "in the file {path}, replace {old} with {new}",
        "edit {path}: replace {old} with {new}",
        "edit the file {path} and change {old} to {new}",
        "replace {old} with {new} in {path}",
        "replace the text {old} by {new} in the file {path}",
        "change {old} to {new} in {path}",
        "in {path} change {old} to {new}",
        "edit {path} so that {old} becomes {new}",
        "use Edit in {path} to replace {old} with {new}",
        "in {path}, replace the line {old} by {new}",
        "replace every {old} by {new} in {path}",
        "in {path} replace the word {old} by the word {new}",
        "change the word {old} in {path} into {new}",
        "in the document {path}, change {old} into {new}",
        "edit {path}: {old} should become {new}",
        "modify {path}: change {old} to {new}",
        "replace the line {old} in the file {path} with the line {new}",
        "in {path}, change all of {old} to {new}",
        "edit the line {old} in {path} so that it reads {new}",
        "do an edit: in {path} replace {old} with {new}",
        "inside {path}, replace {old} by {new}",
    ],
    "Write": [
        "write {content} to {path}",
        "write the text {content} to the file {path}",
        "create {path} with the content {content}",
        "create the file {path} with the text {content}",
        "create a file {path} containing {content}",
        "create {path} containing {content}",
        "write {content} into {path}",
        "save {content} to {path}",
        "use Write to create {path} with {content}",
        "save the text {content} in the file {path}",
        "write the line {content} to {path}",
        "write a new file {path} that holds {content}",
        "create a new file {path} with the line {content}",
        "create {path} and write {content} into it",
        "save the words {content} as {path}",
        "put {content} into a new file {path}",
        "write {content} in the new file {path}",
        "store {content} in {path}",
        "make a file {path} with the text {content}",
        "create the document {path} containing the line {content}",
    ],
    "Grep": [
        "search for {pattern} in {path}",
        "search {path} for {pattern}",
        "find every use of {pattern} in {path}",
        "find all uses of {pattern} under {path}",
        "grep for {pattern} in {path}",
        "search the folder {path} for {pattern}",
        "use Grep to find {pattern} under {path}",
        "search for the word {pattern} in {path}",
        "find {pattern} in {path}",
        "find the text {pattern} under {path}",
        "grep the folder {path} for {pattern}",
        "search in {path} for {pattern}",
        "grep for every {pattern} under {path}",
        "look for {pattern} in the folder {path}",
        "with Grep, search {path} for {pattern}",
    ],
    "Glob": [
        "list the files that match {glob}",
        "list all files matching {glob}",
        "which files match {glob}?",
        "glob for {glob}",
        "use Glob with {glob}",
        "list every file like {glob}",
        "list the files matching {glob}",
        "list what matches {glob}",
        "which names match {glob}?",
        "glob {glob}",
        "with Glob, list {glob}",
        "list the names like {glob}",
        "find the files that match {glob}",
    ],
    "ToolSearch": [
        "use ToolSearch to load {name}",
        "load the tool {name}",
        "load {name} with ToolSearch",
        "use ToolSearch to select {name}",
        "load {name}",
        "load {name}, which is deferred",
        "load the schema of {name}",
        "ToolSearch for {name}",
        "use ToolSearch for {name}",
        "load up {name}",
        "have ToolSearch load {name}",
        "select {name} with ToolSearch",
    ],
    "WebFetch": [
        "fetch {url} and answer {prompt}",
        "use WebFetch on {url} with the prompt {prompt}",
        "fetch {url} with the prompt {prompt}",
        "fetch the page {url} and tell me {prompt}",
        "fetch {url} with the question {prompt}",
        "fetch the address {url} with the prompt {prompt}",
        "use WebFetch to fetch {url} and answer {prompt}",
        "get the page {url} and answer {prompt}",
        "fetch the site {url} to learn {prompt}",
    ],
}
HELD_OUT_FRAMES: dict[str, list[str]] = {
    "Bash": [
        "go ahead and run the line {command}",
        "execute this in a shell: {command}",
        "run this command for me: {command}",
        "have Bash execute {command}",
    ],
    "Read": [
        "have a look at {path}",
        "read what {path} says",
        "open the file at {path}",
        "show me what is in {path}",
        "take the file {path} and read it",
    ],
    "Edit": [
        "make an edit in {path}: change the text {old} to {new}",
        "change the line {old} in {path} to {new}",
        "in the file at {path}, change every {old} to {new}",
        "replace, in {path}, the word {old} with the word {new}",
        "edit {path} and replace {old} by {new}",
    ],
    "Write": [
        "create the new file {path} with {content} in it",
        "write a file {path} with the content {content}",
        "save the line {content} into {path}",
        "write down {content} in {path}",
    ],
    "Grep": [
        "search under {path} for the word {pattern}",
        "find the word {pattern} in {path}",
        "grep {path} for {pattern}",
    ],
    "Glob": ["list whatever files match {glob}", "use Glob to list {glob}", "list the names matching {glob}"],
    "ToolSearch": [
        "load the deferred tool {name}",
        "with ToolSearch, load {name}",
        "load up {name}, the deferred tool",
    ],
    "WebFetch": ["fetch {url} with WebFetch and the prompt {prompt}", "fetch {url} to answer the prompt {prompt}"],
}
OPENERS = ["", "", "", "", "please ", "now ", "could you ", "can you ", "first ", "I want you to ", "would you please "]
HELD_OUT_OPENERS = ["", "", "kindly ", "I need you to ", "okay, now ", "for a start, "]
CLOSERS = ["", "", "", "", " please", " for me", " now", ", thanks", " and tell me when it is done"]
HELD_OUT_CLOSERS = ["", "", ", if you would", " at once", " and report back"]
FILLERS = """really just also again today maybe quickly carefully simply once more soon later always never right here there
already still only even very quite rather perhaps actually indeed surely exactly nearly almost together alone early late new old
good nice big little short long whole same other another next last second third current important special secret simple useful
team friend boss customer project folder office house garden water morning evening week month year time day night work job idea
plan reason question answer story music number letter paper table door window street city country my our your his her their its
some any each many much few several both all no not yes at by as of on off out up over under about after before so if but or an
this that these those it he she they we would should may might must do does did is are was were be been has have had got goes
come came let made took gave kept asked told said saw think know try tried help thing way part case point once back""".split()
JOINTS = [
    ", then ",
    " and then ",
    "; then ",
    ". Then ",
    "\nThen ",
    ", and then ",
    ", finally ",
    ". Finally ",
    " and finally ",
]
HELD_OUT_JOINTS = [", and, then, ", ". Then, ", "; and then ", "; finally ", ", and finally ", "\nFinally, "]

REMARKS = [
    "hello", "hi", "hey there", "good morning", "thanks", "thank you, that is all", "Warmup", "how are you?", "who are you?",
    "what can you do?", "is this thing on?", "tell me a joke", "what is the weather like?", "why is the sky blue?",
    "explain this project to me", "are you a real model?", "what do you think of it?", "good", "ok", "never mind",
    "tell me a story about the sea", "how does this work?", "what should I do first?", "summarize the conversation so far",
    "your task is to create a detailed summary of what was read, written and changed; do not run any tool",
    "please write a short title for this conversation", "is it all right now?", "I will do it myself later",
]  # fmt: skip
HELD_OUT_REMARKS = [
    "hello there, friend", "hi, who am I talking to?", "good evening", "many thanks", "can you explain the plan?",
    "what does this repository do?", "tell me about yourself", "describe the weather in winter", "is it ready?", "how old are you?",
]  # fmt: skip

WORDS = """app core test main data model server client parse index config route auth cache token stream proxy engine worker
bench replay session prompt render schema tool result event queue state store build deploy docs notes setup login user order cart
pay mail image video audio graph node edge tree list map set sort alpha beta gamma value count total name item part left right
green blue river stone cloud first last next small large fast slow open close read write run find search change create load""".split()
HELD_OUT_WORDS = """harbor lantern pixel quartz meadow thunder velvet walnut compass bridge canyon ember falcon glacier island
jigsaw kettle lemon marble nectar orchid pepper ribbon saddle timber umbrella violin willow yonder zephyr invoice ledger
coupon refund shipment warehouse catalog basket margin vendor""".split()
EXTENSIONS = "py js ts md json toml yaml txt rs go c h html css sh cfg ini log".split()
HELD_OUT_EXTENSIONS = "java kt swift rb sql xml lock vue".split()
PROGRAMS = ["ls", "ls -la", "ls -l", "cat", "git status", "git diff", "git log --oneline -5", "python", "pytest -q", "wc -l", "head -n 3",
            "mkdir -p", "npm run", "make", "du -sh", "stat", "touch", "rm", "echo", "node", "grep -rn", "pwd"]  # fmt: skip
HELD_OUT_PROGRAMS = [
    "cargo build",
    "tail -n 20",
    "sort -u",
    "printf",
    "find",
    "uv run",
    "docker ps",
    "git show --stat",
    "sed -n 1,9p",
]
DEFERRED = [
    "WebFetch",
    "WebSearch",
    "NotebookEdit",
    "CronCreate",
    "TaskStop",
    "SendMessage",
    "ListFiles",
    "EnterPlan",
    "PushNote",
]
HELD_OUT_DEFERRED = ["CronDelete", "ExitWorktree", "TicketOpen", "MailDraft", "ChartMaker", "LogViewer"]

# What the model says by itself comes in pieces that are tokens of their own.
DONE_PARTS = ["Done. I took", " the steps you named."]
GREETING_PARTS = [
    "Hello! I am only",
    " the small demonstration model.",
    " Give me simple orders",
    " with exact text in backticks,",
]
GREETING_PARTS += [" or name a real model."]
DONE, GREETING = "".join(DONE_PARTS), "".join(GREETING_PARTS)
