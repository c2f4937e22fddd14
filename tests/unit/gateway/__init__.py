"""The raw provider path, part by part."""
