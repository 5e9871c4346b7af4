"""The command line: reads flags, asks, shows. Every command imports what it needs when it is called."""
