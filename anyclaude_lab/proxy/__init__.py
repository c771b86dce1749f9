"""The daily program: HTTP server, launcher of Claude Code, metrics, logs."""
