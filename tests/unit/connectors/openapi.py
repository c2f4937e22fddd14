"""OpenAPI documents for tests."""

from collections.abc import Mapping
from typing import Any

SHOP: dict[str, Any] = {
    "openapi": "3.0.3",
    "info": {"title": "Shop", "version": "2"},
    "servers": [{"url": "https://api.shop.test/v1"}],
    "paths": {
        "/orders": {
            "get": {
                "operationId": "listOrders",
                "summary": "Orders, newest first.",
                "parameters": [
                    {"name": "status", "in": "query", "schema": {"type": "string"}},
                    {"name": "limit", "in": "query",
                     "schema": {"type": "integer", "minimum": 1, "maximum": 100}},
                ],
            },
            "post": {
                "operationId": "createOrder",
                "requestBody": {
                    "required": True,
                    "content": {
                        "application/json": {"schema": {"$ref": "#/components/schemas/Order"}}
                    },
                },
            },
        },
        "/orders/{id}": {
            "parameters": [
                {"name": "id", "in": "path", "required": True, "schema": {"type": "integer"}}
            ],
            "get": {"operationId": "getOrder", "description": "One order."},
            "delete": {"operationId": "deleteOrder"},
        },
    },
    "components": {
        "schemas": {
            "Order": {
                "type": "object",
                "required": ["sku"],
                "properties": {
                    "sku": {"type": "string", "maxLength": 20},
                    "count": {"type": "integer"},
                    "tenant_id": {"type": "string"},
                    "created": {"type": "string", "readOnly": True},
                },
            }
        }
    },
}  # fmt: skip


def document(operation: Mapping[str, Any], path: str = "/x", **parts: Any) -> dict[str, Any]:
    """A document of one GET operation called `x`, with further parts of the document."""
    node = {"operationId": "x", **operation}
    return {"openapi": "3.1.0", "info": {"title": "T"}, "paths": {path: {"get": node}}, **parts}


def query(schema: Any, **said: Any) -> dict[str, Any]:
    """An operation with a query parameter `q` of this schema."""
    return {"parameters": [{"name": "q", "in": "query", "schema": schema, **said}]}
