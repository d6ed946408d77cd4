"""The Python client of Auerbach."""
