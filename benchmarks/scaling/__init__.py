"""The daemon as a consumer group: capacity, take-over, rebalances, and what a million rows a second need."""
