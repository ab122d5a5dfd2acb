"""All data steps by one configuration, each done once."""
