"""All endpoints of `/api/v1`, for routes and document alike."""

from __future__ import annotations

from detector.explore.web.endpoints import ENDPOINTS
from detector.explore.web.model_endpoints import MODEL
from detector.explore.web.whatif_endpoints import WHATIF

ALL = (*ENDPOINTS, *MODEL, *WHATIF)
