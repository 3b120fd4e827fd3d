"""A check type for the configurations beside it."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from heartbeat import Check, Probe


class Expect(BaseModel):
    """What the shop should answer."""

    model_config = ConfigDict(extra="forbid")
    status: int | list[int] = 200
    body: str = ""


class Shop(Check):
    """Buy something.

    And send it back.
    """

    url: str = Field(description="where the shop is")
    port: int = 443
    method: Literal["GET", "POST"] = "GET"
    expect: Expect = Expect()
    token: str = ""
    data: dict[str, object] = Field(default_factory=dict, alias="json")

    @field_validator("token")
    @classmethod
    def _no_blank(cls, token: str) -> str:
        if " " in token:
            raise ValueError(f"the token {token} must not hold a blank")
        if token == "crash":
            raise KeyError(token)
        return token

    async def run(self, probe: Probe) -> None:
        """Do nothing."""
