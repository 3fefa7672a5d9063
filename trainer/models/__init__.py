"""Networks, losses, schedules."""
