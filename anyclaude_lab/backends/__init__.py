"""What answers: OpenAI-compatible servers, Claude itself, OpenRouter, a cluster. One method each: `send`."""
