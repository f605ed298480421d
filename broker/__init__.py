"""One broker: protocols, destinations, dispatch, security."""
