"""What other alarm budgets would have raised, in one pass over the rows."""
