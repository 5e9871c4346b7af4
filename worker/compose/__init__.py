"""Puts the parts together: the only place that knows all of them. The command line calls nothing else."""
