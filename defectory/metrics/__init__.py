"""Measures of a classifier's worth, each with its interval; the well-kept libraries have the algorithms."""
