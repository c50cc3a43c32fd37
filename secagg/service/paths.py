"""Where a service is asked by HTTP, but for rounds; whoever asks needs nothing of a server."""

from __future__ import annotations

ENROL, RENEW, AUTHORITY = "/v1/enrol", "/v1/renew", "/v1/authority"
ROSTER = "/v1/roster/{task}"
HEALTH, READY, METRICS = "/healthz", "/readyz", "/metrics"
LOGIN, LOGOUT, SESSION = "/v1/login", "/v1/logout", "/v1/session"
REGISTER, STATUS, EVENTS = "/v1/register", "/v1/status", "/v1/events"
RESULTS, ROSTERS = "/v1/results/{nonce}", "/v1/rosters"
