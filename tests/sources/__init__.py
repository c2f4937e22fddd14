"""Servers that stand for what tenants bring: each started by the tests, each of their own."""
