"""What prints the numbers that documents name. `make bench` runs all, `make bench ARGS=startup` one."""
