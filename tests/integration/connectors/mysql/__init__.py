"""The MySQL and MariaDB connector against a real server, and against servers that lie."""
