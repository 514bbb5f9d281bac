"""Node images go into a real Glance, and out of it when nobody needs them. In a project of their own: no other test boots from them."""

import hashlib
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from openstack.connection import Connection

from apps.hosts.contracts import HostKind
from apps.hosts.images import ImagesUnusable, NodeImages, Outcome, read_images, upload
from apps.hosts.models import Cloud
from tests.live.openstack.lab import Lab
from tests.live.openstack.running import the_lab

PROJECT = "stranger"
pytestmark = pytest.mark.timeout(900)  # any of them may be the first to wait for the whole OpenStack to start
MARKS = ("carina_image", "carina_part")


@pytest.fixture
def lab() -> Lab:
    return the_lab()


@pytest.fixture
def glance(lab: Lab) -> Iterator[Connection]:
    with lab.connect(cloud=PROJECT) as connection:
        _forget_all(connection)
        yield connection
        _forget_all(connection)


def built(folder: Path, *, recipe: str, size: int = 300_000) -> NodeImages:
    """A folder as the recipe leaves it, with random bytes for disks: a fake hypervisor boots anything."""
    folder.mkdir(exist_ok=True)
    for name in ("container.raw", "vm.raw", "vmlinuz", "initrd"):
        (folder / name).write_bytes(os.urandom(size))
    disk = {"disk_format": "raw", "container_format": "bare", "min_disk": 1, "min_ram": 64}
    images = {
        "container": {**disk, "file": "container.raw", "properties": {}},
        "vm": {**disk, "file": "vm.raw", "kernel": "vmlinuz", "ramdisk": "initrd", "properties": {"hw_disk_bus": "virtio"}},
    }
    about = {"recipe": recipe, "architecture": "x86_64", "coe": "swarm", "coe_version": "26.1.5", "images": images}
    (folder / "image.json").write_text(json.dumps(about))
    return read_images(folder=folder)


def bring(connection: Connection, images: NodeImages, seen: list[tuple[str, int, int]] | None = None) -> Outcome:
    def progress(name: str, sent: int, total: int) -> None:
        if seen is not None:
            seen.append((name, sent, total))

    return upload(connection=connection, images=images, progress=progress)


def ours(connection: Connection) -> list[dict[str, Any]]:
    project = connection.session.get_project_id()
    answer = connection.image.get("/images", params={"owner": project, "limit": 200}).json()["images"]
    return [image for image in answer if image["owner"] == project and any(mark in image for mark in MARKS)]


def _forget_all(connection: Connection) -> None:
    for server in connection.compute.servers():
        connection.compute.delete_server(server, force=True)
        connection.compute.wait_for_delete(server)
    for image in ours(connection):
        connection.image.delete(f"/images/{image['id']}")


@pytest.mark.openstack
def test_every_image_arrives_whole_with_the_properties_that_providers_look_for(glance: Connection, tmp_path: Path) -> None:
    images = built(tmp_path / "a", recipe="r1", size=3_000_000)
    seen: list[tuple[str, int, int]] = []
    outcome = bring(glance, images, seen)
    assert len(outcome.uploaded) == 4
    assert (outcome.present, outcome.deleted, outcome.in_use) == ((), (), ())
    container, vm = (
        image for kind in ("container", "vm") for image in ours(glance) if image.get("carina_image") and image["carina_host_kind"] == kind
    )
    for image, file in ((container, "container.raw"), (vm, "vm.raw")):
        content = (tmp_path / "a" / file).read_bytes()
        assert (image["status"], image["size"], image["visibility"]) == ("active", len(content), "private")
        assert image["checksum"] == hashlib.md5(content, usedforsecurity=False).hexdigest()
        about = {
            key: image[key] for key in ("carina_image", "carina_coe", "carina_coe_version", "carina_recipe", "architecture", "os_type")
        }
        assert list(about.values()) == ["carina-node-swarm", "swarm", "26.1.5", "r1", "x86_64", "linux"]
    parts = {image["id"]: image for image in ours(glance) if "carina_part" in image}
    assert parts[vm["kernel_id"]]["disk_format"] == "aki"
    assert parts[vm["ramdisk_id"]]["disk_format"] == "ari"
    assert all("carina_image" not in part for part in parts.values()), "no provider takes a kernel for a disk"
    assert "kernel_id" not in container
    for name in outcome.uploaded:
        steps = [sent for named, sent, _ in seen if named == name]
        assert steps == sorted(set(steps)), "progress goes forward"
        assert steps[-1] == 3_000_000


@pytest.mark.openstack
def test_the_same_recipe_is_uploaded_once(glance: Connection, tmp_path: Path) -> None:
    images = built(tmp_path / "a", recipe="r1")
    first = bring(glance, images)
    before = {image["id"] for image in ours(glance)}
    again = bring(glance, images)
    assert (again.uploaded, set(again.present), again.deleted) == ((), set(first.uploaded), ())
    assert {image["id"] for image in ours(glance)} == before


