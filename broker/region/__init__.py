"""Queues, topics and their consumers: who gets which message, and what the journal must know. Pure."""
