"""The PostgreSQL connector against a real server."""
