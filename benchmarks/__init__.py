"""What prints the numbers that documents name. `make bench` asks the usual questions, `make bench ARGS=startup` one."""
