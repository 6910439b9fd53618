"""Curation: what a detector is weak at, the plan of the scenes it lacks, and whether they helped."""
