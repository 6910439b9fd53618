"""The safety line: a camera's uploaded picture becomes a row of detections, and an alert where a rule is broken."""
