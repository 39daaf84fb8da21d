"""Pictures of the pages: generated data through the real training and the real engine."""
