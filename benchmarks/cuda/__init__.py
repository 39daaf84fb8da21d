"""Training and scoring on a GPU against the CPU: rates, and whether both find the same."""
