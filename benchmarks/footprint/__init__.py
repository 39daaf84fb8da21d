"""What a detector costs before it has judged anything: memory and time to start."""
