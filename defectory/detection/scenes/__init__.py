"""Scenes: composed from cut-outs and backgrounds, and stored with their labels."""
