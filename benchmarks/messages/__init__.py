"""How fast messages are decoded."""
