"""The wire grammar (specs/01-wire.md): big-endian, exact, bounded, no trailing bytes."""
