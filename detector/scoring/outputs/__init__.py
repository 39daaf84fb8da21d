"""What the windows of every member give for rows: which are due, what holds between them, and means."""
