"""Client library in JMS words, and the mq-client command."""
