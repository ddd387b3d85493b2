"""The inference process as the routes of models ask it: that it is there, and a place among those who ask."""

from __future__ import annotations

import httpx2
from fastapi import Request

from api.access.acting import Acting
from api.http.problems import Problem
from api.http.shares import Exhausted, client_of


def inference_of(service: Acting) -> httpx2.AsyncClient:
    """The client of the inference process. Raises Problem, 503, where none is configured."""
    if service.inference is None:
        raise Problem("inference_unavailable", "This server has no inference process (ADDER_INFERENCE_URL is not set).")
    return service.inference


def take_place(service: Acting, request: Request) -> str | None:
    """Takes a place for a prediction or a conversion, which `service.predictions.give_back` gives back.

    Returns:
        The client that has it; None where it is not known.

    Raises:
        Problem: 429 where this client has as many as it may, 503 where all have.
    """
    client = client_of(request)
    try:
        service.predictions.take(client)
    except Exhausted as full:
        of = " of this address" if full.of_client else ""
        detail = (
            f"{full.most} predictions and conversions{of} are under way, the most that may be (ADDER_MAX_PREDICTIONS)."
        )
        raise Problem("client_limit" if full.of_client else "busy", detail) from None
    return client


def away() -> Problem:
    """What is answered where the inference process does not answer."""
    return Problem("inference_unavailable", "The inference process does not answer.")
