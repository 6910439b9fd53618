"""Batches: pictures made in AWS, from a request to a dataset in the bucket."""
