"""Prompt work: pure transforms of a request, and the pipeline that runs them."""
