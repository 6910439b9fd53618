"""Defect images: made from photos of good parts, with masks, and kept only where they help."""
