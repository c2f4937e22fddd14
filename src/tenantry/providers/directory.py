"""Which models a tenant can name, and where each name leads for it."""

from tenantry.isolation.context import TenantContext
from tenantry.providers.base import ModelRoute
from tenantry.providers.registry import ProviderRegistry
from tenantry.providers.routes import RawRoute


class ModelDirectory:
    """Resolves names for one tenant at a time."""

    def __init__(self, platform: ProviderRegistry) -> None:
        """With the accounts of the platform, which every tenant may use."""
        self._platform = platform

    @property
    def platform(self) -> ProviderRegistry:
        """The platform's own accounts."""
        return self._platform

    async def resolve(self, ctx: TenantContext, name: str) -> ModelRoute:
        """Where a model's name leads for this tenant.

        Raises:
            NotFound: no model of that name can answer here.
        """
        del ctx  # every tenant has the same
        return self._platform.resolve(name)

    async def resolve_raw(self, ctx: TenantContext, name: str) -> RawRoute:
        """Where this tenant's raw calls of a model go.

        Raises:
            NotFound: no model of that name takes raw calls.
        """
        del ctx
        return self._platform.resolve_raw(name)

    async def raw_names(self, ctx: TenantContext) -> tuple[str, ...]:
        """Names of the models that take this tenant's raw calls."""
        del ctx
        return self._platform.raw_names()
