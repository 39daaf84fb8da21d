"""The verbs about one model: inspect, calibrate, feedback."""
