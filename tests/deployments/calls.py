"""What a client of Prefect sends: the answer, once the server has time for it."""

from __future__ import annotations

from typing import Any

import requests

from tests.fixtures_prefect import PrefectApi, eventually


def post(prefect: PrefectApi, where: str, body: dict[str, Any]) -> Any:
    def send() -> requests.Response | None:
        answer = requests.post(f"{prefect.url}/{where}", json=body, timeout=30)
        return None if answer.status_code == 503 else answer  # its database is busy

    answer: requests.Response = eventually(send, 60)
    assert answer.ok, answer.text
    return answer.json()
