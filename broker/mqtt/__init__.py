"""MQTT 3.1, 3.1.1 and 5.0: the broker's side of the protocol, as bytes and events without a socket."""
