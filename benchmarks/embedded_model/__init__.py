"""How the demonstration model inside the package was made, and what it scores."""
