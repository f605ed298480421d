"""The pages of the console: HTML, and the fragments that pages fetch anew when something changes."""
