"""Fair turns, part by part."""
