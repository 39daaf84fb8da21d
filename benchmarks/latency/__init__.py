"""How long an alert takes."""
