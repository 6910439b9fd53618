"""The inspection line: an uploaded image becomes a row of results, a heatmap and, where owed, an alert."""
