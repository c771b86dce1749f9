"""Model families: how each writes tool calls as text, and how it likes to be spoken to. Pure."""
