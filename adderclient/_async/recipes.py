"""``client.recipes``: the tables and figures of the paper, each with a spec that computes it."""

from __future__ import annotations

from adderclient._async.transport import AsyncTransport
from adderclient.arguments import segment
from adderclient.records import Page, Recipe
from adderclient.transport import given


class AsyncRecipes:
    """The server's recipes.

    Beside the errors that a method names, each raises :class:`~adderclient.ConnectionFailed` where the server cannot be
    reached, and :class:`~adderclient.ApiError` where it refuses for another reason.
    """

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport

    async def list(
        self, *, dataset: str | None = None, limit: int | None = None, after: str | None = None
    ) -> Page[Recipe]:
        """Asks for one page of the recipes, in the paper's order.

        Args:
            dataset: the dataset that their specs shall name; None: digits.
            limit: recipes on the page, 1 to 100; None: the server's 20.
            after: the ``next`` of the page before.

        Returns:
            The page.

        Raises:
            InvalidRequestError: the dataset or the cursor is none.
        """
        params = given(dataset=dataset, limit=limit, after=after)
        return Page.from_json(await self._transport.json("GET", "/v1/recipes", params=params), Recipe.from_json)

    async def get(self, name: str, *, dataset: str | None = None) -> Recipe:
        """Asks for one recipe.

        Args:
            name: the recipe's name, such as ``table1``.
            dataset: the dataset that its spec shall name; None: digits.

        Returns:
            The recipe.

        Raises:
            NotFoundError: there is no such recipe.
            InvalidRequestError: there is no such dataset.
        """
        path = f"/v1/recipes/{segment(name)}"
        return Recipe.from_json(await self._transport.json("GET", path, params=given(dataset=dataset)))
