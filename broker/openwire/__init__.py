"""OpenWire, versions 1 to 12: the protocol of ActiveMQ and its JMS clients."""
