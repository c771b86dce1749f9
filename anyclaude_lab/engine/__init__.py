"""Local models: the servers we start, share and end, and the model that comes with the package."""
