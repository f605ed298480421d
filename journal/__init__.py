"""The shared, fenced message store of a broker; plain Python."""
