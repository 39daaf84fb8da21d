"""The daemon without Kafka."""
