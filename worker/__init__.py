"""How a batch of identity operations is carried out: engine, adapters and the interfaces for people."""

__version__ = "0.1.0"
