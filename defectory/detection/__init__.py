"""Detection: from layouts to scenes with true boxes, to a trained detector and its evaluation."""
