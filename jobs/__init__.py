"""What is done to each row: the operations. Pure; knows only `worker.model` and `worker.ports`."""
