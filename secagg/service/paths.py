"""Where a service is asked by HTTP, but for rounds; whoever asks needs nothing of a server."""

from __future__ import annotations

ENROL, RENEW, AUTHORITY = "/v1/enrol", "/v1/renew", "/v1/authority"
ROSTER = "/v1/roster/{task}"
