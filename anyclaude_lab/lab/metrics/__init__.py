"""What is measured, as pure functions of exchanges: no clock, no file, no table library."""