@pytest.mark.openstack
def test_an_upload_that_is_interrupted_leaves_nothing_behind(glance: Connection, tmp_path: Path) -> None:
    images = built(tmp_path / "a", recipe="r1", size=3_000_000)

    def press_a_key(name: str, sent: int, total: int) -> None:
        if "-vm-" in name and sent > total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        upload(connection=glance, images=images, progress=press_a_key)
    assert all(image["status"] == "active" for image in ours(glance))
    assert len(bring(glance, images).uploaded) == 3, "what was whole before is kept"


@pytest.mark.openstack
def test_half_an_image_of_a_killed_upload_is_found_and_replaced(glance: Connection, tmp_path: Path) -> None:
    images = built(tmp_path / "a", recipe="r1")
    torso = {"carina_image": "carina-node-swarm", "carina_host_kind": "container", "carina_recipe": "r1", "carina_coe": "swarm"}
    made = glance.image.post("/images", json={"name": "torso", "disk_format": "raw", "container_format": "bare", **torso})
    assert made.json()["status"] == "queued"
    bring(glance, images)
    assert made.json()["id"] not in {image["id"] for image in ours(glance)}
    assert {image["status"] for image in ours(glance)} == {"active"}


@pytest.mark.openstack
def test_an_old_version_goes_unless_a_host_was_made_from_it(lab: Lab, glance: Connection, tmp_path: Path) -> None:
    old = built(tmp_path / "a", recipe="r1")
    bring(glance, old)
    vm = next(image for image in ours(glance) if image.get("carina_image") and image["carina_host_kind"] == "vm")
    flavor = next(flavor for flavor in glance.compute.flavors() if flavor.name == "vm1-1")
    network = next(network for network in glance.network.networks() if network.name == "carina-net")
    server = glance.compute.create_server(name="uses-it", flavor_id=flavor.id, image_id=vm["id"], networks=[{"uuid": network.id}])

    outcome = bring(glance, built(tmp_path / "b", recipe="r2"))
    assert len(outcome.uploaded) == 4
    assert outcome.deleted == ("carina-node-swarm-container-26.1.5-r1",)
    assert sorted(outcome.in_use) == [f"carina-node-swarm-vm-26.1.5-r1{part}" for part in ("", "-kernel", "-ramdisk")]

    glance.compute.delete_server(server, force=True)
    glance.compute.wait_for_delete(server)
    outcome = bring(glance, built(tmp_path / "b", recipe="r3"))
    assert len(outcome.deleted) == 3 + 4
    assert outcome.in_use == ()
    assert {image["carina_recipe"] for image in ours(glance)} == {"r3"}


@pytest.mark.openstack
def test_images_of_others_are_neither_used_nor_deleted(lab: Lab, glance: Connection, tmp_path: Path) -> None:
    others = {image.id for image in lab.admin.image.images(visibility="public")}
    assert others, "the lab's own images are public and carry our marks"
    bring(glance, built(tmp_path / "a", recipe="lab"))
    bring(glance, built(tmp_path / "b", recipe="r2"))
    assert {image.id for image in lab.admin.image.images(visibility="public")} == others


@pytest.mark.openstack
@pytest.mark.django_db
def test_the_command_uploads_to_a_cloud_of_the_portal_and_the_portal_sees_it_at_once(lab: Lab, glance: Connection, tmp_path: Path) -> None:
    built(tmp_path / "a", recipe="r1")
    call_command(
        "add_cloud", "uploads", "--provider", "openstack", "--clouds-yaml", str(lab.clouds_yaml), "--os-cloud", PROJECT,
        "--network", "carina-net", stdout=io.StringIO(),
    )  # fmt: skip
    out = io.StringIO()
    call_command("upload_images", "--cloud", "uploads", "--dir", str(tmp_path / "a"), stdout=out)
    assert out.getvalue().count("uploaded: ") == 4
    assert "(100 %)" in out.getvalue()
    known = Cloud.objects.get(name="uploads").images
    assert {image["properties"].get("carina.host_kind") for image in known if image["properties"].get("carina.recipe") == "r1"} == {
        "container",
        "vm",
    }


@pytest.mark.django_db
def test_a_cloud_that_is_unknown_is_refused_with_the_names_of_those_there_are() -> None:
    with pytest.raises(CommandError, match="no cloud nowhere"):
        call_command("upload_images", "--cloud", "nowhere", stdout=io.StringIO())


def test_a_folder_without_images_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ImagesUnusable, match="--build"):
        read_images(folder=tmp_path)


def test_a_folder_that_lacks_a_file_or_was_damaged_is_refused(tmp_path: Path) -> None:
    images = built(tmp_path / "a", recipe="r1")
    assert [image.kind for image in images.images] == [HostKind.CONTAINER, HostKind.VM]
    (tmp_path / "a" / "initrd").unlink()
    with pytest.raises(ImagesUnusable, match="lacks initrd"):
        read_images(folder=tmp_path / "a")
    (tmp_path / "a" / "image.json").write_text('{"images": {"moon": {}}}')
    with pytest.raises(ImagesUnusable, match="not written by this recipe"):
        read_images(folder=tmp_path / "a")
