"""Recorded sessions: JSON lines, append-only, redacted before they are written.

A trace file is self-contained. Its lines are of three kinds; unknown kinds and unknown fields are carried.

| `kind` | fields |
|---|---|
| `trace` | `format`, `version`, `made_by`, `source`, `at`, `redaction`: a writer starts here, and `started_s` with it |
| `blob` | `id`, `text`: a system block, a tool definition or a message, as its client spelled it |
| `exchange` | one request and its answer |

An exchange has

| field | what it is |
|---|---|
| `session`, `lane`, `agent` | the session, the conversation in it, whose it is |
| `request_id`, `request_class` | our id of the request, what the client calls its kind |
| `at`, `started_s` | wall clock (UTC), and monotonic seconds since the writer started |
| `request` | `headers` (by allow-list), `segments`, `exact`, `sha256`, `stored_sha256` |
| `sent` | what translating did: `steps` of the prompt work, `max_tokens`; null where the bytes went on as they came |
| `response` | `status`, `headers`, `pieces`, `exact`, `sha256`, `stored_sha256` |
| `backend`, `model`, `usage`, `ending`, `stop_reason`, `error`, `*_s` | as in the log line of the request |

The body of a request is its `segments`, joined: `=` and text that stands here, or a letter for the section (`s` system,
`t` tools, `m` messages) and the id of a blob; two blobs of one section side by side have a comma between them. An id is
the first 16 hex digits of the SHA-256 of the blob's text. What a session says again and again is stored once.

`pieces` are `[offset_s, text]` as the client got them, inflated where they travelled compressed; `unread` names a
compression that is not read. `sha256` is of the bytes as they were, `stored_sha256` of the text in the file (UTF-8):
equal where `exact` is true. Where it is false something was redacted, which keeps the number of characters, or cut at
a size cap, or the source had the JSON but not its bytes (`imported`).

Version 1 had one line for each exchange, with the body as text; it is read as well.
"""
