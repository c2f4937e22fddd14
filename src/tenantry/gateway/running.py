"""A raw call under way, and what it would be settled with if it ended now."""

from dataclasses import dataclass, field

from tenantry.admission import Ticket
from tenantry.core.settling import to_its_end
from tenantry.gateway.forms import Asked
from tenantry.gateway.request import RawRequest
from tenantry.isolation.context import TenantContext
from tenantry.metering.ledger import Ledger, OpenCall
from tenantry.metering.usage import TokenUsage
from tenantry.providers.usage import StreamMeter

_BYTES_A_TOKEN = 4
"""Of English, on average, where no figures came."""


@dataclass(slots=True)
class RunningCall:
    """One call; begins with nothing used, since nothing is until the provider has the prompt.

    Attributes:
        ctx: who pays.
        open: as the ledger knows it.
        asked: what the client asks.
        request: what is sent.
        ticket: its leave, and its slot.
        usage: what it has used, as far as is known.
        confirmed: whether those are the provider's own figures.
        upstream_id: the provider's own id of the answer.
    """

    ctx: TenantContext
    open: OpenCall
    asked: Asked
    request: RawRequest
    ticket: Ticket
    usage: TokenUsage = field(default_factory=TokenUsage)
    confirmed: bool = True
    upstream_id: str = ""

    def sent(self) -> None:
        """The provider has the prompt: it counts, whatever becomes of the answer."""
        likely = -(-len(self.request.body) // _BYTES_A_TOKEN)
        self.usage = TokenUsage(input_tokens=likely, estimated=True)
        self.confirmed = False

    def reported(self, usage: TokenUsage) -> None:
        """The provider told what it used."""
        self.usage, self.confirmed = usage, not usage.estimated

    def note(self, meter: StreamMeter) -> None:
        """Take over what a stream has come to."""
        self.upstream_id = meter.upstream_id or self.upstream_id
        if meter.reported is not None:
            self.reported(meter.reported)
            return
        prompt = meter.prompt_tokens or self.usage.input_tokens
        self.usage = TokenUsage(prompt, output_tokens=meter.deltas, estimated=True)

    def guess(self, size_bytes: int) -> None:
        """Nothing told what a whole answer of this size used."""
        output = 0 if self.asked.form.operation == "embedding" else -(-size_bytes // _BYTES_A_TOKEN)
        self.usage = TokenUsage(self.usage.input_tokens, output_tokens=output, estimated=True)

    async def settle(self, ledger: Ledger, error: BaseException | None) -> None:
        """Close the call, which `error` ended; done to its end, whoever asked for it is gone."""
        if error is None:
            # Nothing is awaited before the row is on its way, and then it is written in any case.
            await self._settle(ledger, None)
        else:
            await to_its_end(self._settle(ledger, error))

    async def _settle(self, ledger: Ledger, error: BaseException | None) -> None:
        self.ticket.used(self.usage)
        await self.ticket.leave(error)
        closing = ledger.close(
            self.ctx,
            self.open,
            self.usage,
            confirmed=self.confirmed,
            upstream_id=self.upstream_id,
        )
        await self.ticket.entering(closing)
