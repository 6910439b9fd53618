"""Layouts: what scenes are to show, sampled from presets."""
