"""What a process loads and compiles once, before others are forked from it: imported for that."""

from __future__ import annotations

from secagg.drive import warm

warm.up()
