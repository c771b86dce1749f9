"""Long runs of the real proxy process under faults: what they leave behind, and whether anyone was left waiting."""
