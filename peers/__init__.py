"""How Gemlens compares with other people's tools, each in an environment of its own (`make peers`)."""
