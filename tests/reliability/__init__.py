"""It keeps answering, loses nothing, lets no one in: faults, joins, doors, leaks."""
