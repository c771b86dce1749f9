"""What the prompt work saves, on the requests of the real Claude Code, recorded while it runs and not kept."""
