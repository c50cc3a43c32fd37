"""Links that carry whole messages in order: in memory, or over WebSockets."""
