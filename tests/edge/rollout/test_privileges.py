"""Root's commands reach nothing through a link that the station's user has put into models/."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from tests.support.bundles import links, version
from tests.support.rig import BUNDLE, edge, station_toml

from epithermal_edge.errors import BundleError
from epithermal_edge.inference.bundle import open_bundle
from epithermal_edge.rollout import download
from epithermal_edge.rollout.privileges import act_as_owner, find_owner

USER = 64055  # has no entry in /etc/passwd and owns nothing else
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture
def place():
    """Yield a folder of root with a folder `state` of the station's user, both open to all."""
    root = Path(tempfile.mkdtemp(prefix="epithermal-test-"))
    root.chmod(0o755)
    (root / "state" / "models").mkdir(parents=True)
    own(root / "state")
    own(root / "state" / "models")
    yield root
    shutil.rmtree(root)


def own(path):
    os.chown(path, USER, USER, follow_symlinks=False)
    return path


def planted(place, name, target):
    """Put a link of the station's user into models/."""
    link = place / "state" / "models" / name
    link.symlink_to(target)
    return own(link)


def install(place, source, *options):
    models = place / "state" / "models"
    toml = station_toml(place, bundle=models / "current", model="unsigned = true\n")
    return edge("model", "install", toml, source, *options)


def test_what_root_installs_belongs_to_the_station(place):
    done = install(place, BUNDLE)
    assert done.returncode == 0, done.stderr
    models = place / "state" / "models"
    assert links(models) == {"current": "bucket-0.1.0"}
    assert {p.lstat().st_uid for p in models.rglob("*")} == {USER}
    assert all(p.stat().st_mode & 0o777 == 0o644 for p in (models / "bucket-0.1.0").iterdir())


def test_a_bundle_that_only_root_can_read_is_installed(place):
    secret = place / "secret"
    secret.mkdir(mode=0o700)
    done = install(place, version(secret, "0.2.0"))
    assert done.returncode == 0, done.stderr
    assert open_bundle(place / "state" / "models" / "current").version == "0.2.0"


@pytest.mark.parametrize("name", [".lock", "rollout.json", ".staged", ".current"])
def test_a_link_creates_and_changes_no_file_of_root(place, name):
    target = place / "nologin"
    planted(place, name, target)
    install(place, BUNDLE)
    assert not target.exists()
    target.write_text("of root")
    install(place, BUNDLE, "--now")
    assert target.read_text() == "of root" and target.stat().st_uid == 0


def test_a_link_in_place_of_the_folder_is_not_followed_with_the_rights_of_root(place):
    (place / "state" / "models").rmdir()
    target = place / "etc"
    target.mkdir()
    link = place / "state" / "models"
    link.symlink_to(target)
    own(link)
    assert install(place, BUNDLE).returncode != 0
    assert list(target.iterdir()) == []


def test_a_download_deletes_and_writes_nothing_through_a_link(place):
    target = place / "logs"
    target.mkdir()
    old = target / "old.log"
    old.write_text("of root")
    os.utime(old, (0, 0))
    planted(place, ".download", target)
    models = place / "state" / "models"
    with pytest.raises((OSError, download.BrokenOffError, BundleError)):
        download.pull("https://127.0.0.1:9/x.tar", models, None, print, lambda _s: None)
    assert sorted(p.name for p in target.iterdir()) == ["old.log"] and os.geteuid() == 0


def test_a_rollback_acts_as_the_owner_too(place):
    models = place / "state" / "models"
    assert install(place, BUNDLE).returncode == 0
    assert install(place, version(place, "0.2.0"), "--now").returncode == 0
    (models / ".lock").unlink()
    target = place / "nologin"
    planted(place, ".lock", target)
    toml = station_toml(place, bundle=models / "current", model="unsigned = true\n")
    assert edge("model", "rollback", toml).returncode != 0
    assert not target.exists()
    (models / ".lock").unlink()
    assert edge("model", "rollback", toml).returncode == 0
    assert {p.lstat().st_uid for p in models.rglob("*")} == {USER}


def test_check_creates_nothing_through_a_link(place):
    toml = station_toml(place / "state")
    (place / "state" / "state").mkdir()
    own(place / "state" / "state")
    target = place / "nologin"
    own_link = place / "state" / "state" / ".check"
    own_link.symlink_to(target)
    own(own_link)
    done = edge("check", toml)
    assert "state_dir" in done.stdout + done.stderr and own_link.is_symlink()
    assert not target.exists()


def test_the_owner_is_that_of_the_first_part_that_is_not_root_s(place):
    inner = place / "state" / "models" / "of-root"
    inner.mkdir()
    assert find_owner(inner) == (USER, USER) == find_owner(place / "state" / "none" / "there")
    assert find_owner(place / "none") == (0, 0) == find_owner(Path("/etc"))


def test_the_rights_of_root_return_after_an_error(place):
    before = (os.getresuid(), os.getresgid(), os.getgroups())
    with pytest.raises(PermissionError), act_as_owner(place / "state"):
        (place / "of-root").touch()
    assert (os.getresuid(), os.getresgid(), os.getgroups()) == before
