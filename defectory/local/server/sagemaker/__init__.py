"""SageMaker without Docker: entry points of its framework containers run as processes of this machine."""
