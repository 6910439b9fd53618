"""What all lines of uploads share: an uploaded image is taken up once, becomes a row, and an alert if one is due."""
