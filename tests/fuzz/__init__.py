"""`make fuzz`: requests and uploads that nobody would send on purpose, against the real API and the real intake."""
