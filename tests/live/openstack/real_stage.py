"""A plug-in of pytest: the fixture `real` is a portal over hypervisors that boot instances, with the node images in its project."""

import os
import shutil
from collections.abc import Iterator

import pytest

from carina_portal.embedded.layout import EmbeddedError, is_root
from tests.conftest import free_port
from tests.live.openstack.lab import EXTRA_SPEC, Lab
from tests.live.openstack.portal import OpenStackPortal, default_var
from tests.live.openstack.real_images import CLOUD, KINDS, PATIENCE_SECONDS, SIZE, Real
from tests.live.openstack.scenario import NETWORK, Project


@pytest.fixture(scope="session")
def real(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Real]:
    """The portal with a project on the lab's real hypervisors, node images built (once) and uploaded."""
    if not is_root():
        pytest.skip("real OpenStack instances need root: hypervisors with namespaces of their own, and building node images")
    absent = [program for program in ("mmdebstrap", "qemu-img", "mke2fs") if shutil.which(program) is None]
    if absent:
        pytest.skip(f"node images cannot be built here without {', '.join(absent)}: apt-get install mmdebstrap qemu-utils e2fsprogs")
    try:
        lab.start_real()
    except EmbeddedError as error:
        pytest.skip(f"no hypervisors that boot instances here: {error}")
    var = default_var("test-openstack-real-portal")
    shutil.rmtree(var, ignore_errors=True)
    project = Project(lab=lab, name="real-hosts", folder=tmp_path_factory.mktemp("real"))
    portal = OpenStackPortal(var=var, port=free_port(), settings="carina_portal.settings")
    try:
        with portal, portal.client() as user:
            _prepare(portal, project)
            yield Real(lab=lab, project=project, user=user)
    finally:
        _forget_images(project)
        project.forget()


def _prepare(portal: OpenStackPortal, project: Project) -> None:
    # Without extra specs a host of this size could also go to a fake hypervisor of its kind.
    portal.add_flavors({name: {**SIZE, "host_kind": kind, "extra_specs": {EXTRA_SPEC: name}} for name, kind in KINDS.items()})
    kinds = ",".join(f"{name}={kind}" for name, kind in KINDS.items())
    options = {"aggregate_kinds": kinds, "build_seconds": str(PATIENCE_SECONDS)}
    portal.add_cloud(clouds_yaml=project.clouds_yaml, entry=project.name, name=CLOUD, options=options, network=NETWORK)
    arguments = ["upload_images", "--cloud", CLOUD, "--build"]
    if folder := os.environ.get("CARINA_TEST_NODE_IMAGES"):
        arguments = ["upload_images", "--cloud", CLOUD, "--dir", folder]  # built elsewhere, such as in an earlier job
    portal.manage(*arguments)


def _forget_images(project: Project) -> None:
    with project.connected() as connection:
        for image in connection.image.get("/images", params={"owner": project.id}).json()["images"]:
            if image["owner"] == project.id:
                connection.image.delete(f"/images/{image['id']}")
