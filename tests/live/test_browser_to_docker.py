"""The whole way of a new user in a real browser, ending at a real docker command that has nothing but the downloaded zip."""

from pathlib import Path

import pytest
from playwright.sync_api import Page

from bench.client import unzip
from carina_portal.embedded.stack import Stack
from tests.e2e import journey
from tests.live.conftest import CloudLook
from tests.live.work import LoadImage, deploy_a_stack, nodes, run_a_container, run_a_service_over_two_hosts

pytestmark = [pytest.mark.live, pytest.mark.incus]


def test_sign_up_create_download_use_resize_and_delete(
    portal: Stack, page: Page, cloud: CloudLook, tmp_path: Path, load_image: LoadImage
) -> None:
    projects = cloud.projects()
    journey.sign_up(page, portal.base_url, journey.new_address())
    journey.create_bay(page, "bold-vela")
    zipped = journey.download_bundle(page, tmp_path)
    docker = unzip(content=zipped.read_bytes(), into=tmp_path / "my clusters")
    zipped.unlink()
    assert "Swarm: active" in docker("info")
    assert nodes(docker) == ["bold-vela-1 Ready Leader"]

    journey.resize_bay(page, 3)
    assert nodes(docker) == ["bold-vela-1 Ready Leader", "bold-vela-2 Ready", "bold-vela-3 Ready"]
    journey.resize_bay(page, 2)
    assert nodes(docker) == ["bold-vela-1 Ready Leader", "bold-vela-2 Ready"]

    addresses = docker("node", "inspect", "--format", "{{.Status.Addr}}", "bold-vela-1", "bold-vela-2").split()
    load_image(docker, addresses)
    run_a_container(docker)
    run_a_service_over_two_hosts(docker)
    deploy_a_stack(docker, addresses=addresses, folder=tmp_path)

    made = cloud.projects() - projects
    assert len(made) == 1, "a project for the new organisation"
    (bay_id,) = cloud.bays_in(made.pop())
    journey.delete_bay(page, "bold-vela")
    assert cloud.everything_of(bay_id) == []
    assert cloud.projects() <= projects
