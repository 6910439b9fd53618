"""The service for sensor data: requests, from submission to their end, and where they and their data are stored."""
