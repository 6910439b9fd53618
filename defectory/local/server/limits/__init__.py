"""What AWS's services refuse: requests that are too long, too many, too late, or in the wrong region."""
