"""What a standing worker shows of itself over HTTP, and the measuring of it."""

from worker.web.listener import ListenAddress, listening
from worker.web.meter import Meter, MeteredPacer, MeteredTransport
from worker.web.metrics import Moment

__all__ = ["ListenAddress", "Meter", "MeteredPacer", "MeteredTransport", "Moment", "listening"]
