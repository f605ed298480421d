"""STOMP 1.0, 1.1 and 1.2: frames, what they say to the region, and messages in their form."""
