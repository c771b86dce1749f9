"""Prints docs/configuration.md."""

from anyclaude_lab.settings.document import markdown

if __name__ == "__main__":
    print(markdown(), end="")
