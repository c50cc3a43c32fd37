"""The service that an organisation runs: its configuration, and what its parts are made of."""
