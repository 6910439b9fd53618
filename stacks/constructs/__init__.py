"""Constructs that the stacks share, each with the project's rules built in."""
