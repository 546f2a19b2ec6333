"""The page that describes the API works where nothing but the service can be reached."""

import re
from pathlib import Path

from tests.support.browser import look
from tests.support.service import Service

_LINK = re.compile(r"""(?:src|href)=["']([^"']+)["']|url: '([^']+)'""")


def test_the_page_refers_to_the_service_alone(inputs: Service) -> None:
    """Script, style, icon and description are the service's own, and each is served."""
    with inputs.client() as client:
        page = client.get("/docs").text
        links = ["".join(found) for found in _LINK.findall(page)]
        answers = {link: client.get(link) for link in links}

    assert 4 == len(links)
    assert [] == re.findall(r"(?:https?:)?//[\w.-]+\.\w+/", page)
    assert {200} == {answer.status_code for answer in answers.values()}
    assert all(answer.content for answer in answers.values())
    assert '"validatorUrl": null' in page


def test_the_page_lists_the_requests_without_internet(inputs: Service, tmp_path: Path) -> None:
    """A browser that can reach no other host shows every request, and complains of nothing."""
    dom, log = look(f"{inputs.url}/docs", tmp_path / "profile", "--virtual-time-budget=20000")

    assert "Book a session" in dom
    assert 9 == dom.count('class="opblock-summary-path"')
    assert "CONSOLE" not in log
