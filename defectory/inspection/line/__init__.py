"""The inspection line: an uploaded image becomes a row of results, a heatmap and, where one is due, an alert."""
