"""Key agreement, key derivation, sealing, and every domain-separation label."""
