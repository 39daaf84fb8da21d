"""Define the errors that the detector raises.

    DetectorError
    ├── ArtifactError     an artifact or registry entry cannot be read or trusted
    ├── ClusterError      workers of a cluster cannot be reached, or their work was lost
    └── ConfigError       a configuration value is wrong

Each message names the place, what was found, what was expected, and a remedy where there is one. A message
of the input that cannot be decoded is not an error but a value (`connectors.records.Reject`). Errors of the
connectors are in `connectors.errors`.
"""


class DetectorError(Exception):
    """The detector cannot start or continue."""


class ArtifactError(DetectorError):
    """An artifact is missing, is damaged, has another format or is for other channels."""


class ClusterError(DetectorError):
    """Workers of a cluster cannot be reached, or their work failed; a later try may succeed."""


class ConfigError(DetectorError):
    """A configuration file, environment variable or flag is wrong."""
