"""Coverage-guided fuzzing of a whole run, without socket, thread or clock: ``make fuzz``."""
