"""Visual inspection: train from photos of good parts, inspect, evaluate, and run as a line."""
