from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_django import Settings
from pytest_django.live_server_helper import LiveServer

from tests.sites import mails_on_a_page, no_collected_files, nobody_tried_before


@pytest.fixture
def site(transactional_db: None, settings: Settings, tmp_path: Path) -> Iterator[str]:
    """The address of a portal of this test's own, with its mails on a page. It is a name, not a number: passkeys need one."""
    nobody_tried_before(settings)
    no_collected_files(settings)
    mails_on_a_page(settings, tmp_path)
    server = LiveServer("localhost")
    settings.BASE_URL = server.url  # links in mails lead here
    yield server.url
    server.stop()
