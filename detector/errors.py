"""Errors of the detector.

    DetectorError
    ├── ArtifactError     an artifact or registry entry cannot be trusted or read
    └── ConfigError       a configuration value is wrong; the message names file, field and remedy

Bad messages are values (`connectors.records.Reject`), not errors; see also `connectors.errors`.
"""


class DetectorError(Exception):
    """The detector cannot start or go on."""


class ArtifactError(DetectorError):
    """An artifact is missing, damaged, of another format or for other channels."""


class ConfigError(DetectorError):
    """A configuration file, environment variable or flag is wrong."""
