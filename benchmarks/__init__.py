"""Every performance claim of this project is a command here; see README.md. Never shipped."""
