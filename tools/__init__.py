"""What makes parts of the project; none of it is needed to use it."""
