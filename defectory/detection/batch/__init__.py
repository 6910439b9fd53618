"""Batches: scenes made in AWS, from a request to a dataset in the bucket."""
