"""What the parties of a round agree on: the plan, how one is chosen, its words, and tasks."""
