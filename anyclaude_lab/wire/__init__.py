"""The pure protocol core: bytes to and from Anthropic Messages events. No clock, socket, randomness or I/O."""
