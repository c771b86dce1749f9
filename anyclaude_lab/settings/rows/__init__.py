"""The rows of the settings table, by what they are about."""
