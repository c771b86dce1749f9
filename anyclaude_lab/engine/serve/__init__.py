"""Our own engine: mlx-lm as a library behind an OpenAI-compatible server on loopback. Started by `engine.__main__`."""
