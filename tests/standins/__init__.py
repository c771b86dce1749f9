"""Stand-ins for the servers that the proxy talks to. They import nothing from the package under test."""
