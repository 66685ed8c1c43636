"""Where a catalog comes from: what a person typed becomes a way of reading and sources to read."""
