"""What the lab promises about itself, measured; each module prints its figures with n and where they come from."""
