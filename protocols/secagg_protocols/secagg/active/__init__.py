"""Active mode: a server that lies, clients that cheat (specs/12-active.md)."""
