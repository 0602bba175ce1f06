"""What golfpipe's coder is worth to a model that it did not make, beside what the public records do."""
