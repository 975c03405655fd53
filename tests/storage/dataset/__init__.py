"""The dataset's claims: nothing accepted is lost, nothing is there twice, and a late writer finds out."""
