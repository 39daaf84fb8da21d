"""What Prometheus reads: the table of metrics, and the exposition. Alone imports its client."""
