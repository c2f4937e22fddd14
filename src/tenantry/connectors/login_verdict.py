"""What is to be said of a login before its connector is stored (CON-3)."""

from dataclasses import dataclass

from tenantry.core.errors import InvalidRequest


@dataclass(frozen=True, slots=True)
class Verdict:
    """What its rights say of a login: those that rule it out, and warnings."""

    refused: tuple[str, ...]
    warnings: tuple[str, ...]

    def enforce(self) -> tuple[str, ...]:
        """The warnings.

        Raises:
            InvalidRequest: the login may do what it must not.
        """
        if self.refused:
            raise InvalidRequest(
                f"The login may do what no connector may: {', '.join(self.refused)}. "
                "Give the connector a login with SELECT on its database alone."
            )
        return self.warnings
